"""What the advisor notes once a minute, so that it and its successors can tell what grows.

Counts that are no part of the history, and the memory of each worker. It lies behind the advice in
the ledger's file.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple

from otelmon.metrics.slope import theil_sen


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


MOST_ENTRIES: Final = 61
_MOST_WORKERS: Final = 64
_SECOND: Final = 1e9
_FEWEST: Final = 5
_DAMAGED: Final = (ValueError, TypeError, KeyError)


class Entry(NamedTuple):
    """One minute's."""

    monotonic: int  # ns
    counts: Mapping[str, float]
    """Totals since the ledger was made, or since the machine began"""
    memory: Mapping[str, tuple[int, int]]
    """By slot: process id and bytes of resident memory"""


class Growth(NamedTuple):
    """How the memory of a worker grows."""

    slot: int
    bytes_per_hour: float
    now: int  # bytes
    seconds: float
    """For how long it was looked at"""


def noted(diary: Sequence[Entry], entry: Entry, *, step: float) -> list[Entry]:
    """Return the diary with *entry* in it if the last one is *step* seconds old."""
    if diary and entry.monotonic - diary[-1].monotonic < step * _SECOND:
        return list(diary)
    memory = dict(list(entry.memory.items())[:_MOST_WORKERS])
    return [*diary, entry._replace(memory=memory)][-MOST_ENTRIES:]


def counted(diary: Sequence[Entry], now: Entry, seconds: float) -> dict[str, float]:
    """Return what was counted in the last *seconds*, or since the diary began.

    Of what was not counted then, or fell since (it began anew), nothing is known.
    """
    oldest = now.monotonic - seconds * _SECOND
    before = next((each for each in diary if each.monotonic >= oldest), None)
    if before is None or before.monotonic >= now.monotonic:
        return {}
    found = {
        name: value - before.counts[name]
        for name, value in now.counts.items()
        if name in before.counts
    }
    return {name: value for name, value in found.items() if value >= 0}


def growth(diary: Sequence[Entry], now: Entry, *, hour: float = 3600.0) -> list[Growth]:
    """Return how each worker grows that was looked at for half an *hour*, which has its seconds."""
    found = []
    for slot, (pid, resident) in now.memory.items():
        line = [
            (each.monotonic / _SECOND, each.memory[slot][1])
            for each in (*diary, now)
            if slot in each.memory and each.memory[slot][0] == pid
        ]
        lasted = line[-1][0] - line[0][0]
        if len(line) >= _FEWEST and lasted >= hour / 2:
            slope = theil_sen(line)
            if slope is not None:
                found.append(Growth(int(slot), slope * hour, resident, lasted))
    return found


def encode(diary: Iterable[Entry]) -> bytes:
    """Return its bytes."""
    return json.dumps([list(each) for each in diary], separators=(",", ":")).encode()


def decode(data: bytes) -> list[Entry]:
    """Return the diary of these bytes; an empty one if they are none."""
    try:
        return [
            Entry(at, counts, {slot: (pid, resident) for slot, (pid, resident) in memory.items()})
            for at, counts, memory in json.loads(data)
        ]
    except _DAMAGED:
        return []
