"""wsgiref and waitress answer for a measured application byte for byte as for the bare one."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

import pytest

from otelmon.ledger.requests import RESPONSE_SIZE
from tests.apps import bodies
from tests.apps.bodies import TEXT, Closing, PlannedError, answering
from tests.http_servers import SERVERS, raw
from tests.waiting import until
from tests.wsgi_driver import Measured


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class Filing:
    """Answers with a file through the server's file_wrapper, and knows the files it opened."""

    def __init__(self, opened: Callable[[], Any], *, headers: Iterable[tuple[str, str]]) -> None:
        """Answer with what *opened* returns."""
        self._open = opened
        self._headers = headers
        self.files: list[Any] = []

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer."""
        self.files.append(self._open())
        start_response("200 OK", list(self._headers))
        wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](self.files[-1])
        return wrapped


class Unseekable(io.BytesIO):
    """A file such as a pipe."""

    def seekable(self) -> bool:
        """Say no."""
        return False


DATA: Final = bytes(range(256)) * 1000
SIZED: Final = [("Content-Length", str(len(DATA))), *TEXT]

APPS: Final[dict[str, WSGIApplication]] = {
    "list of one piece": answering(lambda: [b"abc"]),
    "list of an empty piece": answering(lambda: [b""]),
    "empty list": answering(list),
    "list of two": answering(lambda: [b"ab", b"c"]),
    "tuple of one piece": answering(lambda: (b"abc",)),
    "generator": answering(lambda: iter([b"ab", b"", b"c"])),
    "closing": answering(lambda: Closing([b"abc"])),
    "declared": answering(lambda: iter([b"abc"]), headers=[("Content-Length", "3"), *TEXT]),
    "lazy": bodies.generator,
    "write": bodies.writing,
    "write, then a list": bodies.writing_first,
    "restart": bodies.restarting,
    "204": answering(list, status="204 No Content", headers=()),
    "304": answering(list, status="304 Not Modified", headers=()),
    "raise": bodies.raising(PlannedError()),
    "raise midway": bodies.breaking(PlannedError(), b"ab"),
    "text for bytes": answering(lambda: ["ab"]),
    "file": Filing(lambda: io.BytesIO(DATA), headers=TEXT),
    "file of a known size": Filing(lambda: io.BytesIO(DATA), headers=SIZED),
    "file like a pipe": Filing(lambda: Unseekable(DATA), headers=TEXT),
    "empty file": Filing(io.BytesIO, headers=TEXT),
}


@pytest.mark.parametrize("server", SERVERS)
def test_a_real_server_sends_the_same_bytes(server: str) -> None:
    """Status line, headers and body are the same with and without otelmon, for GET and HEAD."""

    def choose(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return APPS[environ["PATH_INFO"][1:]](environ, start_response)

    measured = Measured(choose)
    with SERVERS[server](choose) as bare, SERVERS[server](measured.app) as port:
        for name in APPS:
            path = f"/{name.replace(' ', '%20')}"
            for method in ("GET", "HEAD"):
                assert raw(port, method, path) == raw(bare, method, path), (name, method)

        assert until(lambda: measured.reading().in_flight == 0)
    assert measured.reading().finished == 2 * len(APPS)
    assert measured.reading().lost == 0


@pytest.mark.parametrize("server", SERVERS)
def test_one_piece_is_sent_with_its_length(server: str) -> None:
    """A server declares the length of a body of one piece, which it learns by len()."""
    measured = Measured(answering(lambda: [b"abc"]))

    with SERVERS[server](measured.app) as port:
        answer = raw(port)

    assert b"\r\nContent-Length: 3\r\n" in answer
    assert measured.histogram(RESPONSE_SIZE) == (1, 3)


@pytest.mark.parametrize("server", SERVERS)
def test_a_file_is_closed_and_booked_by_the_server(server: str, tmp_path: Path) -> None:
    """A file reaches the server as its own wrapper; when that is closed, the request is booked."""
    (tmp_path / "data").write_bytes(DATA)
    filing = Filing(lambda: (tmp_path / "data").open("rb"), headers=SIZED)
    measured = Measured(filing)

    with SERVERS[server](measured.app) as port:
        answer = raw(port)
        assert until(lambda: measured.reading().finished == 1)

    assert answer.endswith(DATA)
    assert [file.closed for file in filing.files] == [True]
    assert measured.row() == ("GET", "{unmatched}", 200, "ok", None, 1)
    assert measured.histogram(RESPONSE_SIZE) == (1, len(DATA))
