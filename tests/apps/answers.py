"""A plain WSGI application that can do everything a response may do, good or bad.

Every answer carries the slot and pid of the process that gave it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import otelmon.stack
from otelmon import set_route


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from _typeshed import OptExcInfo
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


HELD: Final = ".held"


class PlannedError(Exception):
    """Raised on purpose."""


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds)


def tagged(app: WSGIApplication) -> WSGIApplication:
    """Add to every answer which slot and process gave it, otelmon's own answers included."""

    def tagging(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(
            status: str, headers: list[tuple[str, str]], exc_info: OptExcInfo | None = None, /
        ) -> Callable[[bytes], object]:
            instance = otelmon.stack._instance
            pen = instance.ledger.pen if instance is not None else None
            slot = "" if pen is None else str(pen.number)
            more = [("X-Slot", slot), ("X-Pid", str(os.getpid()))]
            return start_response(status, [*headers, *more], exc_info)

        return app(environ, start)

    return tagging


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer by the first part of the path; the second is its argument."""
    name, _, argument = str(environ["PATH_INFO"])[1:].partition("/")
    answer = _ANSWERS.get(name, _missing)
    return answer(environ, start_response, argument)


def _ok(environ: WSGIEnvironment, start_response: StartResponse, _: str) -> Iterable[bytes]:
    set_route(environ, "/ok")
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


def _missing(_: WSGIEnvironment, start_response: StartResponse, __: str) -> Iterable[bytes]:
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"missing"]


def _status(
    environ: WSGIEnvironment, start_response: StartResponse, argument: str
) -> Iterable[bytes]:
    set_route(environ, "/status/<code>")
    start_response(f"{argument} Whatever", [("Content-Type", "text/plain")])
    return [] if argument in {"204", "304"} else [argument.encode()]


def _slow(
    environ: WSGIEnvironment, start_response: StartResponse, argument: str
) -> Iterable[bytes]:
    set_route(environ, "/slow/<seconds>")
    _wait(float(argument))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"slow"]


def _hold(
    environ: WSGIEnvironment, start_response: StartResponse, argument: str
) -> Iterable[bytes]:
    """Wait until the file with the argument's name exists, a minute at the most.

    A file beside it says that the application has the request.
    """
    set_route(environ, "/hold/<file>")
    Path(f"/{argument}{HELD}").touch()
    until = time.monotonic() + 60
    while not Path(f"/{argument}").exists() and time.monotonic() < until:
        _wait(0.02)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"held"]


def _stream(
    environ: WSGIEnvironment, start_response: StartResponse, argument: str
) -> Iterable[bytes]:
    set_route(environ, "/stream/<seconds>")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return _pieces(float(argument), 5)


def _pieces(seconds: float, count: int) -> Iterator[bytes]:
    for number in range(count):
        yield f"piece {number}\n".encode()
        _wait(seconds / count)


def _endless(environ: WSGIEnvironment, start_response: StartResponse, _: str) -> Iterable[bytes]:
    set_route(environ, "/endless")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return (b"x" * 65536 for _ in range(100_000))


def _raise(environ: WSGIEnvironment, _: StartResponse, __: str) -> Iterable[bytes]:
    set_route(environ, "/raise")
    raise PlannedError


def _midway(environ: WSGIEnvironment, start_response: StartResponse, _: str) -> Iterable[bytes]:
    set_route(environ, "/midway")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return _broken_pieces()


def _broken_pieces() -> Iterator[bytes]:
    yield b"first"
    raise PlannedError


def _file(
    environ: WSGIEnvironment, start_response: StartResponse, argument: str
) -> Iterable[bytes]:
    set_route(environ, "/file/<bytes>")
    file = open(environ["otelmon.test.file"], "rb")  # noqa: PTH123, SIM115 - the server closes it
    size = os.fstat(file.fileno()).st_size
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(size))])
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](file, int(argument or 65536))
    return wrapped


def _body(environ: WSGIEnvironment, start_response: StartResponse, _: str) -> Iterable[bytes]:
    set_route(environ, "/body")
    size = len(environ["wsgi.input"].read())
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(size).encode()]


def _spin(
    environ: WSGIEnvironment, start_response: StartResponse, argument: str
) -> Iterable[bytes]:
    """Compute without a pause, as a busy worker does."""
    set_route(environ, "/spin/<seconds>")
    until = time.perf_counter() + float(argument)
    while time.perf_counter() < until:
        pass
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"spun"]


def _compute(
    environ: WSGIEnvironment, start_response: StartResponse, argument: str
) -> Iterable[bytes]:
    """Compute until the file with the argument's name exists, and look for it only now and then."""
    set_route(environ, "/compute/<file>")
    deadline = time.monotonic() + 60
    while not Path(f"/{argument}").exists() and time.monotonic() < deadline:
        until = time.perf_counter() + 0.2
        while time.perf_counter() < until:
            pass
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"computed"]


def _die(environ: WSGIEnvironment, _: StartResponse, __: str) -> Iterable[bytes]:
    set_route(environ, "/die")
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


_ANSWERS: dict[str, Callable[[WSGIEnvironment, StartResponse, str], Iterable[bytes]]] = {
    "ok": _ok,
    "status": _status,
    "slow": _slow,
    "hold": _hold,
    "stream": _stream,
    "endless": _endless,
    "raise": _raise,
    "midway": _midway,
    "file": _file,
    "body": _body,
    "spin": _spin,
    "compute": _compute,
    "die": _die,
}
