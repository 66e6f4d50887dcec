"""The endpoints of an instance in miniature, and how tests ask them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from otelmon.settings import ENDPOINTS, Settings
from otelmon.views.ops import OpsApp
from tests.sources import Answer, Counts, FakeSource, ask, published


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


MOUNTED: Final = list(ENDPOINTS)


def settings(**given: Any) -> Settings:  # noqa: ANN401 - fields of Settings
    """Return settings with the Prometheus text switched on."""
    return Settings(**{"enable_prometheus": True, **given})


def source(**given: Any) -> FakeSource:  # noqa: ANN401 - fields of FakeSource
    """Return an instance that has served one request and has a keeper."""
    counts = Counts()
    counts.request("/a")
    return FakeSource(
        **{"settings": settings(), "counted": counts.read(), "said": published(), **given}
    )


def ops(**given: Any) -> OpsApp:  # noqa: ANN401 - fields of FakeSource
    """Return the endpoints of such an instance, alone on a port."""
    return OpsApp(source(**given), fallback=None)


def get(path: str, app: OpsApp | None = None, **environ: str) -> Any:  # noqa: ANN401 - JSON
    """Return the JSON of a path."""
    answer = ask(app or ops(), path, **environ)
    assert answer.status == 200
    return json.loads(answer.body)


def scrape(app: OpsApp | None = None, accept: str = "", encoding: str = "") -> Answer:
    """Return what a Prometheus gets."""
    headers = {"HTTP_ACCEPT": accept, "HTTP_ACCEPT_ENCODING": encoding}
    return ask(app or ops(), "/metrics", **{name: text for name, text in headers.items() if text})


def bare(app: WSGIApplication, environ: dict[str, str]) -> tuple[str, list[tuple[str, str]]]:
    """Ask as no server should; return status and headers, which are then taken away."""
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(
        status: str, headers: list[tuple[str, str]], _exc_info: object = None, /
    ) -> Callable[[bytes], object]:
        started.append((status, list(headers)))
        headers.clear()
        return lambda _: None

    b"".join(app(environ, start_response))
    ((status, headers),) = started
    return status, headers


def theirs(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Be the user's application."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"theirs"]
