"""What servers are given behind `Sessions`, at the moment that they look at it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from otelmon import Sessions
from otelmon.hardening.sessions.middleware import KEY
from tests.apps.bodies import PlannedError
from tests.session_site import SECRET
from tests.wsgi_driver import environ


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def test_the_status_is_there_when_the_application_returns() -> None:
    """Some servers ask for it then, not when the body begins; and the pieces are all there."""

    def streaming(request: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        request[KEY]["a"] = 1
        yield b"one"
        yield b"two"

    begun: list[Any] = []

    def begin(*head: Any) -> Any:  # noqa: ANN401 - as WSGI has it
        begun.append(head)

    body: Any = Sessions(streaming, secrets=[SECRET])(environ(), begin)
    ((status, headers),) = begun
    assert status == "200 OK"
    assert "Set-Cookie" in dict(headers)
    assert list(body) == [b"one", b"two"]
    body.close()


def test_what_raises_before_its_first_piece_is_closed() -> None:
    """The server is given nothing that it could close."""
    closed: list[int] = []

    class Broken:
        def __iter__(self) -> Iterator[bytes]:
            raise PlannedError

        def close(self) -> None:
            closed.append(1)

    def app(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return Broken()

    with pytest.raises(PlannedError):
        Sessions(app, secrets=[SECRET])(environ(), lambda *_: bytes)
    assert closed == [1]
