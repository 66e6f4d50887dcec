"""What checks came to: kept beside the board, so that every process tells the same.

Requests read this and ask nothing themselves.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from otelmon.ledger import layout, twin
from otelmon.metrics import figures


if TYPE_CHECKING:
    from collections.abc import Iterable

    from otelmon.checks.registry import Check
    from otelmon.ledger.segment import Segment


Status = Literal["up", "down", "unknown"]

UNHEALTHY: Final = "unhealthy"
TIMEOUT: Final = "timeout"
"""Stands for the class of the error where a check did not come back"""

_STALE_INTERVALS: Final = 3
# The keeper looks once a second: with a very short interval a result is older than three of them.
_STALE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Result:
    """How a check stood when it was last judged; all None before that."""

    name: str
    critical: bool
    readiness: bool
    status: Status = "unknown"
    error: str | None = None  # class name only: messages may hold addresses and secrets
    latency_ms: float | None = None
    at: float | None = None  # Unix time
    monotonic: int | None = None  # ns
    since: float | None = None
    """Unix time at which it began to be so"""


@dataclass(frozen=True, slots=True)
class Results:
    """The last result of each check."""

    interval: float  # seconds between two
    checks: tuple[Result, ...] = field(default=())

    def as_of(self, monotonic: int) -> Results:
        """Return them with those unknown that are too old, as of *monotonic* ns."""
        return replace(self, checks=tuple(self._aged(each, monotonic) for each in self.checks))

    def _aged(self, result: Result, now: int) -> Result:
        oldest = max(_STALE_SECONDS, _STALE_INTERVALS * self.interval)
        if result.monotonic is not None and now - result.monotonic > oldest * 1e9:
            return replace(result, status="unknown")
        return result


_FIELDS: Final = frozenset(each.name for each in fields(Result))


def unasked(check: Check) -> Result:
    """Return what is known of a check that was never asked."""
    return Result(check.name, check.critical, check.readiness)


def publish(segment: Segment, results: Results) -> None:
    """Show them; only the keeper may.

    Raises:
        LedgerError, OSError: there is no space; what was shown stays.
    """
    payload = json.dumps(asdict(results), separators=(",", ":")).encode()
    twin.write(segment, layout.CHECKS, payload)


def read(segment: Segment) -> Results | None:
    """Return the newest ones; None before the first, or if no check was ever registered."""
    payload = twin.read(segment, layout.CHECKS)
    if payload is None:
        return None
    found = json.loads(payload)
    # A keeper of another version, during an upgrade, may know more.
    known = ({k: v for k, v in each.items() if k in _FIELDS} for each in found["checks"])
    return Results(found["interval"], tuple(Result(**each) for each in known))


# -- what follows from them -----------------------------------------------------------------------


def status(base: str, results: Iterable[Result]) -> str:
    """Return how the instance stands that is *base* without its checks.

    Only a critical check that is down is unhealthy: one whose state is not known, or that is not
    critical, must not take every process out of a load balancer at once.
    """
    states = list(results)
    if any(each.critical and each.status == "down" for each in states):
        return UNHEALTHY
    if base == figures.HEALTHY and any(each.status != "up" for each in states):
        return figures.DEGRADED
    return base


def not_ready(results: Iterable[Result]) -> list[str]:
    """Return the checks for readiness that are down, or were never asked.

    One whose result is too old does not count: then it is the keeper that fails, not what is asked.
    """
    return [
        each.name
        for each in results
        if each.readiness and (each.status == "down" or each.monotonic is None)
    ]


def shown(results: Iterable[Result], monotonic: int) -> dict[str, dict[str, Any]]:
    """Return them by name as `/health` has them, ages as of *monotonic* ns."""
    return {
        each.name: {
            "status": each.status,
            "critical": each.critical,
            "readiness": each.readiness,
            "latency_ms": figures.rounded(each.latency_ms),
            "checked_at": _iso(each.at),
            "age_seconds": _age(each, monotonic),
            "since": _iso(each.since),
            "error": each.error,
        }
        for each in results
    }


def _iso(at: float | None) -> str | None:
    return None if at is None else figures.iso(at)


def _age(result: Result, now: int) -> float | None:
    if result.monotonic is None:
        return None
    return figures.rounded(max(0.0, (now - result.monotonic) / 1e9))
