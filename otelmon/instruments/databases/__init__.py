"""Databases: pools, queries, and what a request asks of them; `observing.py` is the way in."""
