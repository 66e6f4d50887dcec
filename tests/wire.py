"""Raw HTTP over a socket, for what client libraries will not send."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

from tests.gunicorn_server import Answer


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def chunk(data: bytes, extension: bytes = b"") -> bytes:
    """Return one chunk."""
    return b"%x%s\r\n%s\r\n" % (len(data), extension, data)


def chunked(pieces: Iterable[bytes], trailers: bytes = b"") -> bytes:
    """Return a whole chunked body; empty pieces are left out, as one would end it."""
    return b"".join(chunk(piece) for piece in pieces if piece) + b"0\r\n" + trailers + b"\r\n"


def request(path: str | bytes, *headers: str, method: str = "POST") -> bytes:
    """Return a request's head, with `Connection: close`."""
    target = path.encode("latin-1") if isinstance(path, str) else path
    lines = [b"%s %s HTTP/1.1" % (method.encode(), target), b"Host: x", b"Connection: close"]
    lines += [line.encode("latin-1") for line in headers]
    return b"\r\n".join([*lines, b"", b""])


def exchange(
    port: int, *pieces: bytes, half_close: bool = False, source: str = "127.0.0.1"
) -> bytes:
    """Send the pieces one by one from *source*; return all that comes until the server closes."""
    with socket.create_connection(("127.0.0.1", port), 30, (source, 0)) as client:
        # A server that has refused may close before all is sent.
        with contextlib.suppress(OSError):
            for piece in pieces:
                client.sendall(piece)
            if half_close:
                client.shutdown(socket.SHUT_WR)
        return _all(client)


def _all(client: socket.socket) -> bytes:
    said = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := client.recv(65536):
            said += piece
    return said


def final(said: bytes) -> bytes:
    """Return what a server said without the answers of the 1xx before it."""
    while said.startswith(b"HTTP/1.1 1"):
        said = said.partition(b"\r\n\r\n")[2]
    return said


def answer(said: bytes) -> Answer:
    """Return the last answer in what a server said, without those of the 1xx before it."""
    head, _, body = final(said).partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(_pairs(lines))
    if headers.get("Transfer-Encoding") == "chunked":
        body = _joined(body)
    return Answer(int(status.split()[1]), headers, body)


def _pairs(lines: Sequence[str]) -> Iterable[tuple[str, str]]:
    for line in lines:
        name, _, value = line.partition(":")
        yield name, value.strip()


def _joined(body: bytes) -> bytes:
    """Undo chunked framing.

    Raises:
        ValueError: it breaks off before its end.
    """
    found = b""
    while True:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return found
        found, body = found + body[:length], body[length + 2 :]


def ask(port: int, *pieces: bytes, half_close: bool = False) -> Answer:
    """Send the pieces; return the answer."""
    return answer(exchange(port, *pieces, half_close=half_close))
