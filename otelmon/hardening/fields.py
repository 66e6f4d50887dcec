"""The header fields that tell a client how it stands: draft-ietf-httpapi-ratelimit-headers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from otelmon.hardening.policies import Quota
    from otelmon.ledger.sliding import Standing


Headers = list[tuple[str, str]]

_OURS: Final = frozenset(("ratelimit", "ratelimit-policy"))
_SECOND: Final = 1_000_000_000


class Stand(NamedTuple):
    """How a client stands under one quota."""

    quota: Quota
    standing: Standing

    @property
    def seconds(self) -> int:
        """Return whole seconds, never earlier than what they stand for."""
        return -(-self.standing.wait // _SECOND)


def fields(stands: Sequence[Stand], *, legacy: bool) -> Headers:
    """Return RateLimit-Policy and RateLimit, and the older X-RateLimit-* of the scarcest quota."""
    policy = ", ".join([quota.shown for quota, _ in stands])
    # Where something was refused only that: a client must not go by the seconds of another one.
    shown = [stand for stand in stands if not stand.standing.admitted] or stands
    state = ", ".join(
        [f'"{each.quota.name}";r={each.standing.remaining};t={each.seconds}' for each in shown]
    )
    found = [("RateLimit-Policy", policy), ("RateLimit", state)]
    if legacy:
        scarcest = min(shown, key=lambda each: each.standing.remaining)
        found += [
            ("X-RateLimit-Limit", str(scarcest.quota.requests)),
            ("X-RateLimit-Remaining", str(scarcest.standing.remaining)),
            ("X-RateLimit-Reset", str(scarcest.seconds)),
        ]
    return found


def beside(headers: Headers, ours: Iterable[tuple[str, str]]) -> Headers:
    """Return an answer's headers with ours, unless it says the same of its own."""
    theirs = {name.lower() for name, _ in headers if name[:1] in "RrXx"}
    if not theirs:
        return [*headers, *ours]
    if theirs & _OURS:
        # What they say goes together.
        theirs |= _OURS
    return [*headers, *(field for field in ours if field[0].lower() not in theirs)]
