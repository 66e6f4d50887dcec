"""Connections that this process has to Redis, by pool: in use, and open without use."""

from __future__ import annotations

import gc
import os
import weakref
from typing import TYPE_CHECKING, Any, Final

from otelmon.instruments.observing import Few
from otelmon.instruments.redis_commands import REDIS, SYSTEM


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.metrics import CallbackOptions, Meter, Observation


COUNT: Final = "db.client.connection.count"
POOL: Final = "db.client.connection.pool.name"
STATE: Final = "db.client.connection.state"
IDLE: Final = "idle"
USED: Final = "used"
# A cluster has a pool for each of its nodes.
_MAX_NAMES: Final = 50


class Pools:
    """The pools of this process, held weakly."""

    def __init__(self) -> None:
        """Know none."""
        self._known: dict[int, weakref.ref[Any]] = {}

    def add(self, pool: object) -> None:
        """Observe a pool too."""
        key = id(pool)

        def gone(ref: weakref.ref[Any]) -> None:
            # Its place may be another pool's by now.
            if self._known.get(key) is ref:
                self._known.pop(key, None)

        self._known[key] = weakref.ref(pool, gone)

    def find(self, base: type) -> None:
        """Observe the pools that there are already, of class *base* or one below."""
        for each in gc.get_objects():
            # Not isinstance: that asks lazy proxies of the application, which may then do anything.
            if issubclass(type(each), base):
                self.add(each)

    def all(self) -> list[Any]:
        """Return those that live."""
        return [pool for ref in tuple(self._known.values()) if (pool := ref()) is not None]


class Connections:
    """The instrument of connections on one meter."""

    def __init__(self, meter: Meter, pools: Pools, *, first: Callable[[], object]) -> None:
        """Create the instrument; it is asked every MONITORING_INTERVAL, and calls *first* before."""
        # Only whoever observes pays for the API.
        from opentelemetry.metrics import Observation

        self._observation = Observation
        self._pools = pools
        self._first = first
        self._names = Few(_MAX_NAMES)
        meter.create_observable_up_down_counter(
            COUNT,
            [self._observe],
            unit="{connection}",
            description="The number of connections that are currently in state described by the "
            "`state` attribute.",
        )

    def _observe(self, _: CallbackOptions) -> Iterable[Observation]:
        self._first()
        # Pools of one name are one.
        sums: dict[tuple[str, str], int] = {}
        for pool in self._pools.all():
            name = self._names(name_of(pool))
            for state, count in zip((USED, IDLE), count_of(pool), strict=True):
                sums[name, state] = sums.get((name, state), 0) + count
        return [
            self._observation(count, {SYSTEM: REDIS, POOL: name, STATE: state})
            for (name, state), count in sums.items()
        ]


def name_of(pool: Any) -> str:  # noqa: ANN401 - any version's
    """Return host, port and database of a pool, and nothing secret; of Sentinel the service."""
    known = pool.connection_kwargs
    database = known.get("db") or 0
    service = getattr(pool, "service_name", None)
    if service is not None:
        return f"{service}/{database}"
    if "path" in known:
        # Where a socket lies on the disk is nobody's business.
        return f"unix/{database}"
    return f"{known.get('host', 'localhost')}:{known.get('port', 6379)}/{database}"


def count_of(pool: Any) -> tuple[int, int]:  # noqa: ANN401 - as above
    """Return how many connections are in use, and how many are open without use."""
    # What a forked child inherits is its parent's until it asks for a connection itself.
    if pool.pid != os.getpid():
        return 0, 0
    queue = getattr(pool, "pool", None)
    if queue is not None:  # a BlockingConnectionPool, which has a queue of all that may be
        idle = [each for each in list(queue.queue) if each is not None]
        used = max(0, len(pool._connections) - len(idle))  # noqa: SLF001 - the public way waits for its lock
    else:
        idle = list(pool._available_connections)  # noqa: SLF001 - as above
        used = len(pool._in_use_connections)  # noqa: SLF001 - as above
    return used, sum(map(_is_open, idle))


def _is_open(connection: Any) -> bool:  # noqa: ANN401 - as above
    return getattr(connection, "_sock", None) is not None
