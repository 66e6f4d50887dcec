"""The state machine of an alert: pure, with the time handed in.

`ok -> pending -> firing -> recovering -> ok`, and `no_data`. It raises fairly fast and clears slowly:
a value that hovers at a threshold breaches it again and again, and none of these is news. What was
never announced is never resolved: an alert has a level from the moment it is announced until it is
resolved, and every change of the level is a transition.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple


if TYPE_CHECKING:
    from otelmon.alerts.moment import Measured
    from otelmon.alerts.rules import Level, Rule
    from otelmon.board import AlertState


_SECOND: Final = 1_000_000_000

NO_DATA: Final = "no_data"
CLEARED: Final = "cleared"
RULE_OFF: Final = "rule_off"
"""Why an alert was resolved"""


class Clock(NamedTuple):
    """The moment: durations go by the monotonic clock, which nobody sets; people read the other."""

    monotonic: int  # ns
    at: float  # Unix time


class Step(NamedTuple):
    """What becomes of an alert at one moment."""

    state: AlertState
    reason: str | None = None
    """Why its level changed, if it did: raised, escalated, eased, or why it was resolved"""


def step(
    rule: Rule, before: AlertState, measured: Measured | None, now: Clock, **known: object
) -> Step:
    """Return the state that follows *before*; too few samples are no data.

    *known* are the fields of it that are not decided here.
    """
    if measured is None or measured.samples < rule.min_samples:
        change = _without_data(rule, before, now)
    else:
        change = _with_data(rule, before, measured, now)
    return _stepped(before, change, now, **known)


def ended(before: AlertState, now: Clock) -> Step:
    """Return what becomes of an alert whose rule is there no longer."""
    nothing = _Change(_NOTHING)
    return _stepped(before, nothing if before.level is None else _resolved(before, RULE_OFF), now)


def interrupted(before: AlertState) -> AlertState:
    """Return *before* after a time without figures, in which nothing is known to have held on."""
    return replace(before, **_NOTHING)


class _Since(NamedTuple):
    """Since when each condition holds without a break, under its name in an AlertState."""

    warning_since: int | None = None
    critical_since: int | None = None
    clear_since: int | None = None
    calm_since: int | None = None


_NOTHING: Final = _Since()._asdict()


class _Change(NamedTuple):
    """What is new in a state: it has many fields, so they are put into one copy at the end."""

    fields: dict[str, Any]
    reason: str | None = None


def _stepped(before: AlertState, change: _Change, now: Clock, **known: object) -> Step:
    fields: dict[str, Any] = {"updated_at": now.at, "judged": now.monotonic, **change.fields}
    return Step(replace(before, **(fields | known)), change.reason)


def _without_data(rule: Rule, before: AlertState, now: Clock) -> _Change:
    """Drop what is pending; hold what fires for a time: that traffic stops is no sign of health."""
    if before.level is None:
        return _Change({**_NOTHING, "state": NO_DATA, "value": None, "samples": None, "bad": None})
    # From the last data on: a rule that never had any was never announced.
    if before.data is None or _lasts(before.data, rule.no_data_seconds, now):
        resolved = _resolved(before, NO_DATA)
        return resolved._replace(fields={**resolved.fields, "state": NO_DATA, "value": None})
    return _Change({**_NOTHING, "state": "firing"})


def _with_data(rule: Rule, before: AlertState, measured: Measured, now: Clock) -> _Change:
    since = _since(rule, before, measured, now)
    level = _level(rule, before.level, since, now)
    value, samples, bad = measured
    seen = {"value": value, "samples": samples, "bad": bad, "data": now.monotonic}
    if level is None and before.level is not None:
        resolved = _resolved(before, CLEARED)
        return resolved._replace(fields={**seen, **resolved.fields})
    fields = {
        **seen,
        **since._asdict(),
        "state": _state(level, since),
        "peak": None if before.level is None else rule.worse(before.peak, value),
    }
    if level == before.level:
        return _Change(fields)
    fields |= {"level": level, "level_at": now.at, "transitions": before.transitions + 1}
    if before.level is None:
        fields |= {"started": now.monotonic, "started_at": now.at, "peak": value}
        return _Change(fields, "raised")
    return _Change(fields, "escalated" if level == "critical" else "eased")


def _since(rule: Rule, before: AlertState, measured: Measured, now: Clock) -> _Since:
    """Take in what was measured, and since when each condition holds without a break."""
    value = measured.value
    enough_bad = measured.bad is None or measured.bad >= rule.min_bad
    firing = before.level is not None

    def since(holds: bool, began: int | None) -> int | None:
        return (now.monotonic if began is None else began) if holds else None

    return _Since(
        warning_since=since(enough_bad and rule.breaches(value, "warning"), before.warning_since),
        critical_since=since(
            enough_bad and rule.breaches(value, "critical"), before.critical_since
        ),
        clear_since=since(firing and rule.is_clear(value, "warning"), before.clear_since),
        calm_since=since(
            before.level == "critical" and rule.is_clear(value, "critical"), before.calm_since
        ),
    )


def _level(rule: Rule, before: str | None, since: _Since, now: Clock) -> Level | None:
    """Return the level that the conditions come to, None for none."""
    if _held(since.clear_since, rule.resolve_seconds, now):
        return None
    if _held(since.critical_since, rule.for_seconds, now):
        return "critical"
    if before == "critical" and not _held(since.calm_since, rule.resolve_seconds, now):
        return "critical"
    fires = before is not None or _held(since.warning_since, rule.for_seconds, now)
    return "warning" if fires else None


def _held(since: int | None, seconds: float, now: Clock) -> bool:
    return since is not None and _lasts(since, seconds, now)


def _lasts(since: int, seconds: float, now: Clock) -> bool:
    return now.monotonic - since >= seconds * _SECOND


def _state(level: str | None, since: _Since) -> str:
    if level is not None:
        return "firing" if since.clear_since is None else "recovering"
    return "ok" if since.warning_since is None else "pending"


def _resolved(before: AlertState, reason: str) -> _Change:
    gone = dict.fromkeys(("level", "peak", "started", "started_at", "level_at"))
    transitions = before.transitions + 1
    fields = {**_NOTHING, **gone, "state": "ok", "transitions": transitions}
    return _Change(fields, reason)
