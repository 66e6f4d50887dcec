"""How often clients came, in memory that processes share: one record for each client and limit.

The file is of a fixed size, taken when it is made::

    0            header    one page: that of a ledger's file, and a secret
    RECORDS_AT   records   STRIPES times BUCKETS times WAYS times RECORD_BYTES

    record       words     key (2), start, before, hits, period; the rest is spare

A key is 128 bits, a hash under the file's secret, so that nobody can choose a name that falls on
another's record. It tells the stripe, which has a lock, and the bucket in it, WAYS records in which
alone the key is looked for. A new one takes a free record there, or one whose window is over; if all
are in use, that of the client with the fewest hits goes, so that many new names push each other out
and not those who are near a limit.

A process may be killed between any two stores, and the kernel gives its lock to the next one. So a
hit is committed by one store; when a window follows another, each state between is one that admits
less; and a record changes its owner with its period at zero, which means that it is free.
"""

from __future__ import annotations

import hashlib
import sys
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from otelmon.ledger import layout
from otelmon.ledger.sliding import Standing, Window, admits, is_over, rolled, standing


if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable, Sequence

    from otelmon.ledger.stripes import Stripes


# Whoever changes these raises layout.VERSION, which is part of the file's name.
MAGIC: Final = b"otelmonQ"
SECRET_AT: Final = 2048
SECRET_BYTES: Final = 32
RECORDS_AT: Final = layout.PAGE
RECORD_BYTES: Final = 64
WAYS: Final = 16
BUCKETS: Final = 64
STRIPES: Final = 64
RECORDS: Final = STRIPES * BUCKETS * WAYS
FILE_BYTES: Final = RECORDS_AT + RECORDS * RECORD_BYTES

KEY_BYTES: Final = 16
_BUCKET_BYTES: Final = WAYS * RECORD_BYTES
_START: Final = 2
_BEFORE: Final = 3
_HITS: Final = 4
_PERIOD: Final = 5


class Asked(NamedTuple):
    """A client that asks under one limit."""

    key: bytes
    limit: int
    period: int  # ns


class Answer(NamedTuple):
    """What came of it."""

    standings: tuple[Standing, ...]
    evicted: int
    """Records in use that had to make room"""


class Quotas:
    """The records in one piece of memory."""

    def __init__(
        self,
        memory: mmap.mmap,
        stripes: Stripes,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Read and write *memory*, FILE_BYTES long, under the locks of *stripes*."""
        self._memory = memory
        self._words = memoryview(memory).cast("Q")
        self._secret = memory[SECRET_AT : SECRET_AT + SECRET_BYTES]
        self._stripes = stripes
        self._clock = clock

    def key(self, *parts: str) -> bytes:
        """Return the key of what these words name together."""
        text = "\0".join(parts).encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, digest_size=KEY_BYTES, key=self._secret).digest()

    def hit(self, asked: Sequence[Asked]) -> Answer:
        """Count a hit under each limit if all of them admit it, else under none.

        Raises:
            TimeoutError: the records are held by somebody who does not go on.
            OSError: there are no locks to be had.
        """
        numbers = [int.from_bytes(each.key[:8], sys.byteorder) for each in asked]
        with self._stripes.held({number % STRIPES for number in numbers}):
            # Within the lock, so that no later time was ever written.
            now = self._clock()
            at = [self._find(each.key, n) for each, n in zip(asked, numbers, strict=True)]
            windows = [
                self._window(place, each, now) for place, each in zip(at, asked, strict=True)
            ]
            passed = [
                admits(window, each.limit, each.period, now)
                for window, each in zip(windows, asked, strict=True)
            ]
            evicted = 0
            if all(passed):
                evicted = self._count(asked, numbers, at, windows, now)
        added = int(all(passed))
        return Answer(
            tuple(
                standing(
                    window._replace(hits=window.hits + added),
                    each.limit,
                    each.period,
                    now,
                    admitted=each_passed,
                )
                for window, each, each_passed in zip(windows, asked, passed, strict=True)
            ),
            evicted,
        )

    # -- records, by the number of their first word ------------------------------------------------

    def _find(self, key: bytes, number: int) -> int | None:
        """Return where a client's record is, if it has one."""
        start = _bucket_at(number)
        at = self._memory.find(key, start, start + _BUCKET_BYTES)
        while at >= 0:
            word = at // layout.WORD
            if at % RECORD_BYTES == 0 and self._words[word + _PERIOD]:
                return word
            at = self._memory.find(key, at + 1, start + _BUCKET_BYTES)
        return None

    def _window(self, at: int | None, asked: Asked, now: int) -> Window:
        if at is None:
            return Window(now, 0, 0)
        words = self._words
        found = Window(words[at + _START], words[at + _BEFORE], words[at + _HITS])
        return rolled(found, asked.period, now)

    def _count(
        self,
        asked: Sequence[Asked],
        numbers: Sequence[int],
        at: list[int | None],
        windows: Sequence[Window],
        now: int,
    ) -> int:
        """Write each client's window with one hit more; return how many records made room."""
        evicted = 0
        for index, (each, window) in enumerate(zip(asked, windows, strict=True)):
            place = at[index]
            if place is None:
                place, was_used = self._room(numbers[index], now, kept=at)
                evicted += was_used
                at[index] = place
                self._enter(place, each, window)
            else:
                self._store(place, window)
        return evicted

    def _store(self, at: int, window: Window) -> None:
        words = self._words
        if words[at + _START] == window.start:
            words[at + _HITS] = window.hits + 1
        elif window.before:
            # The earlier window's counts stand in for the new ones until they are written.
            words[at + _START] = window.start
            words[at + _BEFORE] = window.before
            words[at + _HITS] = 1
        else:
            # Until the last store the old window is over, and its counts mean nothing.
            words[at + _HITS] = 1
            words[at + _BEFORE] = 0
            words[at + _START] = window.start

    def _enter(self, at: int, asked: Asked, window: Window) -> None:
        words = self._words
        words[at + _PERIOD] = 0
        words[at] = int.from_bytes(asked.key[:8], sys.byteorder)
        words[at + 1] = int.from_bytes(asked.key[8:], sys.byteorder)
        words[at + _START] = window.start
        words[at + _BEFORE] = 0
        words[at + _HITS] = 1
        words[at + _PERIOD] = asked.period

    def _room(self, number: int, now: int, *, kept: Sequence[int | None]) -> tuple[int, bool]:
        """Return a record of the bucket for a new client, and whether it was in use."""
        words = self._words
        first = _bucket_at(number) // layout.WORD
        step = RECORD_BYTES // layout.WORD
        fewest: tuple[int, int, int] | None = None
        for at in range(first, first + WAYS * step, step):
            period, start = words[at + _PERIOD], words[at + _START]
            if at in kept:
                continue
            if not period or is_over(start, period, now):
                return at, False
            hits = (words[at + _BEFORE] + words[at + _HITS], start, at)
            fewest = hits if fewest is None else min(fewest, hits)
        assert fewest is not None
        return fewest[2], True


def _bucket_at(number: int) -> int:
    """Return the first byte of the bucket of a key that begins with this word."""
    stripe = number % STRIPES
    bucket = number // STRIPES % BUCKETS
    return RECORDS_AT + (stripe * BUCKETS + bucket) * _BUCKET_BYTES
