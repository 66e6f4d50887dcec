"""Looking into a running server's ledger from outside, by its bytes alone."""

from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

from otelmon import board
from otelmon.ledger import layout
from otelmon.ledger.segment import Segment
from otelmon.metrics.past import Past
from tests.held_locks import locks_on
from tests.waiting import until


if TYPE_CHECKING:
    from pathlib import Path

    from otelmon.board import Published
    from tests.gunicorn_server import Gunicorn


class Board(NamedTuple):
    """A state of the board, and how many there were before it."""

    number: int
    published: Published


def ledger(server: Gunicorn) -> Path:
    """Return the server's one ledger."""
    (path,) = server.ledgers.glob("*.ledger")
    return path


def read_board(path: Path) -> Board | None:
    """Return the newest state of the board, None if there is none or it was overtaken."""
    with path.open("rb") as file:
        words = memoryview(os.pread(file.fileno(), layout.PAGE, 0)).cast("Q")
        number = words[layout.HEADER_BOARD]
        at = layout.BOARD_AT + number % 2 * layout.BOARD_BUFFER
        length, crc = memoryview(os.pread(file.fileno(), 16, at)).cast("Q")
        payload = os.pread(file.fileno(), length, at + 16)
    if number == 0 or zlib.crc32(payload) != crc:
        return None
    return Board(number, board._decode(payload))


def board_of(server: Gunicorn) -> Board:
    """Return the newest state of a server's board, once one can be read whole."""
    found: list[Board] = []

    def read() -> bool:
        board = read_board(ledger(server))
        found.extend([] if board is None else [board])
        return board is not None

    assert until(read, 30), server.log
    return found[-1]


def past(path: Path) -> Past:
    """Return a copy of what the keepers remember, up to the newest state of the board."""
    copy = Segment()
    with path.open("rb") as file:
        words = memoryview(os.pread(file.fileno(), layout.PAGE, 0)).cast("Q")
        number = words[layout.HEADER_BOARD]
        for ring in layout.RINGS:
            copy.header[ring.word] = words[ring.word]
            data = os.pread(file.fileno(), words[ring.word] * ring.place_bytes, ring.at)
            start = ring.at - layout.PAST_AT
            copy.past[start : start + len(data)] = data
    return Past(copy, number)


def is_told(server: Gunicorn, word: int) -> bool:
    """Tell whether a place knows of all changes; *word* is that of the header which says how far."""
    with ledger(server).open("rb") as file:
        told: int = memoryview(os.pread(file.fileno(), layout.PAGE, 0)).cast("Q")[word]
    return told >= board_of(server).published.transitions


def holders(path: Path) -> set[int]:
    """Return the processes that hold a lock on all of a file."""
    return {lock.pid for lock in locks_on(path) if lock.kind == "FLOCK"}


def duty(server: Gunicorn) -> set[int]:
    """Return the keepers."""
    return holders(ledger(server).with_suffix(".duty"))


def served(server: Gunicorn) -> set[int]:
    """Return who serves the metrics port."""
    return server.listeners().get(server.metrics_port, set())


def figures(server: Gunicorn) -> dict[str, Any] | None:
    """Return `/api/metrics` of the metrics port; None if for the moment nobody serves it."""
    answer = server.try_ops("/api/metrics")
    return None if answer is None or answer.status != 200 else answer.json()


def workers(server: Gunicorn, name: str) -> Any:  # noqa: ANN401 - as the JSON has it
    """Return a figure of the workers, as the metrics port says."""
    found = figures(server)
    return None if found is None else found["workers"][name]
