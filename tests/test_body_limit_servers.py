"""BodyLimit under servers that frame bodies, and ask for answers, in ways of their own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests import wire
from tests.server_kinds import program
from tests.server_process import Kind, ServerProcess


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


APP = "tests.apps.limited:app"
CHUNKED = "Transfer-Encoding: chunked"
_WSGIREF = """
import sys, tests.apps.limited as site
from wsgiref.simple_server import make_server
make_server("127.0.0.1", int(sys.argv[1]), site.app).serve_forever(poll_interval=0.01)
"""


def _waitress(port: int, _: Path) -> list[str]:
    return [program("waitress-serve"), f"--listen=127.0.0.1:{port}", APP]


def _granian(port: int, _: Path) -> list[str]:
    server = [program("granian"), "--interface", "wsgi", "--workers-kill-timeout", "5"]
    return [*server, "--host", "127.0.0.1", "--port", str(port), APP]


def _wsgiref(port: int, _: Path) -> list[str]:
    return [sys.executable, "-c", _WSGIREF, str(port)]


SERVERS = {"waitress": _waitress, "granian": _granian, "wsgiref": _wsgiref}


@pytest.fixture(name="server", scope="module", params=SERVERS)
def _server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, int]]:
    directory = tmp_path_factory.mktemp(request.param)
    (directory / "seen").touch()
    kind = Kind(SERVERS[request.param])
    with ServerProcess(kind, directory, SEEN=str(directory / "seen")) as server:
        assert server.get("/plain/nothing").status == 200
        yield request.param, server.port


@pytest.mark.parametrize("path", ["/plain/", "/plain/steps", "/flask/", "/lazy/"])
def test_the_limit_holds_under_each(server: tuple[str, int], path: str) -> None:
    """Declared or chunked: exactly the limit is read, also to its end, and a byte more gets 413."""
    name, port = server
    for size, status in ((1000, 200), (1001, 413)):
        body = b"x" * size
        assert wire.ask(port, wire.request(path, f"Content-Length: {size}"), body).status == status
        if name != "wsgiref":  # which knows nothing of chunks
            sent = wire.chunked([body[:500], body[500:]])
            answer = wire.ask(port, wire.request(path, CHUNKED), sent)
            assert (answer.status, b"Too Large" in answer.body) == (status, status == 413)


@pytest.mark.parametrize("length", ["-1", "+5", "1, 1", "1_0"])
def test_what_is_no_length_is_refused_under_each(server: tuple[str, int], length: str) -> None:
    """A Content-Length that is none gets 400, of the server or of ours."""
    head = wire.request("/plain/nothing", f"Content-Length: {length}")
    assert wire.ask(server[1], head, b"xxxxx").status == 400
