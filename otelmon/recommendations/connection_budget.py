"""All workers together may open more connections than a database allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from otelmon.instruments.databases.levels import POOL
from otelmon.instruments.databases.limits import LIMIT
from otelmon.recommendations.owned import database
from otelmon.recommendations.pool_exhausted import MAX
from otelmon.recommendations.verdict import (
    PASS,
    Action,
    Finding,
    Verdict,
    not_applicable,
    recommend,
)


if TYPE_CHECKING:
    from collections.abc import Sequence

    from otelmon.metrics.rows import Row
    from otelmon.recommendations.evidence import Evidence


class _Usual(NamedTuple):
    """A server that nobody has set up."""

    name: str
    connections: int


# max_connections unless it is set, by what a pool's name begins with: PostgreSQL's manual 20.3.1,
# MySQL's 7.1.8, MariaDB's "Server System Variables". Files have no such limit.
_USUAL: Final = {
    "postgresql": _Usual("PostgreSQL", 100),
    "mysql": _Usual("MySQL", 151),
    "mariadb": _Usual("MariaDB", 151),
}


class _Budget(NamedTuple):
    """What one pool of each worker may open, beside what its server allows."""

    pool: str
    each: float
    workers: int
    allowed: float
    told: bool

    @property
    def possible(self) -> float:
        return self.workers * self.each


def judge(evidence: Evidence) -> Verdict:
    """Compare the connections that all workers may have in a pool with what its server allows.

    Where it has not told, with what PostgreSQL, MySQL or MariaDB allow if nobody has set it; of
    others nothing is known. Pools are judged one by one: nobody knows which share a server.
    """
    budgets = _budgets(evidence)
    if not budgets:
        return not_applicable("No pool is observed that has a limit, and whose server has one.")
    worst = max(budgets, key=lambda each: each.possible / each.allowed)
    return PASS if worst.possible <= worst.allowed else recommend(_finding(worst, evidence))


def _budgets(evidence: Evidence) -> list[_Budget]:
    limits = {name: max(values) for name, values in _by_pool(evidence.measured.get(MAX, ()))}
    told = {name: min(values) for name, values in _by_pool(evidence.measured.get(LIMIT, ()))}
    found = []
    for name, each in limits.items():
        usual = _USUAL.get(name.partition("/")[0])
        allowed = told.get(name, usual and usual.connections)
        if allowed is not None:
            found.append(_Budget(name, each, max(1, evidence.workers), allowed, name in told))
    return found


def _by_pool(rows: Sequence[Row]) -> list[tuple[str, list[float]]]:
    found: dict[str, list[float]] = {}
    for row in rows:
        if row.value > 0:
            found.setdefault(str(dict(row.attributes).get(POOL)), []).append(row.value)
    return list(found.items())


def _finding(budget: _Budget, evidence: Evidence) -> Finding:
    share = int(budget.allowed / budget.workers)
    pooler = Action("Put a pooler such as PgBouncer or ProxySQL between.")
    fewer = _fewer(share, evidence) if share else (Action("Run fewer workers."),)
    what = ", ".join(f"{each.setting}={each.proposed}" for each in fewer if each.setting)
    return Finding(
        message=f"Up to {budget.possible:.0f} database connections are possible ({budget.workers} "
        f"workers x {budget.each:.0f}), and {_by(budget)}. Consider: {what or 'fewer workers'}, "
        "or a pooler.",
        evidence={
            "pool": budget.pool,
            "possible": budget.possible,
            "workers": budget.workers,
            "per_worker": budget.each,
            "allowed": budget.allowed,
            "server_told": budget.told,
        },
        actions=(*fewer, pooler),
    )


def _by(budget: _Budget) -> str:
    if budget.told:
        return f"the server allows {budget.allowed:.0f}"
    name, allowed = _USUAL[budget.pool.partition("/")[0]]
    return f"{name} allows {allowed} unless told otherwise"


def _fewer(share: int, evidence: Evidence) -> tuple[Action, ...]:
    """Return settings with which a worker opens *share* connections at the most."""
    present = database(evidence)
    size = max(1, share // 3)
    over = min(2 * size, share - size)
    sizes = (None, None) if present is None else (present.pool_size, present.max_overflow)
    return (
        Action("Keep fewer connections.", "DB_POOL_SIZE", sizes[0], size),
        Action("Allow fewer above these.", "DB_MAX_OVERFLOW", sizes[1], over),
    )
