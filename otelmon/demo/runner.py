"""The demo: the shop under gunicorn, visitors, and where to look, until somebody stops it."""

from __future__ import annotations

import math
import os
import signal
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from otelmon.demo.announcement import Announcement
from otelmon.demo.arguments import DEFAULT_RATE, DEFAULT_SECONDS
from otelmon.demo.child import Child
from otelmon.demo.environment import server_environment, with_static_files
from otelmon.demo.errors import DemoError
from otelmon.demo.server import Server, is_free, reserve
from otelmon.demo.valkey import Valkey
from otelmon.settings import Settings
from otelmon.settings.env_file import read_env_file


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType

    Handler = Callable[[int, FrameType | None], object] | int | None


_TICK = 0.2  # seconds between two looks at the children


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What the command line asks for; *seconds* and *rate* are those of the load."""

    port: int = 5001
    workers: int = 4
    worker_class: str = "sync"
    env_file: Path | None = None
    has_load: bool = True
    seconds: float = DEFAULT_SECONDS
    rate: float = DEFAULT_RATE
    # Patience costs nothing: a server that ends is noticed at once. With nothing compiled yet, a
    # busy small machine takes more than 20.
    boot_seconds: float = 60.0
    # Seconds of load before its first figures are told: by default the keeper closes its first full
    # interval after 12.
    figures_after: float = 13.0


class Stop:
    """Knows whether we were asked to stop, by Ctrl-C, SIGTERM or the end of the terminal."""

    def __init__(self) -> None:
        """Begin unasked; entered, listen to the signals."""
        self.asked = False
        self._before: dict[int, Handler] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # nohup ignores SIGHUP, and wants that kept.
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, *_signal: object) -> None:
        # Only a flag: a handler may interrupt the holder of any lock.
        self.asked = True


def run(plan: Plan, environ: Mapping[str, str], say: Callable[[str], object]) -> None:
    """Run until a signal; DemoError or ConfigError if that cannot be, or ends by itself."""
    file = read_env_file(plan.env_file) if plan.env_file else {}
    environ = server_environment(environ, file)
    settings = Settings.from_env(environ)
    with Stop() as stop, reserve(plan.port) as listener, _directory() as directory:
        announcement = Announcement(settings, port_is_free=_port_is_free(settings))
        with _cache(directory, environ) as url:
            shop = with_static_files({**environ, "REDIS_URL": url}, directory)
            server = Server(
                listener, directory, shop, workers=plan.workers, worker_class=plan.worker_class
            )
            with server:
                Demo(plan, announcement, server, stop, say).run(environ)


@contextmanager
def _cache(directory: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the address of the user's Redis, or of one that is started for the shop."""
    own = Settings.from_env(environ).redis().url
    if own is not None:
        yield own
        return
    with Valkey(directory, environ) as valkey:
        yield valkey.url


@contextmanager
def _directory() -> Iterator[Path]:
    # A server that had to be killed may still be writing while this is removed.
    with tempfile.TemporaryDirectory(prefix="otelmon-demo-", ignore_cleanup_errors=True) as path:
        yield Path(path)


def _port_is_free(settings: Settings) -> bool:
    return is_free(settings.prometheus_host, settings.prometheus_port)


class Demo:
    """What happens while the server lives."""

    def __init__(
        self,
        plan: Plan,
        announcement: Announcement,
        server: Server,
        stop: Stop,
        say: Callable[[str], object],
    ) -> None:
        """Take a server that has just been started."""
        self._plan = plan
        self._announcement = announcement
        self._server = server
        self._stop = stop
        self._say = say
        self._tick = threading.Event()  # never set: to wait is all it is for

    def run(self, environ: Mapping[str, str]) -> None:
        """Wait for the shop, tell where it is, send visitors, watch over all until asked to stop."""
        self._open()
        if self._stop.asked:
            return
        for line in self._announcement.lines(self._server.url):
            self._say(line)
        self._say(f"gunicorn is process {self._server.pid} and logs to {self._server.log}.")
        if not self._plan.has_load:
            self._say("Ctrl-C stops it.")
            self._watch()
            return
        with Child(self._load_command(), environ=environ) as visitors:
            self._say(
                f"Visitors send about {self._plan.rate:g} requests a second for "
                f"{self._plan.seconds:g} s. Ctrl-C stops everything."
            )
            self._watch(visitors)

    def _open(self) -> None:
        deadline = time.monotonic() + self._plan.boot_seconds
        while not self._stop.asked and not self._server.answers(self._announcement.probe):
            self._server.check()
            if time.monotonic() >= deadline:
                raise DemoError(
                    f"The shop does not answer after {self._plan.boot_seconds:g} s; the end of "
                    f"gunicorn's log:\n{self._server.last_lines()}"
                )
            self._tick.wait(_TICK)

    def _load_command(self) -> list[str]:
        bounds = [f"--seconds={self._plan.seconds}", f"--rate={self._plan.rate}"]
        command = [sys.executable, "-m", "otelmon.demo.load", self._server.url]
        return [*command, *bounds, f"--parent={os.getpid()}"]

    def _watch(self, visitors: Child | None = None) -> None:
        figures_at = time.monotonic() + self._plan.figures_after if visitors else math.inf
        while not self._stop.asked:
            self._server.check()
            if time.monotonic() >= figures_at:
                figures_at = math.inf
                self._say(self._announcement.first_figures(self._server.get))
            if visitors and visitors.exit_code is not None:
                visitors = None
                self._say("The visitors have left. The shop stays open until Ctrl-C.")
            self._tick.wait(_TICK)
