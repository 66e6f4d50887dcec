"""What BodyLimit and Static add to requests that they let pass, and what a static file costs.

Calls without a server, beside a middleware that only passes a call on. The application reads its
request's body, which lies in memory.
"""

from __future__ import annotations

import io
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whitenoise import WhiteNoise

from bench.interleaved import Cost, measure
from bench.tables import show
from otelmon import BodyLimit, Static


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


_BODY = b"x" * 1000
_GET = {"REQUEST_METHOD": "GET", "PATH_INFO": "/orders/42", "SERVER_PROTOCOL": "HTTP/1.1"}
_POST = {**_GET, "REQUEST_METHOD": "POST", "CONTENT_LENGTH": str(len(_BODY))}
_FILE = {**_GET, "PATH_INFO": "/static/app.css", "HTTP_ACCEPT_ENCODING": "gzip, deflate, br"}
_BARE = "bare application"
_CALLS, _ROUNDS = 2000, 40


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Read, and answer."""
    environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]


class PassOn:
    """A middleware that does nothing: less than this no middleware can cost."""

    def __init__(self, app: WSGIApplication) -> None:
        """Wrap *app*."""
        self.app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Pass the call on."""
        return self.app(environ, start_response)


def call(app: Callable[..., Iterable[bytes]], request: dict[str, str], body: bytes) -> None:
    """Make one request, as a server does."""
    answer: Any = app({**request, "wsgi.input": io.BytesIO(body)}, _start_response)
    for _ in answer:
        pass
    if hasattr(answer, "close"):
        answer.close()


def _start_response(_status: str, _headers: object, _exc_info: object = None, /) -> Any:  # noqa: ANN401
    return None


def _table(
    title: str, apps: dict[str, WSGIApplication], request: dict[str, str], body: bytes = b""
) -> None:
    costs = measure(
        {name: partial(call, app, request, body) for name, app in apps.items()},
        calls=_CALLS,
        rounds=_ROUNDS,
    )
    bare = costs.pop(_BARE, Cost(0.0, 0.0))
    rows = (
        (name, f"{(cost.least - bare.least) / 1e3:.2f}", f"{(cost.median - bare.median) / 1e3:.2f}")
        for name, cost in costs.items()
    )
    show(title, ("", "us, min", "us, median"), rows)


def main() -> None:
    """Print what each adds, and what a file costs."""
    with tempfile.TemporaryDirectory() as root:
        Path(root, "app.css").write_text("body { color: red }\n" * 200)
        prefixes = {"/upload": 100_000_000, "/api/upload": 1_000_000}
        apps: dict[str, WSGIApplication] = {
            _BARE: application,
            "a middleware that passes on": PassOn(application),
            "BodyLimit": BodyLimit(application, max_bytes=2000),
            "BodyLimit, 2 prefixes": BodyLimit(application, max_bytes=2000, prefixes=prefixes),
            "BodyLimit, off": BodyLimit(application, max_bytes="off"),
            "Static": Static(application, root=root),
            "WhiteNoise": WhiteNoise(application, root, "/static/"),
        }
        _table("Added to a GET without a body, over the bare application", apps, _GET)
        _table("Added to a POST of 1,000 bytes, read by the application", apps, _POST, _BODY)
        files = {name: apps[name] for name in ("Static", "WhiteNoise")}
        _table("A file of 4,000 bytes", files, _FILE)


if __name__ == "__main__":
    main()
