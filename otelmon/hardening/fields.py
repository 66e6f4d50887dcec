"""The header fields that tell a client how it stands: draft-ietf-httpapi-ratelimit-headers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from otelmon.hardening.policies import Quota
    from otelmon.ledger.sliding import Standing

    Stand = tuple[Quota, Standing]
    """How a client stands under one quota"""


Headers = list[tuple[str, str]]

_OURS: Final = frozenset(("ratelimit", "ratelimit-policy"))
_SECOND: Final = 1_000_000_000


def seconds(standing: Standing) -> int:
    """Return how long a client is to wait in whole seconds, never too few."""
    return -(-standing.wait // _SECOND)


def fields(stands: Sequence[Stand], *, legacy: bool) -> Headers:
    """Return RateLimit-Policy and RateLimit, and the older X-RateLimit-* of the scarcest quota."""
    if len(stands) == 1:
        # As below, for what is asked of nearly every request.
        ((quota, standing),) = stands
        shown = stands
        found = [("RateLimit-Policy", quota.shown), ("RateLimit", _state(quota, standing))]
    else:
        policy = ", ".join([quota.shown for quota, _ in stands])
        # Where something was refused only that: a client must not go by the seconds of another one.
        shown = [stand for stand in stands if not stand[1].admitted] or stands
        state = ", ".join([_state(*stand) for stand in shown])
        found = [("RateLimit-Policy", policy), ("RateLimit", state)]
    if legacy:
        found += _legacy(*min(shown, key=lambda each: each[1].remaining))
    return found


def _state(quota: Quota, standing: Standing) -> str:
    _, remaining, wait = standing
    return f"{quota.quoted};r={remaining};t={-(-wait // _SECOND)}"


def _legacy(quota: Quota, standing: Standing) -> Headers:
    return [
        ("X-RateLimit-Limit", str(quota.requests)),
        ("X-RateLimit-Remaining", str(standing.remaining)),
        ("X-RateLimit-Reset", str(seconds(standing))),
    ]


def beside(headers: Headers, ours: Iterable[tuple[str, str]]) -> Headers:
    """Return an answer's headers with ours, unless it says the same of its own."""
    for name, _ in headers:
        if name[:1] in "RrXx":
            return [*headers, *_unsaid(headers, ours)]
    return [*headers, *ours]


def _unsaid(headers: Headers, ours: Iterable[tuple[str, str]]) -> Headers:
    """Return those of ours that the answer does not have."""
    theirs = {name.lower() for name, _ in headers}
    if theirs & _OURS:
        # What they say goes together.
        theirs |= _OURS
    return [field for field in ours if field[0].lower() not in theirs]
