"""How the alerts stand, as readers see it: what the keeper said last, and what is known if it is late."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from otelmon.metrics import figures


if TYPE_CHECKING:
    from collections.abc import Iterable

    from otelmon.board import AlertState, Published
    from otelmon.ledger.reader import Reading


COLLECTOR: Final = "collector"
"""The alert that tells of a late keeper: nobody but its readers can raise it then"""
UNKNOWN: Final = "unknown"
_WORST_FIRST: Final = ("critical", "warning", None)


def states(published: Published | None, reading: Reading | None) -> list[AlertState]:
    """Return all alerts; those of a late keeper are unknown, and keep the level that they had."""
    if published is None:
        return []
    if not figures.is_stale(reading, published):
        return list(published.alerts)
    age = figures.keeper_age(reading, published)
    return [_of_late_keeper(each, published.at, age) for each in published.alerts]


def _of_late_keeper(state: AlertState, at: float, age: float | None) -> AlertState:
    if state.id != COLLECTOR or age is None:
        return replace(state, state=UNKNOWN)
    critical = state.about["critical"]
    level = "critical" if critical is not None and age > critical else "warning"
    started = state.judged if state.started is None else state.started
    return replace(
        state,
        state="firing",
        level=level,
        value=age,
        peak=age,
        started=started,
        started_at=at if state.started_at is None else state.started_at,
        level_at=at if state.level_at is None else state.level_at,
        updated_at=at + age,
        judged=None if state.judged is None else state.judged + round(age * 1e9),
    )


def worst_first(found: Iterable[AlertState]) -> list[AlertState]:
    """Return alerts by level, those without one last, the oldest first."""
    return sorted(
        found, key=lambda each: (_WORST_FIRST.index(each.level), each.started_at or 0.0, each.id)
    )


def active(published: Published | None, reading: Reading | None) -> list[AlertState]:
    """Return the alerts that fire or recover, worst first, then oldest."""
    return worst_first(each for each in states(published, reading) if each.level is not None)


def counts(published: Published | None, reading: Reading | None) -> dict[str, int]:
    """Return how many alerts are active, by level; see `known` for how much that says."""
    levels = [each.level for each in active(published, reading)]
    return {
        "critical": levels.count("critical"),
        "warning": levels.count("warning"),
        "total": len(levels),
    }


def known(published: Published | None, reading: Reading | None) -> str:
    """Return `current`, or `unknown` before the first sample and while the keeper is late.

    Then the alerts are those that were known last, and the keeper's own.
    """
    return UNKNOWN if figures.is_stale(reading, published) else "current"
