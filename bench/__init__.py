"""Costs, side by side with others, in one interleaved run: `make bench`."""
