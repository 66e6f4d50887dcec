"""What instruments make of attributes, and of more of them than can be kept."""

# ruff: noqa: ANN401 - the tests pass whatever an application may

from __future__ import annotations

import enum
import math
from decimal import Decimal
from typing import Any, Final

import pytest

from otelmon import View, faults
from tests.recorded import Metered


@pytest.fixture(name="shop")
def _shop() -> Metered:
    return Metered()


# -- attributes ----------------------------------------------------------------------------------


class _Colour(str, enum.Enum):  # noqa: UP042 - StrEnum has another `str()`
    RED = "red"


class _Size(enum.IntEnum):
    LARGE = 3


@pytest.mark.parametrize(
    ("attributes", "kept"),
    [
        (None, ()),
        ({}, ()),
        ({"b": 1, "a": "x"}, (("a", "x"), ("b", 1))),
        ({"a": [1, True, 1.0, "1"]}, (("a", (1, True, 1.0, "1")),)),
        ({"a": (1, None, math.nan)}, (("a", (1, "", "NaN")),)),
        ({"a": [[1], {"x": b""}]}, (("a", ("[1]", '{"x": "b\'\'"}')),)),
        ({"a": b"\x00\xff"}, (("a", "AP8="),)),
        ({"a": None}, (("a", ""),)),
        ({"a": {"y": 1, "x": [None]}}, (("a", '{"x": [null], "y": 1}'),)),
        ({"a": math.nan}, (("a", "NaN"),)),
        ({"a": math.inf}, (("a", math.inf),)),
        ({5: "x", None: "y", "": "z", b"k": "w"}, ()),
        ({"a": _Colour.RED, _Colour.RED: 1}, (("a", "red"), ("red", 1))),
        ({"a": _Size.LARGE}, (("a", 3),)),
        ({"a": 2**63 - 1, "b": -(2**63)}, (("a", 2**63 - 1), ("b", -(2**63)))),
        ({"a": 2**63, "b": -(2**63) - 1}, (("a", str(2**63)), ("b", str(-(2**63) - 1)))),
        ({"a": 10**5000}, (("a", hex(10**5000)),)),
        ({"a": Decimal("1.50")}, (("a", "1.50"),)),
        ({"a": "\ud800"}, (("a", "\ud800"),)),
    ],
)
def test_attributes_are_kept_in_order_and_with_their_types(
    shop: Metered,
    attributes: Any,
    kept: Any,
) -> None:
    """What OpenTelemetry has no type for becomes a text; what has no name is dropped."""
    for _ in range(2):
        shop.meter.create_counter("c").add(1, attributes)
    assert faults.seen() == {}
    assert repr(shop.shown("c")) == repr({kept: 2})


def test_values_that_are_equal_and_not_the_same_have_series_of_their_own(shop: Metered) -> None:
    """1, 1.0, True and their lists are told apart, on the fast path too."""
    counter: Any = shop.meter.create_counter("c")
    for _ in range(2):
        for number, value in enumerate([1, 1.0, True, [1], [1.0], [True], "1"], start=1):
            counter.add(number, {"a": value})
    assert [row.value for row in shop.rows("c")] == [2, 4, 6, 8, 10, 12, 14]


def test_a_text_of_an_enumeration_is_the_text(shop: Metered) -> None:
    """Whichever of both comes first."""
    counter = shop.meter.create_counter("c")
    counter.add(1, {"a": _Colour.RED})
    counter.add(1, {"a": "red"})
    counter.add(1, {"a": _Colour.RED})
    assert shop.shown("c") == {(("a", "red"),): 3}


def test_the_order_of_keys_makes_no_other_series(shop: Metered) -> None:
    """Six ways to write three attributes are one series."""
    counter = shop.meter.create_counter("c")
    for keys in ("abc", "acb", "bac", "bca", "cab", "cba") * 2:
        counter.add(1, dict.fromkeys(keys, "x"))
    assert shop.figure("c") == 12


def test_what_the_application_changes_after_the_call_changes_nothing(shop: Metered) -> None:
    """Neither the mapping nor a list in it is looked at again."""
    counter = shop.meter.create_counter("c")
    tags: list[str] = ["x"]
    attributes: dict[str, Any] = {"tags": tags, "a": "1"}
    counter.add(1, attributes)
    tags.append("y")
    counter.add(10, attributes)
    attributes["a"] = "2"
    counter.add(100, attributes)
    x, xy = ("tags", ("x",)), ("tags", ("x", "y"))
    assert shop.shown("c") == {(("a", "1"), x): 1, (("a", "1"), xy): 10, (("a", "2"), xy): 100}


@pytest.mark.parametrize("attributes", [5, "text", [("a", 1)], {"a": 1}.items()])
def test_what_are_no_attributes_is_a_fault_and_never_an_exception(
    shop: Metered,
    attributes: Any,
) -> None:
    """The record is lost, and counted in /health."""
    shop.meter.create_counter("c").add(1, attributes)
    shop.meter.create_histogram("h").record(1, attributes)
    assert faults.seen()["metric"].times == 2
    shop.meter.create_counter("c").add(1, {"a": "1"})
    assert shop.figure("c") == 1


# -- limits --------------------------------------------------------------------------------------

OVERFLOW: Final = (("otel.metric.overflow", True),)


def test_past_its_limit_an_instrument_counts_into_its_overflow() -> None:
    """Nothing is lost, what is known goes on, other instruments are not touched."""
    shop = Metered(series_limit=3)
    orders, other = shop.meter.create_counter("orders"), shop.meter.create_counter("other")
    for number in [*range(10), *range(10)]:
        orders.add(1, {"id": number})
    other.add(1, {"id": 1})
    found = shop.shown("orders")
    assert found == {**{(("id", n),): 2 for n in range(3)}, OVERFLOW: 14}
    assert shop.figure("other") == 1


def test_past_the_limit_of_all_every_instrument_has_an_overflow() -> None:
    """An instrument that comes too late counts, without its attributes."""
    shop = Metered(series_limit=3, total_limit=4)
    for name in "abc":
        for number in range(5):
            shop.meter.create_histogram(name).record(number, {"id": number})
    assert [len(shop.rows(name)) for name in "abc"] == [4, 2, 1]
    assert sum(row.count for name in "abc" for row in shop.rows(name)) == 15


def test_attributes_that_are_very_long_leave_room_for_those_of_others(shop: Metered) -> None:
    """They are counted in the overflow: megabytes of them would fill the table of all series."""
    counter = shop.meter.create_counter("c")
    for number in range(1000):
        counter.add(1, {"a": str(number % 10) * 9000, "n": number})
    for number in range(500):
        counter.add(1, {"n": number})
    found = shop.shown("c")
    assert found.pop(OVERFLOW) == 1000
    assert set(found.values()) == {1}
    assert len(found) == 500


def test_attributes_without_end_take_no_memory_without_end() -> None:
    """A view that drops a request's number keeps no more of them than it has to."""
    shop = Metered(views=[View(instrument_name="c", attribute_keys={"a"})])
    counter: Any = shop.meter.create_counter("c")
    for number in range(8500):
        counter.add(1, {"a": "x", "id": str(number), "n": 1})
        counter.add(1, {"a": "x", "id": str(number)})
    assert shop.shown("c") == {(("a", "x"),): 17_000}
    places = counter.places
    assert len(places.texts) <= 8192
    assert len(places._typed) <= 8192
