"""Lanes as parts of big integers are added up as a loop would."""

from __future__ import annotations

import sys
from itertools import compress

from hypothesis import example, given
from hypothesis import strategies as st

from otelmon.ledger import layout
from otelmon.ledger.lanes import merged


COUNTS = st.lists(st.integers(0, 2**55), max_size=20)
SLOTS = st.lists(COUNTS, max_size=layout.SLOTS)
MANY = 5_000  # lanes, so that there is more than one piece


def packed(lanes: list[int]) -> bytes:
    """Return lanes as they lie in memory."""
    return b"".join(count.to_bytes(layout.WORD, sys.byteorder) for count in lanes)


@given(SLOTS, st.lists(st.booleans(), max_size=30))
@example([[2**64 - 1], []], [True])
@example([[2**63, 2**63 - 1, 1], [2**63 - 1, 2**63]], [True, False, True])
@example([[1] * MANY, [], [2] * (MANY - 3), list(range(2 * MANY))], [True, True, False] * MANY)
def test_lanes_are_summed_as_a_loop_sums_them(slots: list[list[int]], mask: list[bool]) -> None:
    """Each lane is summed over the slots, and each slot over the lanes of the mask."""
    expected = [0] * max(map(len, slots), default=0)
    for slot in slots:
        for lane, count in enumerate(slot):
            expected[lane] += count
    bits = packed([2**64 - 1 if wanted else 0 for wanted in mask])

    lanes, masked = merged([packed(slot) for slot in slots], bits)

    assert lanes == expected
    assert masked == [sum(compress(slot, mask)) for slot in slots]
