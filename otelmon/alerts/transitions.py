"""The last 200 transitions: each change of an alert's level, kept until everybody was told of it.

They lie in a ring of the ledger's file. The keeper writes them just before it publishes, and the board
says how many there are: what a killed keeper wrote ahead is not seen, and written again.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from otelmon.ledger import layout, ring
from otelmon.ledger.ring import Record


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from otelmon.alerts.state import Clock, Step
    from otelmon.board import AlertState
    from otelmon.ledger.segment import Segment


OK: Final = "ok"
_SECOND: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of level. Times are Unix time, but for *monotonic*."""

    number: int
    alert: str
    about: Mapping[str, Any]
    before: str
    """ok, warning or critical"""
    after: str
    reason: str
    at: float
    monotonic: int  # ns
    value: float | None
    samples: int | None
    peak: float | None
    started_at: float
    """When the alert began to fire"""
    before_at: float
    """When it came to the level that it had before"""
    seconds: float
    """For how long it has fired so far"""


def transition(number: int, old: AlertState, step: Step, now: Clock) -> Transition:
    """Return what happened to an alert with a step that changed its level."""
    new = step.state
    resolved = new.level is None
    started = now.monotonic if old.started is None else old.started
    return Transition(
        number=number,
        alert=new.id,
        about=new.about,
        before=old.level or OK,
        after=new.level or OK,
        reason=step.reason or "",
        at=now.at,
        monotonic=now.monotonic,
        # Without data there is only the value that it had last.
        value=old.value if new.value is None else new.value,
        samples=new.samples,
        peak=old.peak if resolved else new.peak,
        started_at=now.at if old.started_at is None else old.started_at,
        before_at=now.at if old.level_at is None else old.level_at,
        seconds=max(0, now.monotonic - started) / _SECOND,
    )


_FIELDS: Final = frozenset(each.name for each in fields(Transition))


def keep(segment: Segment, found: Iterable[Transition]) -> None:
    """Remember transitions; only the keeper may.

    Raises:
        LedgerError, OSError: there is no space.
    """
    where = layout.TRANSITIONS
    for each in found:
        payload = json.dumps(asdict(each), separators=(",", ":")).encode()
        ring.write(
            segment, where, Record(each.number, each.monotonic, payload), places=where.places
        )


def read(segment: Segment, upto: int) -> list[Transition]:
    """Return those that were published, oldest first."""
    return decoded(ring.read(segment, layout.TRANSITIONS, upto=upto))


def decoded(records: Iterable[Record]) -> list[Transition]:
    """Return the transitions of the ring's records."""
    known = (json.loads(each.payload) for each in records)
    return [
        Transition(**{name: value for name, value in each.items() if name in _FIELDS})
        for each in known
    ]
