"""Pools of connections: how many there are, and how long it takes to get, make and use one.

Names are those of the semantic conventions where these have them,
https://opentelemetry.io/docs/specs/semconv/db/database-metrics/#connection-pools.
"""

from __future__ import annotations

import _thread
from time import monotonic_ns
from typing import TYPE_CHECKING, Final, TypeVar

from otelmon import faults, threads
from otelmon.instruments.databases.levels import (
    COUNT,
    IDLE_MAX,
    MAX,
    OVERFLOWING,
    PENDING,
    POOL,
    STATE,
    Level,
)
from otelmon.instruments.databases.queries import ERROR
from otelmon.instruments.lookups import recorder
from otelmon.instruments.observing import Few
from otelmon.ledger.requests import SECONDS


if TYPE_CHECKING:
    from opentelemetry.metrics import Histogram, Meter

    from otelmon.ledger.ledger import Ledger


P = TypeVar("P", bound="Counted")

REASON: Final = "otelmon.db.invalidation.reason"
_MOST_NAMES: Final = 50
_MOST_ERRORS: Final = 50


class Instruments:
    """What is recorded of all pools."""

    def __init__(self, meter: Meter, ledger: Ledger) -> None:
        """Create the instruments on *meter*, which records to *ledger*."""
        self.ledger = ledger
        self.names = Few(_MOST_NAMES)
        self.errors = Few(_MOST_ERRORS)
        self.wait = _seconds(
            meter, "db.client.connection.wait_time", "Time until a pool gave a connection, or none."
        )
        self.use = _seconds(
            meter, "db.client.connection.use_time", "Time between taking and returning one."
        )
        self.create = _seconds(
            meter, "db.client.connection.create_time", "Time to make a new connection."
        )
        self.timeouts = meter.create_counter(
            "db.client.connection.timeouts", "{timeout}", "Waits that ended without a connection."
        )
        self.failures = meter.create_counter(
            "otelmon.db.client.connection.errors", "{error}", "Connections that could not be had."
        )
        self.invalidations = meter.create_counter(
            "otelmon.db.client.connection.invalidations",
            "{connection}",
            "Connections that were given up, by what for.",
        )
        self._named: dict[str, Named] = {}

    def named(self, name: str) -> Named:
        """Return what all pools of a *name* are shown as."""
        name = self.names(name)
        return self._named.get(name) or self._named.setdefault(name, Named(self, name))

    def watched(self, kind: type[P]) -> list[tuple[str, P]]:
        """Return the pools of one *kind*, with their names."""
        return [
            (named.name, pool)
            for named in tuple(self._named.values())
            for pool in named.pools
            if isinstance(pool, kind)
        ]

    def refresh(self) -> None:
        """Say all figures again: a pool may have changed without a word to us."""
        for named in tuple(self._named.values()):
            named.refresh()

    def forget(self) -> None:
        """Be as new in a forked child: what is out is the parent's, and so may be the locks."""
        for named in tuple(self._named.values()):
            named.forget()


def _seconds(meter: Meter, name: str, description: str) -> Histogram:
    return meter.create_histogram(
        name, unit="s", description=description, explicit_bucket_boundaries_advisory=SECONDS
    )


class Counted:
    """What one pool of this process has at the moment; a base for those of each library."""

    claims = 0
    """Connections that are out, and whoever waits for one"""
    out = 0
    kept: int | None = None
    """Idle connections that it keeps open; None for no limit, or none that is known"""
    most: int | None = None
    """Connections that it may have in all; None as above"""

    def idle(self) -> int:
        """Return how many connections are open and not out."""
        return 0

    def opens(self) -> bool:
        """Tell if it may open connections; one that was replaced only takes back what is out."""
        return True


