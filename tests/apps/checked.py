"""The plain application with health checks, each on what its variable names, if that is set.

CHECK_REDIS (critical) and CHECK_OTHER_REDIS are Redis servers, CHECK_DATABASE (critical) is a
database, CHECK_URL a service, CHECK_READY a file that must be there before requests are taken. `/checks/add` registers one more in the process
that answers.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import redis
import sqlalchemy

from otelmon import (
    DiskCheck,
    HttpCheck,
    RedisCheck,
    SqlAlchemyCheck,
    add_check,
    monitor,
    set_route,
)
from tests.apps import answers


if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment


_ENVIRON: Final = os.environ  # noqa: TID251 - a test's own


def _check_redis(name: str, url: str, *, critical: bool) -> None:
    # No deadlines of its own: a server that hangs is to hang the check.
    client = redis.Redis.from_url(url, socket_timeout=None, socket_connect_timeout=None)
    add_check(name, RedisCheck(client), critical=critical)


add_check("disk", DiskCheck(".", free_bytes=1))
if url := _ENVIRON.get("CHECK_REDIS"):
    _check_redis("redis", url, critical=True)
if url := _ENVIRON.get("CHECK_OTHER_REDIS"):
    _check_redis("cache", url, critical=False)
if url := _ENVIRON.get("CHECK_DATABASE"):
    add_check("database", SqlAlchemyCheck(sqlalchemy.create_engine(url)), critical=True)
if url := _ENVIRON.get("CHECK_URL"):
    add_check("service", HttpCheck(url))
if ready := _ENVIRON.get("CHECK_READY"):
    add_check("warm", Path(ready).stat, readiness=True)


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Register a check, or answer as the plain application."""
    if environ["PATH_INFO"] != "/checks/add":
        return answers.application(environ, start_response)
    set_route(environ, "/checks/add")
    add_check("late", lambda: None)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


app = answers.tagged(monitor(application))
