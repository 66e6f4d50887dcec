"""A process in which something did not begin tries it again, and serves meanwhile."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Final, NoReturn

import psutil

from otelmon import Settings, faults, monitor, serving, threads
from otelmon.ledger.ledger import Ledger
from tests.forks import Child
from tests.gunicorn_server import Gunicorn
from tests.ports import Clock
from tests.waiting import until
from tests.wsgi_driver import environ, serve


if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def hello(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer."""
    start_response("200 OK", [])
    return [b"hello"]


class Server:
    """A process that listens, in which the system refuses what *module* has as *name*."""

    def __init__(self, directory: Path, place: object, name: str) -> None:
        """Stop the clock."""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.clock: Any = Clock()
        vars(serving)["time"] = self.clock
        self.place, self.name, self.original = place, name, getattr(place, name)
        self.tries = 0
        setattr(place, name, self.refuse)
        self.app = monitor(hello, Settings(ledger_dir=str(directory), monitoring_interval=1))

    def refuse(self, *_: object, **__: object) -> NoReturn:
        """Be a system that has no more threads, or memory."""
        self.tries += 1
        raise RuntimeError("can't start new thread")

    @property
    def booked(self) -> int:
        """How many requests were counted."""
        reading = self.instance.reading()
        return 0 if reading is None else reading.finished

    @property
    def instance(self) -> Any:  # noqa: ANN401 - not of the interface
        """What this process is part of."""
        return self.app._instance


def ask(server: Server, seconds: float, *, path: str = "/") -> tuple[int, int, bool]:
    """Have a request answered so much later; return tries, faults and whether the process beats."""
    server.clock.now += seconds
    assert serve(server.app, environ(path=path)).body
    seen = faults.seen().get("serve")
    return server.tries, 0 if seen is None else seen.times, server.instance.keeper.beats


def give(server: Server) -> None:
    """Have what was refused."""
    setattr(server.place, server.name, server.original)


def publishes(server: Server) -> bool:
    """Tell whether the keeper does its duty."""
    return until(server.instance.published)


def booked(server: Server) -> int:
    """Return how many requests were counted."""
    return server.booked


def close(server: Server) -> tuple[bool, int]:
    """End; return whether the process beats still, and how many threads."""
    keeper = server.instance.keeper
    server.app.close()
    server.listener.close()
    return keeper.beats, server.tries


def test_a_process_without_a_thread_for_its_beat_tries_again(tmp_path: Path) -> None:
    """Its requests are counted meanwhile; the beat begins at a request, with 10 s between tries."""
    with Child(lambda: Server(tmp_path, threads, "start")) as server:
        assert server.call(ask, 0) == (1, 1, False)
        assert server.call(ask, 9) == (1, 1, False)
        assert server.call(ask, 1, path="/livez") == (2, 2, False)
        assert server.call(ask, 10) == (3, 3, False)
        server.call(give)
        assert server.call(ask, 10) == (3, 3, True)
        assert server.call(ask, 10) == (3, 3, True)
        assert server.call(publishes)
        assert server.call(booked) == 5
        assert server.call(close) == (False, 3)


def test_a_process_without_a_thread_ends_at_once(tmp_path: Path) -> None:
    """It waits for no beat that never began."""
    with Child(lambda: Server(tmp_path, threads, "start")) as server:
        assert server.call(ask, 0) == (1, 1, False)
        server.send(close)
        assert server.answer() == (False, 1)


def test_a_process_without_a_slot_tries_again(tmp_path: Path) -> None:
    """Its requests pass unmeasured meanwhile."""
    with Child(lambda: Server(tmp_path, Ledger, "serve")) as server:
        assert server.call(ask, 0) == (1, 1, False)
        assert server.call(ask, 9) == (1, 1, False)
        server.call(give)
        assert server.call(ask, 1) == (1, 1, True)
        assert server.call(booked) == 1
        assert server.call(close) == (False, 1)


GIB: Final = 2**30


def test_a_worker_that_had_no_memory_for_a_thread_beats_once_there_is_some(tmp_path: Path) -> None:
    """With less than a thread's stack takes, until the limit is lifted."""
    # The stack's size is what each process gives its threads; only these soft limits are lowered.
    prefix = ("prlimit", f"--stack={4 * GIB}:", f"--as={4 * GIB}:")
    with Gunicorn(tmp_path, workers=1, prefix=prefix) as server:
        assert until(lambda: "serve" in health(server)["faults"], 30), server.log
        assert health(server)["keeper_age_seconds"] is None
        for process in server.workers():
            process.rlimit(psutil.RLIMIT_AS, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))
        assert until(lambda: health(server)["keeper_age_seconds"] is not None, 60), server.log
        assert "can't start new thread" in server.log


def health(server: Gunicorn) -> Any:  # noqa: ANN401 - as the JSON has it
    """Return what a worker says of itself, after a request."""
    assert server.get("/ok").status == 200
    return server.get("/health").json()["otelmon"]