class Named:
    """The pools of one name in this process."""

    def __init__(self, of: Instruments, name: str) -> None:
        """Have none yet."""
        self.name = name
        self.attributes = {POOL: name}
        self.wait = recorder(of.wait, self.attributes)
        self.use = recorder(of.use, self.attributes)
        self.create = recorder(of.create, self.attributes)
        self.of = of
        # Replaced and never changed: a garbage collection may remove one while they are looked at.
        self.pools: tuple[Counted, ...] = ()
        self._used, self._idle, self._pending, self._over, self._most, self._kept = (
            Level(of.ledger, instrument, {**self.attributes, **more})
            for instrument, more in (
                (COUNT, {STATE: "used"}),
                (COUNT, {STATE: "idle"}),
                (PENDING, {}),
                (OVERFLOWING, {}),
                (MAX, {}),
                (IDLE_MAX, {}),
            )
        )
        self._renew_lock()

    def _renew_lock(self) -> None:
        # Re-entrant: a garbage collection may return a connection while another one is counted. Of
        # the kind that threads have, also under gevent: nothing is waited for while it is held.
        self.lock = threads.original(_thread, "RLock")()

    def add(self, pool: Counted) -> None:
        """Count *pool* too."""
        with self.lock:
            self.pools = (*self.pools, pool)
        self.refresh()

    def remove(self, pool: Counted) -> None:
        """Count it no longer."""
        with self.lock:
            self.pools = tuple(each for each in self.pools if each is not pool)
        self.refresh()

    def forget(self) -> None:
        """Be as new in a forked child."""
        self._renew_lock()
        for pool in self.pools:
            pool.claims = pool.out = 0

    def refresh(self) -> None:
        """Say what all of them have and may have; whatever fails here is ours."""
        try:
            with self.lock:
                pools = [pool for pool in self.pools if pool.opens()]
                self._most.say(_added([pool.most for pool in pools]))
                self._kept.say(_added([pool.kept for pool in pools]))
                self._say()
        except Exception as error:  # noqa: BLE001 - see above
            faults.report("database_pool", error)

    def _say(self) -> None:
        """Say what changes with every connection; to be called with the lock."""
        used = idle = pending = over = 0
        for pool in self.pools:
            resting = pool.idle()
            used += pool.out
            idle += resting
            if pool.most is not None and pool.claims > pool.most:
                pending += pool.claims - pool.most
            if pool.kept is not None and pool.out + resting > pool.kept:
                over += pool.out + resting - pool.kept
        self._used.say(used)
        self._idle.say(idle)
        self._pending.say(pending)
        self._over.say(over)

    # -- what happens to a connection: whatever fails here is the caller's to report ----------------

    def claim(self, pool: Counted) -> int:
        """Note that somebody wants a connection; return when that was (ns)."""
        with self.lock:
            pool.claims += 1
            if pool.most is not None and pool.claims > pool.most:
                self._say()
        return monotonic_ns()

    def unclaim(self, pool: Counted) -> None:
        """Note that what was had is out already."""
        with self.lock:
            pool.claims = max(0, pool.claims - 1)

    def got(self, pool: Counted, began: int, created: int | None) -> int:
        """Note that it was had, a new one if it was *created* (ns); return when that was."""
        now = monotonic_ns()
        self.wait((now - began) / 1e9)
        if created is not None:
            self.create(created / 1e9)
        with self.lock:
            pool.out += 1
            self._say()
        return now

    def failed(self, pool: Counted, began: int, error: BaseException, *, timed_out: bool) -> None:
        """Note that none was had by who wanted one when it *began* (ns)."""
        took = (monotonic_ns() - began) / 1e9
        with self.lock:
            pool.claims = max(0, pool.claims - 1)
            self._say()
        attributes = {**self.attributes, ERROR: self.of.errors(type(error).__qualname__)}
        # In the same histogram: an outage in which all give up is not to look like one without waits.
        self.of.wait.record(took, attributes)
        if timed_out:
            self.of.timeouts.add(1, self.attributes)
        else:
            self.of.failures.add(1, attributes)

    def returned(self, pool: Counted, taken: int) -> None:
        """Note that one came back, or is the pool's no longer, that was *taken* then (ns)."""
        self.use((monotonic_ns() - taken) / 1e9)
        with self.lock:
            pool.out, pool.claims = max(0, pool.out - 1), max(0, pool.claims - 1)
            self._say()

    def invalidated(self, reason: str) -> None:
        """Note that a connection was given up."""
        self.of.invalidations.add(1, {**self.attributes, REASON: reason})


def _added(limits: list[int | None]) -> int | None:
    """Add them up; without a limit for one, or without any, there is none for all."""
    known = [limit for limit in limits if limit is not None]
    return sum(known) if limits and len(known) == len(limits) else None
