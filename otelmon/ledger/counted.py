"""What is counted by slot: by all processes that had it, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple


if TYPE_CHECKING:
    from collections.abc import Iterable

    from otelmon.ledger.instrument import Series


class Counted(NamedTuple):
    """What was counted in one slot, in the scale of its instrument."""

    total: int
    """By all processes that ever had the slot: it never falls"""
    own: int | None
    """By the one that has it now; None if there is none"""


def by_slot(
    slots: Iterable[tuple[int, bytes, bool]], series: Iterable[Series]
) -> dict[int, dict[int, Counted]]:
    """Return for each of *series* that is counted so, by its first lane, what each slot has.

    *slots* are their numbers, their counting lanes, and whether a live process has them.
    """
    found: dict[int, dict[int, Counted]] = {
        each.base: {} for each in series if each.instrument.merge == "slot"
    }
    for number, lanes, alive in slots if found else ():
        counts = memoryview(lanes).cast("Q")
        for base, counted in found.items():
            if base + 1 < len(counts):
                total, before = counts[base], counts[base + 1]
                counted[number] = Counted(total, total - before if alive else None)
    return found
