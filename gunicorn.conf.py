"""A plain `gunicorn` in a checkout serves the demo's shop; `otelmon demo` adds visitors to it.

The shop keeps its data in shop.sqlite3 of the working directory.
"""

from __future__ import annotations

from otelmon.demo.gunicorn_conf import (
    bind,
    control_socket_disable,
    graceful_timeout,
    workers,
    wsgi_app,
)


__all__ = ["bind", "control_socket_disable", "graceful_timeout", "workers", "wsgi_app"]
