"""Rings of records in the ledger's file: what the keeper remembers, and every process reads.

A record lies in the place that its number gives it, so the newest overwrites the oldest. In front
of it stands a head: number, monotonic time, crc32 and length. A keeper that is killed while it
writes spoils the one record that was to go anyway; its number is then written again. Readers pass
over what is spoilt, and touch no place that nobody has taken space for.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

from otelmon.errors import LedgerError
from otelmon.ledger import layout


if TYPE_CHECKING:
    from otelmon.ledger.layout import Ring
    from otelmon.ledger.segment import Segment


_HEAD: Final = struct.Struct("=QQII")
_STAMP: Final = struct.Struct("=QQ")


class Record(NamedTuple):
    """One thing that was remembered."""

    number: int
    monotonic: int  # ns
    payload: bytes


def room(ring: Ring) -> int:
    """Return how many bytes a record of *ring* may have."""
    return ring.place_bytes - _HEAD.size


def write(segment: Segment, ring: Ring, record: Record, *, places: int) -> None:
    """Remember *record*, in place of the one whose number is lower by *places*.

    Numbers begin with 1. Only the keeper writes.

    Raises:
        LedgerError, OSError: there is no space for it; the ring stays as it was.
    """
    number, monotonic, payload = record
    if len(payload) > room(ring):
        raise LedgerError(f"A record of {len(payload)} bytes does not fit into {room(ring)}.")
    place = (number - 1) % min(places, ring.places)
    used = segment.header[ring.word]
    for new in range(used, place):
        segment.take_space(ring.at + new * ring.place_bytes, _HEAD.size)
    at = ring.at + place * ring.place_bytes
    segment.take_space(at, _HEAD.size + len(payload))
    segment.header[ring.word] = max(used, place + 1)
    at -= layout.PAST_AT
    start = at + _HEAD.size
    crc = _crc(number, monotonic, payload)
    segment.past[at:start] = _HEAD.pack(number, monotonic, crc, len(payload))
    segment.past[start : start + len(payload)] = payload


def read(segment: Segment, ring: Ring, *, upto: int | None = None) -> list[Record]:
    """Return what is remembered, oldest first; nothing with a number above *upto*."""
    found = (record(segment, ring, place) for place in range(_used(segment, ring)))
    whole = [each for each in found if each is not None]
    if upto is not None:
        whole = [each for each in whole if each.number <= upto]
    # A keeper with another count of places may have written a number again elsewhere.
    ordered = sorted(whole, key=lambda each: (each.number, each.monotonic))
    return list({each.number: each for each in ordered}.values())


def stamps(segment: Segment, ring: Ring) -> list[tuple[int, int, int]]:
    """Return number, monotonic time and place of what may be remembered, in no order.

    It is cheaper than `read`, and what stands there may be spoilt.
    """
    found = []
    for place in range(_used(segment, ring)):
        at = ring.at - layout.PAST_AT + place * ring.place_bytes
        number, monotonic = _STAMP.unpack(segment.past[at : at + _STAMP.size])
        if number:
            found.append((number, monotonic, place))
    return found


def record(segment: Segment, ring: Ring, place: int) -> Record | None:
    """Return what lies in a place, None if that is nothing or spoilt."""
    at = ring.at - layout.PAST_AT + place * ring.place_bytes
    start = at + _HEAD.size
    number, monotonic, crc, length = _HEAD.unpack(segment.past[at:start])
    if not number or length > room(ring):
        return None
    payload = bytes(segment.past[start : start + length])
    if _crc(number, monotonic, payload) != crc:
        return None
    return Record(number, monotonic, payload)


def _used(segment: Segment, ring: Ring) -> int:
    return min(segment.header[ring.word], ring.places)


def _crc(number: int, monotonic: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(_STAMP.pack(number, monotonic)))
