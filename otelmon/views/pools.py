"""The pools of connections to databases, of all processes together, as JSON."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from otelmon.instruments.databases.levels import (
    COUNT,
    IDLE_MAX,
    MAX,
    OVERFLOWING,
    PENDING,
    POOL,
    STATE,
)
from otelmon.instruments.databases.limits import LIMIT
from otelmon.instruments.databases.pools import REASON
from otelmon.metrics.databases import times


if TYPE_CHECKING:
    from otelmon.metrics.rows import Row

    Found = dict[str, list[Row]]


_INVALIDATIONS: Final = "otelmon.db.client.connection.invalidations"


def shown(found: Found) -> list[dict[str, Any]]:
    """Return every pool by its name, out of the rows of databases.

    `max` is what all live processes together may open, `server_limit` what the server allows to all
    of its clients; None where there is no limit, or none that is known.
    """
    by_pool: defaultdict[str, Found] = defaultdict(dict)
    for name, each in found.items():
        for row in each:
            pool = dict(row.attributes).get(POOL)
            if pool is not None:
                by_pool[str(pool)].setdefault(name, []).append(row)
    return [_shown(pool, its) for pool, its in sorted(by_pool.items())]


def _shown(pool: str, found: Found) -> dict[str, Any]:
    most, limit = _whole(found, MAX.name), _largest(found, LIMIT)
    return {
        "name": pool,
        "used": _whole(found, COUNT.name, **{STATE: "used"}),
        "idle": _whole(found, COUNT.name, **{STATE: "idle"}),
        "max": most,
        "idle_max": _whole(found, IDLE_MAX.name),
        "overflow": _whole(found, OVERFLOWING.name),
        "pending": _whole(found, PENDING.name),
        "timeouts": _whole(found, "db.client.connection.timeouts") or 0,
        "errors": _whole(found, "otelmon.db.client.connection.errors") or 0,
        "invalidations": {
            str(dict(row.attributes).get(REASON)): int(row.value)
            for row in found.get(_INVALIDATIONS, ())
        },
        "wait": _times(found, "db.client.connection.wait_time"),
        "use": _times(found, "db.client.connection.use_time"),
        "create": _times(found, "db.client.connection.create_time"),
        "server_limit": limit,
        "server_share": round(most / limit, 3) if most is not None and limit else None,
    }


def _whole(found: Found, name: str, **attributes: str) -> int | None:
    values = [
        row.value
        for row in found.get(name, ())
        if attributes.items() <= dict(row.attributes).items()
    ]
    return int(sum(values)) if values else None


def _largest(found: Found, name: str) -> int | None:
    """Each process has asked for itself, and all have the same answer."""
    return max((int(row.value) for row in found.get(name, ())), default=None)


def _times(found: Found, name: str) -> dict[str, Any]:
    """Return the times of all together, whether they ended with a connection or without one."""
    rows = found.get(name, ())
    if not rows:
        return times(None)
    buckets = tuple(map(sum, zip(*(row.buckets for row in rows), strict=True)))
    return times(replace(rows[0], value=sum(row.value for row in rows), buckets=buckets))
