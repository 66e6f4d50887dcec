"""The process beside gunicorn's workers that serves the metrics port.

It has the port whatever the workers do: they may all compute in C, hang or be gone. It reads the
ledger and the board, and nothing else: it counts nothing, measures nothing, is never the keeper.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from otelmon import faults, threads
from otelmon.checks import results
from otelmon.errors import LedgerError
from otelmon.ledger.onlooker import Onlooker
from otelmon.metrics.seen import Seen
from otelmon.port import Port, lease_of, shown
from otelmon.recommendations import advice
from otelmon.serving import place_of
from otelmon.views.ops import OpsApp


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from otelmon.board import Published
    from otelmon.checks.results import Results
    from otelmon.ledger.identity import Identity
    from otelmon.ledger.locks import Lease
    from otelmon.ledger.reader import Reading
    from otelmon.metrics.past import Past
    from otelmon.recommendations.advice import Advice
    from otelmon.settings import Settings


NAME: Final = "otelmon-port"
"""What `ps` and `top` show as its command"""

_STEADY_SECONDS: Final = 1.0
# While another process has the port: this one is to be there first when it goes.
_EAGER_SECONDS: Final = 0.2
# How often a ledger that cannot be had is tried again.
_RETRY_SECONDS: Final = 5.0
# What gunicorn's arbiter is told by these is not meant for us, also when a whole group gets them.
_DEAF_TO: Final = ("HUP", "INT", "QUIT", "USR1", "USR2", "TTIN", "TTOU", "WINCH")


class Closeable(Protocol):
    """Something that is open."""

    def close(self) -> None:
        """Be open no longer, in this process."""


class User(NamedTuple):
    """As whom gunicorn's workers run."""

    uid: int
    gid: int
    initgroups: bool


class Plan(NamedTuple):
    """What a sidecar is to do, as known in the arbiter."""

    settings: Settings
    identity: Identity
    user: User


class Sidecar:
    """Serves the metrics port from the ledger, which it follows; no worker, and never the keeper."""

    def __init__(self, settings: Settings, identity: Identity) -> None:
        """Open nothing yet."""
        self.settings = settings
        self._identity = identity
        self._onlooker: Onlooker | None = None
        self._retry_at = 0.0
        self._ops = OpsApp(self, fallback=None)
        self._is_warm = False
        self._port = Port(
            self._ops,
            host=settings.prometheus_host,
            port=settings.prometheus_port,
        )
        self._lease: Lease | None = None
        self._board = Seen()

    # -- what the endpoints show -----------------------------------------------------------------

    def reading(self) -> Reading | None:
        """Return what all workers have counted."""
        return None if self._onlooker is None else self._onlooker.read()

    def published(self) -> Published | None:
        """Return what the keeper knows."""
        segment = None if self._onlooker is None else self._onlooker.segment
        return None if segment is None else self._board.published(segment)

    def past(self) -> Past | None:
        """Return what the keeper remembers."""
        segment = None if self._onlooker is None else self._onlooker.segment
        return None if segment is None else self._board.past(segment)

    def checks(self) -> Results | None:
        """Return what the keeper's health checks came to."""
        segment = None if self._onlooker is None else self._onlooker.segment
        return None if segment is None else results.read(segment)

    def advice(self) -> Advice | None:
        """Return what the keeper advises."""
        segment = None if self._onlooker is None else self._onlooker.segment
        return None if segment is None else advice.read(segment)

    def draining(self) -> bool:
        """Leave it to the workers to say: after an upgrade another arbiter's may go on."""
        return False

    def adopted(self) -> None:
        """Leave it to the workers to say: what the application makes is made there."""

    def dropped(self) -> int:
        """Have recorded nothing."""
        return 0

    def port(self) -> Mapping[str, object]:
        """Say how the metrics port does."""
        return shown(self._port, None if self._onlooker is None else self._onlooker.stem)

    # -- life ------------------------------------------------------------------------------------

    def run(self, arbiter: int) -> None:
        """Serve until the process behind the descriptor *arbiter* has ended, or until SIGTERM."""
        poll = threads.original(select, "poll")()
        poll.register(arbiter, select.POLLIN)
        try:
            while not poll.poll(self._turn() * 1000):
                pass
        except SystemExit:
            self._port.close()

    def _turn(self) -> float:
        """Do what is due; return for how many seconds nothing more is."""
        try:
            self._follow()
            self._serve()
            self._warm()
        except Exception as error:  # noqa: BLE001 - the next turn tries again
            faults.report("sidecar", error)
        return _STEADY_SECONDS if self._port.state["state"] == "serving" else _EAGER_SECONDS

    def _warm(self) -> None:
        """Be quick from the first scrape on: it may come while nobody else can answer."""
        if self._is_warm or self.published() is None:
            return
        self._is_warm = True
        self._ops.warm()

    def _follow(self) -> None:
        if time.monotonic() < self._retry_at:
            return
        try:
            if self._onlooker is None:
                self._onlooker = Onlooker(place_of(self.settings), self._identity)
                self._lease = lease_of(self._onlooker.stem)
            self._onlooker.follow()
        except (LedgerError, OSError) as error:
            self._retry_at = time.monotonic() + _RETRY_SECONDS
            faults.report("ledger", error)

    def _serve(self) -> None:
        segment = None if self._onlooker is None else self._onlooker.segment
        if segment is not None and segment.claim_port():
            self._port.tick(self._lease)
        else:
            # Another arbiter's sidecar has it, or the workers are to.
            self._port.leave(self._lease)


def serve(plan: Plan, inherited: Iterable[Closeable]) -> None:
    """Be the sidecar, in a process that the arbiter has just forked, until the arbiter ends.

    *inherited* is what the arbiter had open and this process must not hold: a listening socket,
    for instance, would take connections that nobody answers.
    """
    from gunicorn import util

    parent = plan.identity.server.pid
    arbiter = os.pidfd_open(parent)
    _listen_to_signals()
    if os.getppid() != parent:  # it ended before there was anything to watch it by
        return
    for each in inherited:
        each.close()
    # Before the rights are given up: the file belongs to whoever this process was born as.
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(NAME)
    util.set_owner_process(plan.user.uid, plan.user.gid, initgroups=plan.user.initgroups)
    Sidecar(plan.settings, plan.identity).run(arbiter)


def _listen_to_signals() -> None:
    for name in _DEAF_TO:
        signal.signal(getattr(signal, f"SIG{name}"), signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
