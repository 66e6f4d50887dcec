"""What is advised: kept beside the board, so that every process tells the same.

Who reads it does not import what finds it: only the keeper is to pay for that.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otelmon.ledger import layout, twin
from otelmon.metrics import figures
from otelmon.recommendations import diary


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otelmon.ledger.segment import Segment
    from otelmon.recommendations.catalogue import Reviewed, Rule
    from otelmon.recommendations.diary import Entry
    from otelmon.recommendations.verdict import Finding


MOST: Final = 10
_DOCS: Final = "docs/recommendations.md"


class Advice(NamedTuple):
    """What was found at one moment."""

    at: float  # Unix time
    checked: Sequence[Mapping[str, Any]]
    """Every recommendation with its status"""
    made: Sequence[Mapping[str, Any]]
    """Those to be shown, worst first"""


NOTHING: Final = Advice(0.0, (), ())


def advice(reviewed: Sequence[Reviewed], at: float, before: Advice | None) -> Advice:
    """Return what follows from a review; *before* tells since when each is made."""
    since = {each["id"]: each["since"] for each in before.made} if before is not None else {}
    made = [
        item(each.rule, each.verdict.finding, since.get(each.rule.id, figures.iso(at)))
        for each in reviewed
        if each.is_made and each.verdict.finding is not None
    ]
    return Advice(at, [_checked(each) for each in reviewed], sorted(made, key=_order))


def item(rule: Rule, finding: Finding, since: str | None) -> dict[str, Any]:
    """Return a recommendation as the endpoint shows it."""
    said = asdict(finding)
    return {
        "id": rule.id,
        "slug": rule.slug,
        "severity": finding.severity,
        "title": rule.title,
        "message": finding.message,
        "evidence": said["evidence"],
        "impact": said["impact"],
        "actions": list(said["actions"]),
        "since": since,
        "docs": f"{_DOCS}#{rule.id.lower()}",
    }


def _order(made: Mapping[str, Any]) -> tuple[int, str]:
    # Here, because only the keeper asks; see the module's first lines.
    from otelmon.recommendations.verdict import SEVERITIES

    return SEVERITIES.index(made["severity"]), made["id"]


def _checked(each: Reviewed) -> dict[str, Any]:
    return {
        "id": each.rule.id,
        "slug": each.rule.slug,
        "title": each.rule.title,
        "status": each.verdict.status,
        "reason": each.verdict.reason or None,
        "silenced": each.silenced,
        "suppressed_by": each.suppressed_by,
    }


def late(seconds: float) -> Advice:
    """Return what there is to say where the keeper is so late that the rest is not about now."""
    from otelmon.recommendations import monitoring_itself
    from otelmon.recommendations.catalogue import RULES

    (rule,) = (each for each in RULES if each.judge is monitoring_itself.judge)
    return Advice(0.0, (), [item(rule, monitoring_itself.late(seconds), None)])


def unchecked() -> list[dict[str, Any]]:
    """Return every recommendation as it stands before the first sample."""
    from otelmon.recommendations.catalogue import RULES

    return [
        {
            "id": rule.id,
            "slug": rule.slug,
            "title": rule.title,
            "status": "insufficient_data",
            "reason": "Nothing was sampled yet.",
            "silenced": False,
            "suppressed_by": None,
        }
        for rule in RULES
    ]


# -- where it lies --------------------------------------------------------------------------------


def publish(segment: Segment, found: Advice, entries: Sequence[Entry]) -> None:
    """Show *found*, and keep the diary behind it; only the keeper may.

    Raises:
        LedgerError, OSError: there is no space; what was shown stays.
    """
    shown = json.dumps(found._asdict(), separators=(",", ":")).encode()
    twin.write(segment, layout.ADVICE, b"\n".join((shown, diary.encode(entries))))


def read(segment: Segment) -> Advice | None:
    """Return the newest; None before the first."""
    payload = twin.read(segment, layout.ADVICE)
    if payload is None:
        return None
    found = json.loads(payload.partition(b"\n")[0])
    return Advice(found["at"], found["checked"], found["made"])


def read_diary(segment: Segment) -> list[Entry]:
    """Return what was noted so far."""
    payload = twin.read(segment, layout.ADVICE)
    return [] if payload is None else diary.decode(payload.partition(b"\n")[2])
