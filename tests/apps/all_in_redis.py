"""An application with everything of otelmon's that asks Redis: rate limit, sessions, caches, a client.

Every answer carries the pid of the process that gave it.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Final

import redis

from otelmon import Policy, QueryCache, RedisCheck, add_check, harden, monitor, redis_client
from tests.apps.answers import tagged


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment


STORE: Final = os.environ["REDIS_URL"]  # noqa: TID251 - a test's own

client: Final = redis_client()
queries: Final = QueryCache("queries")
plain: Final = redis.Redis.from_url(STORE)
add_check("redis", RedisCheck(client))


def shop(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Use all of it at `/use/KEY`; `/patient` asks as redis-py does by itself."""
    what, _, key = environ["PATH_INFO"].strip("/").partition("/")
    found = _used(environ, key) if what == "use" else {}
    if what == "patient":
        found = {"got": _said(lambda: plain.exists("counted"))}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(found).encode()]


def _used(environ: WSGIEnvironment, key: str) -> dict[str, object]:
    session = environ["otelmon.session"]
    session["seen"] = session.get("seen", 0) + 1
    made: list[str] = []

    def make() -> dict[str, str]:
        made.append(key)
        return {"key": key}

    value = queries.get_or_create(key, make)
    return {
        "available": session.available,
        "seen": session["seen"],
        "value": value,
        "made": len(made),
        "counted": _said(lambda: client.incr("counted")),
    }


def _said(command: Callable[[], object]) -> object:
    """Return what Redis answers, or what class of error came instead of it."""
    try:
        return command()
    except redis.RedisError as error:
        return type(error).__name__


app = tagged(
    monitor(harden(shop, policies=[Policy("exact", "20/hour", paths=("/exact",))], secure=False))
)
