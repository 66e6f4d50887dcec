"""Applications that the tests serve for real."""
