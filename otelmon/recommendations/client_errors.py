"""Clients are refused often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otelmon.recommendations.amounts import count, share
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


_SHARE: Final = 0.20
_REQUESTS: Final = 200


def judge(evidence: Evidence) -> Verdict:
    """Ask whether above 20 % of 200 requests or more were answered 4xx in 15 minutes."""
    requests = evidence.counts.get("requests", 0)
    if requests < _REQUESTS:
        return insufficient(f"{requests:.0f} requests were counted; {_REQUESTS} are needed.")
    refused = evidence.counts.get("client_errors", 0)
    if refused <= _SHARE * requests:
        return PASS
    top = evidence.client_errors
    mostly = f", mostly {top.status} of {top.route}" if top is not None else ""
    return recommend(
        Finding(
            message=f"{share(refused / requests)} of requests ({count(refused)} of "
            f"{count(requests)}) are answered 4xx{mostly}. Consider: looking for a broken link or "
            "client, or refusing scanners in the proxy.",
            severity="info",
            evidence={
                "client_errors": refused,
                "requests": requests,
                "top_route": None if top is None else top.route,
                "top_status": None if top is None else top.status,
                "window_seconds": 900,
                "threshold": _SHARE,
            },
            actions=(Action("Find out which client sends them, in the server's access log."),),
        )
    )
