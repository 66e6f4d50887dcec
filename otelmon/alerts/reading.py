"""What a rule's figure comes to, over its window and with what was remembered of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

from otelmon.alerts.moment import Growing, Measured
from otelmon.metrics.history import SERIES


if TYPE_CHECKING:
    from otelmon.alerts.moment import Figure, Moment
    from otelmon.alerts.rules import Rule


Memory = tuple[tuple[float, ...], ...]
"""What a rule keeps of earlier moments: their monotonic ns, then one number or two; oldest first"""

_SECOND: Final = 1_000_000_000
MOST_SAMPLES: Final = 80
"""A window keeps no more than about so many, however often the keeper publishes"""


def figure(rule: Rule, moment: Moment) -> Figure:
    """Return what *rule* looks at, before it is averaged; raises what a rule's own code raises."""
    if rule.value is not None:
        return rule.value(moment)
    if rule.metric in SERIES:
        return moment.figures.get(rule.metric)
    return moment.metric(rule.metric, rule.aggregation, where=rule.where)


class Judged(NamedTuple):
    """A figure over its window, and what is to be kept for the next time."""

    measured: Measured | None
    memory: Memory


def judged(rule: Rule, found: Figure, memory: Memory, monotonic: int) -> Judged:
    """Return what *found* comes to together with what was remembered; None without data.

    Raises:
        TypeError, ValueError, OverflowError: it is made of what is no number.
    """
    start = monotonic - round(rule.window_seconds * _SECOND)
    if isinstance(found, Growing):
        sample = (monotonic, float(found.part), float(found.whole))
        memory = _from(_kept(memory, sample, rule.window_seconds), start)
        return Judged(_plain(_growth(memory)) if found.known else None, memory)
    memory = tuple(each for each in memory if each[0] > start)
    if found is None or isinstance(found, Measured):
        return Judged(_plain(found), memory)
    if rule.window_seconds == 0 or not math.isfinite(found):
        return Judged(_plain(Measured(found)), memory)
    memory = _kept(memory, (monotonic, float(found)), rule.window_seconds)
    values = [each[1] for each in memory]
    return Judged(Measured(math.fsum(values) / len(values), len(values)), memory)


def _plain(found: Measured | None) -> Measured | None:
    """Return it in Python's own numbers, as the board can hold them; None unless it is finite."""
    if found is None or not math.isfinite(found.value):
        return None
    bad = None if found.bad is None else int(found.bad)
    return Measured(float(found.value), int(found.samples), bad)


def _kept(memory: Memory, sample: tuple[float, ...], window: float) -> Memory:
    """Return *memory* with a new sample; where they come too quickly it replaces the last one."""
    known = tuple(each for each in memory if len(each) == len(sample) and each[0] < sample[0])
    if len(sample) > 2 and known and any(map(_fell, known[-1], sample)):
        return (sample,)  # it began anew
    step = window * _SECOND / MOST_SAMPLES
    if len(known) > 1 and sample[0] - known[-2][0] < step:
        known = known[:-1]
    return (*known, sample)


def _fell(before: float, after: float) -> bool:
    return after < before


def _from(memory: Memory, start: int) -> Memory:
    """Leave out what no window needs: all but one of those older than its begin."""
    old = sum(each[0] <= start for each in memory)
    return memory[max(0, old - 1) :]


def _growth(memory: Memory) -> Measured | None:
    (_, part_before, whole_before), (_, part, whole) = memory[0], memory[-1]
    grown = whole - whole_before
    if grown <= 0:
        return None
    return Measured((part - part_before) / grown, int(grown))
