"""What a process has seen of the board: parsed once for each publication."""

from __future__ import annotations

import weakref

from otelmon import board
from otelmon.ledger import layout
from otelmon.ledger.segment import Segment
from otelmon.metrics.seen import Seen
from tests.sources import published


def test_before_the_first_publication_there_is_nothing() -> None:
    """Neither a board nor a past."""
    assert Seen().published(Segment()) is None
    assert Seen().past(Segment()) is None


def test_a_publication_is_parsed_once() -> None:
    """Asked again, the very same object is returned, until there is a newer one."""
    segment, seen = Segment(), Seen()
    board.publish(segment, published(keeper=1))
    first, past = seen.published(segment), seen.past(segment)
    again = seen.past(segment)

    assert first is not None
    assert first.keeper == 1
    assert seen.published(segment) is first
    assert past is not None
    assert again is not None
    assert again.memo is past.memo
    board.publish(segment, published(keeper=2))
    second = seen.published(segment)
    assert second is not None
    assert second.keeper == 2
    found = seen.past(segment)
    assert found is not None
    assert found.number == 2
    assert found.memo is not past.memo


def test_a_keeper_knows_what_it_published_itself() -> None:
    """Nothing is parsed for it; others read the same, and what another keeper says is read anew."""
    segment, seen, other = Segment(), Seen(), Seen()
    mine = published(keeper=1)
    seen.publish(segment, mine)

    assert seen.published(segment) is mine
    assert other.published(segment) == mine
    other.publish(segment, published(keeper=2))
    found = seen.published(segment)
    assert found is not None
    assert found.keeper == 2


def test_another_memory_has_another_board() -> None:
    """A process that moves to another ledger forgets the first one's, whatever its number."""
    seen = Seen()
    for keeper in (1, 2):
        segment = Segment()
        board.publish(segment, published(keeper=keeper))
        found = seen.published(segment)
        assert found is not None
        assert found.keeper == keeper
        past = seen.past(segment)
        assert past is not None
        assert past.number == 1


def test_a_board_that_cannot_be_read_is_asked_for_again() -> None:
    """What was None is not remembered."""
    segment, seen = Segment(), Seen()
    board.publish(segment, published())
    at = segment.header[layout.HEADER_BOARD] % 2 * layout.BOARD_BUFFER + 16
    segment.board[at] ^= 0xFF
    assert seen.published(segment) is None
    segment.board[at] ^= 0xFF
    assert seen.published(segment) is not None


def test_it_holds_on_to_no_memory() -> None:
    """A ledger that was closed goes, although its board was seen."""
    segment, seen = Segment(), Seen()
    board.publish(segment, published())
    assert seen.published(segment) is not None
    assert seen.past(segment) is not None
    gone = weakref.ref(segment)
    del segment

    assert gone() is None
