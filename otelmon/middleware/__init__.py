"""WSGI middlewares: plain classes, one per file, each usable alone."""
