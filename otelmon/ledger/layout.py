"""The bytes of a ledger file, apart from any input or output.

A ledger is one sparse file of a fixed size::

    0                header     one page; 64-bit words, see HEADER_*
    KEYS_AT          key table  records, appended under a lock, never changed
    BOARD_AT         boards     two buffers each, written in turn by the keeper, see TWINS and `twin`
    PAST_AT          past       rings of records, one after the other, see RINGS and `ring`
    SLOTS_AT         slots      SLOTS times SLOT_BYTES

and a slot, which one process writes and all read, is::

    0                head       one page; 64-bit words, see HEAD_*
    COUNTS_AT        counts     64-bit unsigned lanes that only grow
    SUMS_AT          sums       64-bit floats that stay when their process dies
    VALUES_AT        values     64-bit floats that die with their process

Every number is native-endian, 8 bytes wide and 8-byte aligned, because only such a store is seen
whole by another process: a store through `memoryview.cast` is one machine store, while
`struct.pack_into` clears the bytes first and readers see zeros.

A series has the same lanes in every slot, so merging is adding slot to slot. All slots' lanes
together never pass 2**64, so they can be added as one big integer each without a carry between
lanes; a sum whose amounts clients choose ends at LANE_LIMIT for that.

Sums are of amounts with fractions, and only grow too; or they are two lanes, what was said last and
when. A value is unset while all its bits are zero: a zero that was said is stored as -0.0.

Not guaranteed: two lanes are never read at one moment. What must agree is derived from one lane
(a histogram's count is the sum of its buckets and stored nowhere).
"""

from __future__ import annotations

import hashlib
import math
import struct
import zlib
from typing import Final, NamedTuple

from otelmon.errors import LedgerError
from otelmon.ledger import requests


MAGIC: Final = b"otelmon\n"
VERSION: Final = 4
PAGE: Final = 4096
WORD: Final = 8

KEYS_AT: Final = PAGE
KEYS_BYTES: Final = 4 * 1024 * 1024
BOARD_AT: Final = KEYS_AT + KEYS_BYTES
BOARD_BUFFER: Final = 256 * 1024


class Twin(NamedTuple):
    """Where two buffers lie that are written in turn."""

    word: int  # of the header: how often they were written; odd and even name the buffer
    at: int
    buffer_bytes: int

    @property
    def end(self) -> int:
        """Return the first byte behind them."""
        return self.at + 2 * self.buffer_bytes


BOARD: Final = Twin(15, BOARD_AT, BOARD_BUFFER)
# What checks came to, and what is advised, each as often as it changes.
CHECKS: Final = Twin(28, BOARD.end, 32 * 1024)
ADVICE: Final = Twin(29, CHECKS.end, 256 * 1024)
TWINS: Final = (BOARD, CHECKS, ADVICE)

PAST_AT: Final = ADVICE.end


