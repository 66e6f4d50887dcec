"""The plain application, which has answered itself once before anybody else asks.

That is how caches are warmed at import, under --preload in the arbiter.
"""

from __future__ import annotations

from tests.apps.plain import app
from tests.wsgi_driver import environ, serve


assert serve(app, environ(path="/ok")).body == b"ok"

__all__ = ["app"]
