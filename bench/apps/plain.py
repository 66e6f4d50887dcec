"""The application itself, and the least that can be put around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from _typeshed.wsgi import StartResponse, WSGIEnvironment


_HEADERS = [("Content-Type", "text/plain"), ("Content-Length", "2")]
_BODY = [b"ok"]


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer; the route is known, as from a framework."""
    environ["otelmon.route"] = "/orders/<id>"
    start_response("200 OK", _HEADERS)
    return _BODY


class PassThrough:
    """Sees the status and the end of a body."""

    __slots__ = ("_body", "_start_response", "status")

    def __init__(self, environ: WSGIEnvironment, start_response: StartResponse) -> None:
        """Call the application."""
        self._start_response = start_response
        self._body = app(environ, self)  # type: ignore[arg-type]  # no write() here

    def __call__(self, status: str, headers: list[tuple[str, str]]) -> Any:  # noqa: ANN401
        """Be start_response."""
        self.status = status
        return self._start_response(status, headers)

    def __iter__(self) -> Iterator[bytes]:
        """Hand out the body."""
        return iter(self._body)

    def close(self) -> None:
        """See the end."""
