"""The demo: a small shop under gunicorn with visitors, to see the figures of a live app."""
