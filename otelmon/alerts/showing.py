"""Alerts as JSON and as sentences, for endpoints and notifications alike."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from otelmon.metrics.figures import iso, rounded


if TYPE_CHECKING:
    from collections.abc import Mapping

    from otelmon.alerts.rules import Rule
    from otelmon.alerts.transitions import Transition
    from otelmon.board import AlertState


FRACTION: Final = "fraction"
"""A unit that is a number from 0 to 1 in JSON and percent in a sentence"""
_SECOND: Final = 1_000_000_000


def about(rule: Rule) -> dict[str, Any]:
    """Return what is shown of a rule by processes that do not have it."""
    return {
        "name": rule.alertname,
        "metric": rule.metric,
        "unit": rule.unit,
        "comparator": rule.comparator,
        "subject": rule.subject,
        "summary": rule.summary,
        "description": rule.description,
        "runbook_url": rule.runbook_url,
        "warning": rule.warning,
        "critical": rule.critical,
        "warning_clear": rule.clear("warning"),
        "critical_clear": rule.clear("critical"),
        "resolve_seconds": rule.resolve_seconds,
    }


def quantity(value: float | None, unit: str) -> str:
    """Return a value with its unit, as it stands in a sentence."""
    if value is None:
        return "unknown"
    if unit == FRACTION:
        value, unit = 100 * value, "%"
    if value == int(value):
        text = f"{value:,.0f}"
    else:
        size = abs(value)
        text = f"{value:,.0f}" if size >= 1000 else f"{value:.1f}" if size >= 1 else f"{value:.3g}"
    return f"{text}{unit}" if unit in ("%", "") else f"{text} {unit}"


def message(known: Mapping[str, Any], level: str | None, value: float | None) -> str:
    """Return the sentence of an alert, its value first."""
    unit, side = known["unit"], "above" if known["comparator"] == ">" else "below"
    said = f"{known['subject']} is {quantity(value, unit)}"
    threshold = known["warning"] if level is None else known[level]
    if threshold is None:  # that level was switched off while it fired
        return f"{said}."
    return f"{said} ({level or 'alert'} {side} {quantity(threshold, unit)})."


def fingerprint(labels: Mapping[str, str]) -> str:
    """Return what tells an alert from all others for as long as its labels are the same."""
    text = "\n".join(f"{name}={value}" for name, value in sorted(labels.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def shown(state: AlertState, labels: Mapping[str, str]) -> dict[str, Any]:
    """Return one alert as the endpoints have it; times in UTC, null where there is none."""
    known, level = state.about, state.level
    of_level = level or "warning"
    return {
        "id": state.id,
        "name": known["name"],
        "fingerprint": fingerprint({"alertname": known["name"], **labels}),
        "level": level,
        "state": state.state,
        "metric": known["metric"],
        "value": rounded(state.value),
        "unit": known["unit"],
        "comparator": known["comparator"],
        "threshold": known[of_level],
        "clear_threshold": known[f"{of_level}_clear"],
        "peak": rounded(state.peak),
        "message": message(known, level, state.value),
        "started_at": _iso(state.started_at),
        "level_since": _iso(state.level_at),
        "updated_at": _iso(state.updated_at),
        "duration_seconds": _seconds(state, state.started),
        "resolves_in_seconds": _resolves_in(state),
        "samples": state.samples,
        "runbook_url": known["runbook_url"],
        "labels": dict(labels),
    }


def of_rule(state: AlertState, labels: Mapping[str, str]) -> dict[str, Any]:
    """Return one alert with all that its rule is, whether it fires or not."""
    known = state.about
    return {
        **shown(state, labels),
        "summary": known["summary"],
        "description": known["description"],
        "thresholds": {
            level: {"fires": known[level], "clears": known[f"{level}_clear"]}
            for level in ("warning", "critical")
        },
        "pending_seconds": _seconds(state, state.warning_since) if state.level is None else None,
        "transitions": state.transitions,
        "errors": {"times": state.errors, "error": state.error},
    }


def _iso(at: float | None) -> str | None:
    return None if at is None else iso(at)


def _seconds(state: AlertState, since: int | None) -> float | None:
    """Return how long something holds, as of the moment the state was judged."""
    now = state.judged
    return None if since is None or now is None else rounded(max(0, now - since) / _SECOND)


def _resolves_in(state: AlertState) -> float | None:
    """Return the seconds until a recovering alert resolves if nothing comes between."""
    held = _seconds(state, state.clear_since)
    return None if held is None else rounded(max(0.0, state.about["resolve_seconds"] - held))


def of_transition(found: Transition, labels: Mapping[str, str]) -> dict[str, Any]:
    """Return one transition as the endpoint has it."""
    known = found.about
    level = found.after if found.after in ("warning", "critical") else found.before
    return {
        "number": found.number,
        "alert": found.alert,
        "name": known["name"],
        "fingerprint": fingerprint({"alertname": known["name"], **labels}),
        "from": found.before,
        "to": found.after,
        "reason": found.reason,
        "at": iso(found.at),
        "value": rounded(found.value),
        "unit": known["unit"],
        "peak": rounded(found.peak),
        "message": message(known, level, found.value),
        "started_at": iso(found.started_at),
        "duration_seconds": rounded(found.seconds),
        "resolved_reason": found.reason if found.after == "ok" else None,
    }
