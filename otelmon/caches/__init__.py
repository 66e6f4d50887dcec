"""Redis clients that fail fast, and caches on them. Only what is used is imported."""
