"""Rules of the application's beside the figures on the board, which they must not keep off it."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

import otelmon
from otelmon import board, faults
from otelmon.alerts import registry, room
from otelmon.alerts.moment import Growing, Measured
from otelmon.ledger.instrument import Instrument
from otelmon.ledger.segment import Segment
from tests.alarms import SECOND, rule
from tests.sources import Counts
from tests.test_alerts_watch import Instance


def publishes(instance: Instance) -> int:
    """Publish what was judged; return how many of its alerts are of the application's rules."""
    segment = Segment()
    board.publish(segment, instance.board)
    said = board.read(segment)
    assert said is not None
    return sum(each.id.startswith("own") for each in said.alerts)


@pytest.mark.parametrize(
    "found",
    [Decimal("90.5"), Fraction(181, 2), Measured(Decimal("90.5"), Decimal(3), Fraction(2))],  # type: ignore[arg-type]
    ids=["Decimal", "Fraction", "Measured"],
)
@pytest.mark.parametrize("window", [0.0, 60.0])
def test_any_kind_of_number_is_one(found: Any, window: float) -> None:  # noqa: ANN401 - what rules return
    """What JSON has no form for is published as the number that it is."""
    instance = Instance(rule(id="own", value=lambda _: found, window_seconds=window))
    instance.see(50)

    assert publishes(instance) == 1
    assert (instance.state("own").value, instance.state("own").state) == (90.5, "firing")


@pytest.mark.parametrize(
    "found",
    [Measured("much"), Measured(90.0, "few"), Measured(90.0, 5, math.nan)],  # type: ignore[arg-type]
    ids=["value", "samples", "bad"],
)
def test_what_is_no_number_is_that_rule_s_failure(found: Measured) -> None:
    """Wherever in a figure it stands: the rule has no data, and all else is published."""
    instance = Instance(rule(id="own", value=lambda _: found))
    instance.see(20)

    assert publishes(instance) == 1
    assert (instance.state("own").state, instance.state("own").errors) == ("no_data", 2)


def test_as_many_rules_are_judged_as_have_room() -> None:
    """With long words, long windows and long numbers; the others are named, and not on the board."""
    counts = Counts()
    counts.set(Instrument("level", "gauge", "", "", (), None), 1 / 3)
    grown = iter(range(10**6))
    rules = [
        rule(
            id=f"own{number}",
            window_seconds=60.0,
            metric="level",
            value=(lambda _: Growing(next(grown) / 7, next(grown) / 3)) if number % 2 else None,
            description="What to look at first. " * (number % 40),
        )
        for number in range(64)
    ]
    instance = Instance(*rules, monitoring_interval=1)
    instance.reading = counts.read()
    instance.monotonic = 10**7 * SECOND  # up for months
    instance.see(10, gap=1.0)
    judged = publishes(instance)
    instance.see(700, gap=1.0)

    assert publishes(instance) == judged
    assert 16 < judged < 64
    assert all(len(instance.state(f"own{n}").memory) > 55 for n in (0, 1))
    left_out = faults.seen()["alert_rule"].each
    assert {each.error for each in left_out.values()} == {"LedgerError"}
    assert "own63" in left_out or faults.OTHERS in left_out


def test_every_rule_that_can_be_added_has_room() -> None:
    """64 with a sentence each, at the usual interval; another is refused, unless it replaces one."""
    rules = [rule(id=f"own{n}", summary=100 * "x", window_seconds=60.0) for n in range(65)]
    for each in rules[:64]:
        otelmon.add_rule(each)
    with pytest.raises(otelmon.ConfigError, match="64 rules already: drop one for 'own64'"):
        otelmon.add_rule(rules[64])
    otelmon.add_rule(rules[0])

    assert list(room.with_room(registry.rules(), 10.0)) == rules[:64]
    assert "alert_rule" not in faults.seen()
