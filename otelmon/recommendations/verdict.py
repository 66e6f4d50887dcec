"""What a recommendation comes to, and what it says when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal


Severity = Literal["critical", "warning", "info"]
Status = Literal["recommend", "pass", "not_applicable", "insufficient_data"]
Figure = str | int | float | bool | None
Evidence = Mapping[str, Figure | list[Mapping[str, Figure]]]

SEVERITIES: Final[tuple[Severity, ...]] = ("critical", "warning", "info")
"""Worst first"""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do; where a setting is to be changed, which one, from what, to what."""

    text: str
    setting: str | None = None
    present: Figure = None
    proposed: Figure = None


@dataclass(frozen=True, slots=True)
class Impact:
    """What would be won, in the figure's own unit, and what that estimate is made of."""

    metric: str
    estimate: float
    basis: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What is wrong, by how much, and what to do."""

    message: str
    """First the fact with its number, then what to consider"""
    evidence: Evidence
    actions: tuple[Action, ...]
    severity: Severity = "warning"
    impact: Impact | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a recommendation stands; a reason unless it is made, a finding if it is."""

    status: Status
    reason: str = ""
    finding: Finding | None = field(default=None)


PASS: Final = Verdict("pass")


def recommend(finding: Finding) -> Verdict:
    """Make the recommendation."""
    return Verdict("recommend", finding=finding)


def not_applicable(reason: str) -> Verdict:
    """Say why it cannot be about this instance."""
    return Verdict("not_applicable", reason)


def insufficient(reason: str) -> Verdict:
    """Say what is missing to tell."""
    return Verdict("insufficient_data", reason)
