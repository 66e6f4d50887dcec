"""A rate limit cannot tell who asks, and so limits nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otelmon.recommendations.amounts import plural
from otelmon.recommendations.verdict import PASS, Action, Finding, Verdict, recommend


if TYPE_CHECKING:
    from otelmon.recommendations.evidence import Evidence


REQUESTS: Final = "otelmon.rate_limit.requests"
OUTCOME: Final = "otelmon.rate_limit.outcome"
UNKNOWN: Final = "unknown_client"
"""`hardening` counts these"""
_REQUESTS: Final = 20


def judge(evidence: Evidence) -> Verdict:
    """Ask whether 20 requests of 15 minutes were not limited because nobody could tell whose."""
    unknown = evidence.counts.get("unknown_clients", 0)
    if unknown < _REQUESTS:
        return PASS
    return recommend(
        Finding(
            message=f"{plural(round(unknown), 'request')} in 15 minutes came from a proxy or a unix "
            "socket, so the rate limit could not tell their clients and limited nobody. Consider: "
            "setting TRUSTED_PROXIES to the number of proxies in front, or to 0 if there are none.",
            severity="warning",
            evidence={"unlimited": unknown, "window_seconds": 900, "threshold": _REQUESTS},
            actions=(
                Action("Say how many proxies are in front.", "TRUSTED_PROXIES", "unset", "1"),
            ),
        )
    )
