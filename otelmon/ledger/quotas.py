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
from operator import add
from typing import TYPE_CHECKING, Final, NamedTuple

from otelmon.ledger import layout
from otelmon.ledger.sliding import Standing, Window, is_over, rolled, standing, used


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
_RECORD_WORDS: Final = RECORD_BYTES // layout.WORD
_START: Final = 2
_BEFORE: Final = 3
_HITS: Final = 4
_PERIOD: Final = 5


class Asked:
    """A client that asks under one limit."""

    __slots__ = ("bucket", "key", "limit", "number", "period", "stripe", "stripes")

    def __init__(self, key: bytes, limit: int, period: int) -> None:
        """Ask for one of *limit* hits in *period* ns."""
        self.key = key
        self.limit = limit
        self.period = period
        # The word that the record begins with.
        self.number = number = _number(key)
        self.stripe = number % STRIPES
        self.stripes = (self.stripe,)
        self.bucket = _bucket_at(number)


class Answer(NamedTuple):
    """What came of it."""

    standings: Sequence[Standing]
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
        # In rising order, as all take them, so that none waits in a ring.
        stripes = asked[0].stripes if len(asked) == 1 else sorted({each.stripe for each in asked})
        turn = self._stripes.turn()
        try:
            self._stripes.take(stripes, turn)
            # Within the lock, so that no later time was ever written.
            now = self._clock()
            windows, refused, evicted = self._decided(asked, now)
        finally:
            self._stripes.give(stripes, turn)
        more = 0 if refused else 1
        standings = []
        for each, (start, before, hits) in zip(asked, windows, strict=True):
            window = (start, before, hits + more)
            standings.append(standing(window, each.limit, each.period, now, counted=not refused))
        return Answer(standings, evicted)

    def _decided(self, asked: Sequence[Asked], now: int) -> tuple[list[Window], bool, int]:
        """Return all windows as they were, whether one refuses, and how many records made room."""
        places: list[int | None] = []
        windows: list[Window] = []
        refused = False
        for each in asked:
            at = self._find(each.key, each.bucket)
            window = (now, 0, 0) if at is None else self._window(at, each.period, now)
            places.append(at)
            windows.append(window)
            if used(window, each.period, now) >= each.limit:
                refused = True
        return windows, refused, 0 if refused else self._count(asked, places, windows)

    # -- records, by the number of their first word ------------------------------------------------

    def _find(self, key: bytes, start: int) -> int | None:
        """Return where a client's record is, if it has one in the bucket that begins there."""
        end = start + _BUCKET_BYTES
        find = self._memory.find
        at = find(key, start, end)
        while at >= 0:
            if not at % RECORD_BYTES and self._words[at // layout.WORD + _PERIOD]:
                return at // layout.WORD
            at = find(key, at + 1, end)
        return None

    def _window(self, at: int, period: int, now: int) -> Window:
        words = self._words
        found = words[at + _START], words[at + _BEFORE], words[at + _HITS]
        return rolled(found, period, now)

    def _count(
        self,
        asked: Sequence[Asked],
        places: list[int | None],
        windows: Sequence[Window],
    ) -> int:
        """Write each client's window with one hit more; return how many records made room."""
        evicted = 0
        for index, window in enumerate(windows):
            at = places[index]
            if at is not None:
                self._store(at, window)
                continue
            at, was_used = self._room(asked[index].bucket, window[0], kept=places)
            evicted += was_used
            places[index] = at
            self._enter(at, asked[index], window[0])
        return evicted

    def _store(self, at: int, window: Window) -> None:
        words = self._words
        start, before, hits = window
        if words[at + _START] == start:
            words[at + _HITS] = hits + 1
        elif before:
            # The earlier window's counts stand in for the new ones until they are written.
            words[at + _START] = start
            words[at + _BEFORE] = before
            words[at + _HITS] = 1
        else:
            # Until the last store the old window is over, and its counts mean nothing.
            words[at + _HITS] = 1
            words[at + _BEFORE] = 0
            words[at + _START] = start

    def _enter(self, at: int, asked: Asked, start: int) -> None:
        words = self._words
        words[at + _PERIOD] = 0
        words[at], words[at + 1] = asked.number, _number(asked.key[layout.WORD :])
        words[at + _START] = start
        words[at + _BEFORE] = 0
        words[at + _HITS] = 1
        words[at + _PERIOD] = asked.period

    def _room(self, bucket: int, now: int, *, kept: Sequence[int | None]) -> tuple[int, bool]:
        """Return a record of the bucket for a new client, and whether it was in use."""
        first = bucket // layout.WORD
        # Once, as words of Python's: to look at the memory word by word takes long.
        words = self._words[first : first + WAYS * _RECORD_WORDS].tolist()
        places = range(first, first + WAYS * _RECORD_WORDS, _RECORD_WORDS)
        starts, periods = words[_START::_RECORD_WORDS], words[_PERIOD::_RECORD_WORDS]
        for at, start, period in zip(places, starts, periods, strict=True):
            if is_over(start, period, now) and at not in kept:
                return at, False
        hits = map(add, words[_BEFORE::_RECORD_WORDS], words[_HITS::_RECORD_WORDS])
        used = zip(hits, starts, places, strict=True)
        return min(each for each in used if each[2] not in kept)[2], True


def _number(key: bytes) -> int:
    """Return the word that a key begins with."""
    return int.from_bytes(key[: layout.WORD], sys.byteorder)


def _bucket_at(number: int) -> int:
    """Return the first byte of the bucket of a key that begins with this word."""
    stripe = number % STRIPES
    bucket = number // STRIPES % BUCKETS
    return RECORDS_AT + (stripe * BUCKETS + bucket) * _BUCKET_BYTES