class Ring(NamedTuple):
    """Where a ring of records lies; each of its places begins with a head."""

    word: int  # of the header: places from this one on were never written
    at: int
    places: int
    place_bytes: int

    @property
    def end(self) -> int:
        """Return the first page behind it."""
        return self.at + -(-self.places * self.place_bytes // PAGE) * PAGE


# An hour of points, one a second at the most, with some to spare: a young keeper is quicker.
HISTORY: Final = Ring(18, PAST_AT, 3600 + 16, 384)
# What was counted when; one ring for each window. That of a minute has all, the others a few.
MINUTE: Final = Ring(19, HISTORY.end, 60 + 12, 32 * 1024)
FIVE_MINUTES: Final = Ring(20, MINUTE.end, 16, 32 * 1024)
QUARTER: Final = Ring(21, FIVE_MINUTES.end, 16, 32 * 1024)
# What alerts did, and how much memory each worker had, a sample a minute for an hour.
TRANSITIONS: Final = Ring(22, QUARTER.end, 200, 4 * 1024)
RESIDENT: Final = Ring(23, TRANSITIONS.end, 64, 8 * 1024)
RINGS: Final = (HISTORY, MINUTE, FIVE_MINUTES, QUARTER, TRANSITIONS, RESIDENT)

SLOTS_AT: Final = RESIDENT.end

SLOTS: Final = 256
COUNTS_AT: Final = PAGE
COUNTS: Final = 256 * 1024
SUMS_AT: Final = COUNTS_AT + COUNTS * WORD
SUMS: Final = 64 * 1024
VALUES_AT: Final = SUMS_AT + SUMS * WORD
VALUES: Final = 32 * 1024
SLOT_BYTES: Final = VALUES_AT + VALUES * WORD
FILE_BYTES: Final = SLOTS_AT + SLOTS * SLOT_BYTES

# Disk or tmpfs space is taken in steps of this many bytes, before anything is written there.
STEP_BYTES: Final = 64 * 1024

# Words of the header, beside those of TWINS and RINGS. Of these, all but HEADER_PRIVATE_BEAT, HEADER_SERVER_*
# once their process has ended, and what the keeper alone writes are written under a lock.
HEADER_KEYS_END: Final = 8  # bytes of the key table that are published
HEADER_NEXT_COUNT: Final = 9  # first lane that belongs to no series yet
HEADER_NEXT_VALUE: Final = 10
HEADER_SLOTS_USED: Final = 11  # slots from this one on were never claimed
HEADER_SERVER_PID: Final = 12  # the process whose end is the end of the instance
HEADER_SERVER_START: Final = 13  # its start time, because process ids are used again
HEADER_LOCKS: Final = 16  # inode of the file in which the slots' owners hold their locks
HEADER_PRIVATE_BEAT: Final = 14  # monotonic ns of the last beat of a process without a slot
HEADER_NEXT_SUM: Final = 17
HEADER_BOARD: Final = BOARD.word  # how often the board was published
# Up to which transition of an alert somebody was told of them; the keeper alone writes these.
HEADER_LOGGED: Final = 24
HEADER_POSTED: Final = 25
HEADER_PUSHED: Final = 26

# Words of a slot's head, written by the slot's owner alone.
HEAD_GENERATION: Final = 0  # how many processes have owned the slot so far
HEAD_PID: Final = 1
HEAD_CLAIMED: Final = 2  # Unix ns
HEAD_BEAT: Final = 3  # monotonic ns of the owner's last sign of life
HEAD_CAPACITY: Final = 4  # requests that the owner can serve at once, 0 if unknown
HEAD_OLDEST: Final = 5  # monotonic ns at which, as of its last beat, its oldest request began
HEAD_DRAINING: Final = 6  # 1 once the owner takes no new requests
HEAD_COUNTS: Final = 7  # lanes for which the owner has taken space: readers stop there
HEAD_VALUES: Final = 8
HEAD_DEATHS: Final = 9  # how many of its owners are dead for certain
HEAD_SUMS: Final = 10
HEAD_STARTED: Final = 11  # what its earlier owners had started
HEAD_WORDS: Final = 12

# Lanes that every slot has before any series.
LANE_STARTED: Final = 0
LANE_LOST: Final = 1
FIRST_LANE: Final = 8
# From here on a lane takes no amount that a client chose: that of all slots, one addition past it,
# is below 2**64.
LANE_LIMIT: Final = 2**55

_HEADER = struct.Struct("=8sQQQ16sQ")
_RECORD = struct.Struct("=II")


def _layout_hash() -> int:
    numbers = (
        *(VERSION, KEYS_AT, TWINS, SLOTS_AT, SLOTS, RINGS),
        *(COUNTS_AT, SUMS_AT, VALUES_AT, SLOT_BYTES),
    )
    machine = (struct.calcsize("P"), struct.pack("=H", 1))
    # A slot is settled by the requests' instruments, so processes that share it mean the same ones.
    digest = hashlib.sha256(repr((numbers, machine, requests.ALL)).encode())
    return int.from_bytes(digest.digest()[:8], "little")


LAYOUT: Final = _layout_hash()


class Header(NamedTuple):
    """What a ledger file says of itself in its first 56 bytes; the words follow it."""

    created: int  # Unix ns
    boot: bytes  # 16 bytes of the boot id: monotonic times mean nothing after a reboot
    network: int  # inode of the network namespace


def encode_header(header: Header, *, magic: bytes = MAGIC) -> bytes:
    """Return the first bytes of a new file."""
    return _HEADER.pack(magic, VERSION, LAYOUT, header.created, header.boot, header.network)


def decode_header(data: bytes, *, magic: bytes = MAGIC) -> Header:
    """Read the first bytes of a file; *magic* tells a ledger from the files beside it.

    Raises:
        LedgerError: the file is no ledger, or one of another layout.
    """
    if len(data) < _HEADER.size:
        raise LedgerError(f"The ledger file ends after {len(data)} bytes; it was truncated.")
    begins, version, layout, created, boot, network = _HEADER.unpack_from(data)
    if begins != magic:
        raise LedgerError(f"The file begins with {begins!r}, so it is no ledger of otelmon.")
    if (version, layout) != (VERSION, LAYOUT):
        raise LedgerError(
            f"The ledger file has layout {version}/{layout:016x}; "
            f"this otelmon reads {VERSION}/{LAYOUT:016x}."
        )
    return Header(created, boot, network)


def encode_record(payload: bytes) -> bytes:
    """Frame one record of the key table: length, crc32, payload, padded to a word."""
    frame = _RECORD.pack(len(payload), zlib.crc32(payload)) + payload
    return frame + bytes(-len(frame) % WORD)


def decode_records(data: bytes) -> tuple[list[bytes], int]:
    """Return the whole records at the start of *data*, and how many bytes they take.

    A record whose crc is wrong ends the list: it may be complete a moment later, on a processor
    that shows stores out of order. So do zeros, which would pass for an empty record.
    """
    records = []
    at = 0
    while at + _RECORD.size <= len(data):
        length, crc = _RECORD.unpack_from(data, at)
        payload = data[at + _RECORD.size : at + _RECORD.size + length]
        if not length or len(payload) != length or zlib.crc32(payload) != crc:
            break
        records.append(payload)
        at += (_RECORD.size + length + WORD - 1) // WORD * WORD
    return records, at


def is_set(value: float) -> bool:
    """Tell whether a value lane was ever stored to: a zero that was said is negative."""
    return bool(value) or math.copysign(1.0, value) < 0


def slot_at(slot: int) -> int:
    """Return where *slot* begins in the file."""
    return SLOTS_AT + slot * SLOT_BYTES
