"""What Alertmanager and webhooks are sent: its API v2, and the body of its webhooks, version 4.

Label values are strings, and label names hold no dot: Alertmanager 0.25 refuses both with 400. The
level is the label `severity`, which is part of an alert's identity: warning and critical of one rule
are two alerts, so a change of level is one that is resolved and one that fires.
https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from otelmon.alerts.showing import fingerprint, message, quantity
from otelmon.alerts.transitions import OK


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from otelmon.alerts.transitions import Transition
    from otelmon.board import AlertState, Published


RESEND_SECONDS: Final = 60.0
# As Prometheus does: four times the pause between two, so that one that is lost resolves nothing.
_VALID_SECONDS: Final = 4 * RESEND_SECONDS
RESOLVED_SECONDS: Final = 300.0
"""For how long a resolved alert is sent again, as Alertmanager asks of its clients"""
_SECOND: Final = 1_000_000_000
_NEVER: Final = "0001-01-01T00:00:00Z"
_ALIKE: Final = ("alertname", "service", "instance", "metric", "source")


def for_alertmanager(
    published: Published, transitions: Iterable[Transition], now: float
) -> list[dict[str, Any]]:
    """Return all alerts that fire, and those that ended with one of *transitions*.

    An empty list has nothing to tell. *now* is Unix time.
    """
    firing = {
        (each.id, each.level): _firing(each, published.labels, now)
        for each in published.alerts
        if each.level is not None
    }
    ended = {
        (each.alert, each.before): _ended(each, published.labels)
        for each in transitions
        if each.before != OK and (each.alert, each.before) not in firing
    }
    return [*ended.values(), *firing.values()]


def recent(transitions: Iterable[Transition], *, after: int, now: int) -> list[Transition]:
    """Return those with a number above *after*, and those of the last five minutes; *now* in ns."""
    return [
        each
        for each in transitions
        if each.number > after or now - each.monotonic <= RESOLVED_SECONDS * _SECOND
    ]


def _firing(state: AlertState, labels: Mapping[str, str], now: float) -> dict[str, Any]:
    level, started = state.level or "", state.level_at or now
    return {
        "labels": _labels(state.about, level, labels),
        "annotations": _annotations(state.about, level, state.value),
        "startsAt": _time(started),
        # Later than its begin, also where the clock was set back: that is refused with 400.
        "endsAt": _time(max(now, started) + _VALID_SECONDS),
    }


def _ended(found: Transition, labels: Mapping[str, str]) -> dict[str, Any]:
    return {
        "labels": _labels(found.about, found.before, labels),
        "annotations": _annotations(found.about, found.before, found.value),
        "startsAt": _time(found.before_at),
        "endsAt": _time(max(found.at, found.before_at)),
    }


def for_webhook(found: Transition, labels: Mapping[str, str]) -> dict[str, Any]:
    """Return the body that tells of one transition: what ended and what fires since then."""
    alerts = []
    if found.before != OK:
        alerts.append({"status": "resolved", **_ended(found, labels)})
    if found.after != OK:
        alerts.append(
            {
                "status": "firing",
                "labels": _labels(found.about, found.after, labels),
                "annotations": _annotations(found.about, found.after, found.value),
                "startsAt": _time(found.at),
                "endsAt": _NEVER,
            }
        )
    for each in alerts:
        each |= {"generatorURL": "", "fingerprint": fingerprint(each["labels"])}
    name = found.about["name"]
    return {
        "version": "4",
        "groupKey": f'{{}}:{{alertname="{name}"}}',
        "truncatedAlerts": 0,
        "status": "resolved" if found.after == OK else "firing",
        "receiver": "otelmon",
        "groupLabels": {"alertname": name},
        "commonLabels": _common([each["labels"] for each in alerts]),
        "commonAnnotations": _common([each["annotations"] for each in alerts]),
        "externalURL": "",
        "alerts": alerts,
    }


def _labels(known: Mapping[str, Any], level: str, labels: Mapping[str, str]) -> dict[str, str]:
    return {
        "alertname": known["name"],
        "severity": level,
        "metric": known["metric"],
        "source": "otelmon",
        **labels,
    }


def _annotations(known: Mapping[str, Any], level: str, value: float | None) -> dict[str, str]:
    said = message(known, level, value)
    found = {
        "summary": known["summary"],
        "description": f"{said} {known['description']}".strip(),
        "value": quantity(value, known["unit"]),
        "threshold": quantity(known[level], known["unit"]),
        "runbook_url": known["runbook_url"] or "",
    }
    return {name: text for name, text in found.items() if text}


def _common(found: list[dict[str, str]]) -> dict[str, str]:
    first, *others = found
    return {
        name: text for name, text in first.items() if all(each.get(name) == text for each in others)
    }


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def encoded(body: object) -> bytes:
    """Return a body as it is sent, and signed."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
