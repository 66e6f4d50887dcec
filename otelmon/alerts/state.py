"""The state machine of an alert: pure, with the time handed in.

`ok -> pending -> firing -> recovering -> ok`, and `no_data`. It raises fairly fast and clears slowly:
a value that hovers at a threshold breaches it again and again, and none of these is news. What was
never announced is never resolved: an alert has a level from the moment it is announced until it is
resolved, and every change of the level is a transition.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple


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


def step(rule: Rule, before: AlertState, measured: Measured | None, now: Clock) -> Step:
    """Return the state that follows *before*; too few samples are no data."""
    before = replace(before, updated_at=now.at, judged=now.monotonic)
    if measured is None or measured.samples < rule.min_samples:
        return _without_data(rule, before, now)
    return _with_data(rule, before, measured, now)


def ended(before: AlertState, now: Clock) -> Step:
    """Return what becomes of an alert whose rule is there no longer."""
    after = _untimed(replace(before, updated_at=now.at, judged=now.monotonic))
    return Step(after) if before.level is None else _resolved(after, RULE_OFF)


def interrupted(before: AlertState) -> AlertState:
    """Return *before* after a time without figures, in which nothing is known to have held on."""
    return _untimed(before)


def _without_data(rule: Rule, before: AlertState, now: Clock) -> Step:
    """Drop what is pending; hold what fires for a time: that traffic stops is no sign of health."""
    after = _untimed(before)
    if before.level is None:
        return Step(replace(after, state=NO_DATA, value=None, samples=None, bad=None))
    # From the last data on: a rule that never had any was never announced.
    if before.data is None or _lasts(before.data, rule.no_data_seconds, now):
        found = _resolved(after, NO_DATA)
        return found._replace(state=replace(found.state, state=NO_DATA, value=None))
    return Step(replace(after, state="firing"))


def _with_data(rule: Rule, before: AlertState, measured: Measured, now: Clock) -> Step:
    after = _timed(rule, before, measured, now)
    level = _level(rule, after, now)
    if level == before.level:
        return Step(replace(after, state=_state(after)))
    if level is None:
        return _resolved(after, CLEARED)
    if before.level is None:
        after = replace(after, started=now.monotonic, started_at=now.at, peak=measured.value)
        reason = "raised"
    else:
        reason = "escalated" if level == "critical" else "eased"
    after = replace(after, level=level, level_at=now.at, transitions=after.transitions + 1)
    return Step(replace(after, state=_state(after)), reason)


def _timed(rule: Rule, before: AlertState, measured: Measured, now: Clock) -> AlertState:
    """Take in what was measured, and since when each condition holds without a break."""
    value = measured.value
    enough_bad = measured.bad is None or measured.bad >= rule.min_bad

    def since(holds: bool, began: int | None) -> int | None:
        return (now.monotonic if began is None else began) if holds else None

    firing = before.level is not None
    return replace(
        before,
        value=value,
        samples=measured.samples,
        bad=measured.bad,
        data=now.monotonic,
        peak=rule.worse(before.peak, value) if firing else None,
        warning_since=since(enough_bad and rule.breaches(value, "warning"), before.warning_since),
        critical_since=since(
            enough_bad and rule.breaches(value, "critical"), before.critical_since
        ),
        clear_since=since(firing and rule.is_clear(value, "warning"), before.clear_since),
        calm_since=since(
            before.level == "critical" and rule.is_clear(value, "critical"), before.calm_since
        ),
    )


def _level(rule: Rule, after: AlertState, now: Clock) -> Level | None:
    """Return the level that the conditions come to, None for none."""
    if _held(after.clear_since, rule.resolve_seconds, now):
        return None
    if _held(after.critical_since, rule.for_seconds, now):
        return "critical"
    if after.level == "critical" and not _held(after.calm_since, rule.resolve_seconds, now):
        return "critical"
    fires = after.level is not None or _held(after.warning_since, rule.for_seconds, now)
    return "warning" if fires else None


def _held(since: int | None, seconds: float, now: Clock) -> bool:
    return since is not None and _lasts(since, seconds, now)


def _lasts(since: int, seconds: float, now: Clock) -> bool:
    return now.monotonic - since >= seconds * _SECOND


def _state(after: AlertState) -> str:
    if after.level is not None:
        return "firing" if after.clear_since is None else "recovering"
    return "ok" if after.warning_since is None else "pending"


def _untimed(state: AlertState) -> AlertState:
    return replace(
        state, warning_since=None, critical_since=None, clear_since=None, calm_since=None
    )


def _resolved(after: AlertState, reason: str) -> Step:
    state = _untimed(after)
    return Step(
        replace(
            state,
            state="ok",
            level=None,
            peak=None,
            started=None,
            started_at=None,
            level_at=None,
            transitions=after.transitions + 1,
        ),
        reason,
    )
