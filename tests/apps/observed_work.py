"""An application with the instruments switched on: it asks another server, works and complains."""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import requests

import otelmon
from tests.apps.answers import tagged


if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment


UPSTREAM = os.environ["UPSTREAM"]  # noqa: TID251 - how a test tells its application something
log = logging.getLogger("shop.orders")
logging.basicConfig(handlers=[logging.NullHandler()])
otelmon.observe_http_client(hosts={"127.0.0.1"})
otelmon.observe_log()


def work() -> None:
    """Fail, where it is seen."""
    empty: dict[str, int] = {}
    try:
        empty.pop("nothing")
    except KeyError:
        log.exception("It failed.")


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Do all of it."""
    requests.get(f"{UPSTREAM}{environ['PATH_INFO']}", timeout=30)
    with ThreadPoolExecutor(1) as pool, otelmon.observe_queue(pool, "mails"):
        pool.submit(work).result()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done"]


app = tagged(otelmon.monitor(application))
