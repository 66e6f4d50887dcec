"""A stock Flask application with both: Flask-SQLAlchemy, and Flask-Caching on a server of Redis's kind."""

from __future__ import annotations

import os

from flask_caching import Cache

from otelmon import monitor
from tests.apps import flask_database


shop = flask_database.create_app()
cache = Cache(
    shop,
    config={"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": os.environ["STORE"]},  # noqa: TID251 - as the test says
)


@shop.get("/cached/<int:number>")
@cache.cached(timeout=600)
def cached(number: int) -> str:
    """Show an order, out of the cache if it was shown before."""
    return flask_database.order(number)


@shop.get("/mixed/<int:number>")
def mixed(number: int) -> str:
    """Show an order, or for 0 ask for nothing."""
    return flask_database.order(number) if number else "none"


app = monitor(shop)
