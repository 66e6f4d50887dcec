"""Requests have no route by which they could be told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otelmon.recommendations.amounts import share
from otelmon.recommendations.verdict import (
    PASS,
    Action,
    Finding,
    Verdict,
    insufficient,
    recommend,
)


if TYPE_CHECKING:
    from otelmon.recommendations.evidence import Evidence


UNMATCHED: Final = "{unmatched}"
_SHARE: Final = 0.10
_REQUESTS: Final = 100


def judge(evidence: Evidence) -> Verdict:
    """Ask whether above 10 % of 100 requests or more were answered without a route in 15 minutes.

    Those that were answered 404 or 405 are no fault: there was none to match.
    """
    requests = evidence.counts.get("requests", 0)
    if requests < _REQUESTS:
        return insufficient(f"{requests:.0f} requests were counted; {_REQUESTS} are needed.")
    unmatched = evidence.counts.get("unmatched", 0)
    if unmatched <= _SHARE * requests:
        return PASS
    return recommend(
        Finding(
            message=f"{share(unmatched / requests)} of requests have no route name, so they cannot "
            "be analysed. Consider: calling otelmon.set_route(environ, template) where the "
            "application finds out what a request is about.",
            severity="info",
            evidence={
                "unmatched": unmatched,
                "requests": requests,
                "window_seconds": 900,
                "threshold": _SHARE,
            },
            actions=(Action("Name the routes with otelmon.set_route(environ, template)."),),
        )
    )
