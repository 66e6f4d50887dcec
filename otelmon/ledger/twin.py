"""Two buffers in the ledger's file that are written in turn: the newest state of something.

Each has its length and its crc32 in front, and a word of the header counts the states and so names
the newer buffer. A writer that is killed while it writes leaves the other one as it was; a reader
that was overtaken sees a wrong crc and reads again.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Final

from otelmon.errors import LedgerError
from otelmon.ledger import layout


if TYPE_CHECKING:
    from otelmon.ledger.layout import Twin
    from otelmon.ledger.segment import Segment


_HEAD: Final = struct.Struct("=QQ")
_TRIES: Final = 3


def write(segment: Segment, twin: Twin, payload: bytes) -> None:
    """Write the next state; only the keeper may.

    Raises:
        LedgerError, OSError: there is no space for it; the state before stays.
    """
    if len(payload) > twin.buffer_bytes - _HEAD.size:
        raise LedgerError(f"{len(payload)} bytes do not fit into a buffer of {twin.buffer_bytes}.")
    number = segment.header[twin.word] + 1
    place = _place(twin, number)
    segment.take_space(place, _HEAD.size + len(payload))
    at = place - layout.BOARD_AT
    start = at + _HEAD.size
    segment.board[at:start] = _HEAD.pack(len(payload), zlib.crc32(payload))
    segment.board[start : start + len(payload)] = payload
    segment.header[twin.word] = number


def newest(segment: Segment, twin: Twin) -> int:
    """Return the number of the last state, 0 before the first."""
    return segment.header[twin.word]


def read(segment: Segment, twin: Twin) -> bytes | None:
    """Return the newest state; None before the first."""
    for _ in range(_TRIES):
        number = segment.header[twin.word]
        if number == 0:
            return None
        at = _place(twin, number) - layout.BOARD_AT
        start = at + _HEAD.size
        length, crc = _HEAD.unpack(segment.board[at:start])
        if length <= twin.buffer_bytes - _HEAD.size:
            payload = bytes(segment.board[start : start + length])
            if zlib.crc32(payload) == crc:
                return payload
    return None


def _place(twin: Twin, number: int) -> int:
    return twin.at + number % 2 * twin.buffer_bytes
