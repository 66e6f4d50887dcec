"""A stock Flask application with Flask-Caching on Redis, and beside it what it asks by itself."""

from __future__ import annotations

import os

import redis
from flask import Flask, render_template_string
from flask_caching import Cache

from otelmon import QueryCache, monitor, redis_client


STORE = os.environ["STORE"]  # noqa: TID251 - how a test tells its application something

shop = Flask(__name__)
cache = Cache(shop, config={"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": STORE})
store = redis.Redis.from_url(STORE)
# By default redis-py gives a call up after 5 s, and tries it again a few times.
patient = redis.Redis.from_url(STORE, socket_timeout=None)
guarded = redis_client(STORE, breaker_failures=2, breaker_seconds=0.2)
queries = QueryCache("queries", url=STORE)


@shop.get("/page/<int:number>")
@cache.cached(timeout=600)
def page(number: int) -> str:
    """Render a page."""
    return render_template_string("<h1>Product {{ number }}</h1>", number=number)


@shop.get("/raw/<key>")
def raw(key: str) -> str:
    """Ask Redis."""
    return str(store.get(key))


@shop.get("/guarded")
def ask() -> str:
    """Ask by a client with a breaker; say how that failed."""
    try:
        return str(guarded.incr("asked"))
    except redis.RedisError as error:
        return type(error).__name__


@shop.get("/query/<key>")
def query(key: str) -> dict[str, str]:
    """Ask the query cache."""
    return queries.get_or_create(key, lambda: {"key": key})


@shop.get("/hold")
def hold() -> str:
    """Hold a connection until the test lets go."""
    return str(patient.blpop("go", timeout=60))


app = monitor(shop)
