"""Views: which instruments they match, and what they make of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from otelmon import View
from otelmon.errors import ConfigError
from tests.recorded import Metered


if TYPE_CHECKING:
    from collections.abc import Sequence

    from otelmon.ledger.instrument import Merge


def _counted(views: Sequence[View], name: str = "shop.orders") -> dict[str, dict[Any, Any]]:
    """Return all that is shown of one counter, by name."""
    shop = Metered(views=views)
    counter = shop.meter.create_counter(name, "{order}", "Orders.")
    for _ in range(2):
        counter.add(1, {"a": "x", "b": 1})
        counter.add(1, {"a": "x", "b": 2})
    return {
        series.instrument.name: shop.shown(series.instrument.name) for series in shop.read().series
    }


def _names(views: Sequence[View]) -> set[str]:
    return {
        name for name, found in _counted(views).items() if found and name.startswith(("s", "x"))
    }


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("shop.orders", True),
        ("SHOP.Orders", True),
        ("*", True),
        ("shop.*", True),
        ("*orders", True),
        ("shop?orders", True),
        ("shop", False),
        ("?", False),
        ("shop.orders.*", False),
        ("", False),
    ],
)
def test_names_are_matched_with_wildcards_whatever_their_case(
    pattern: str, *, matches: bool
) -> None:
    """A star is any letters, a question mark one."""
    assert ("shop.orders" not in _names([View(instrument_name=pattern, drop=True)])) is matches


@pytest.mark.parametrize(
    ("view", "matches"),
    [
        (View(meter_name="shop", drop=True), True),
        (View(meter_name="Shop", drop=True), False),
        (View(instrument_unit="{order}", drop=True), True),
        (View(instrument_unit="", drop=True), False),
        (View(instrument_name="x", meter_name="shop", drop=True), False),
    ],
)
def test_a_view_matches_where_all_that_it_says_holds(view: View, *, matches: bool) -> None:
    """Meter and unit are matched as they are written."""
    assert ("shop.orders" not in _names([view])) is matches


def test_a_view_renames_describes_and_drops_attributes() -> None:
    """What differs only in what is dropped is added up."""
    view = View(
        instrument_name="shop.orders", name="X.Sold", description="Sold.", attribute_keys={"a"}
    )
    shop = Metered(views=[view])
    shop.meter.create_counter("shop.orders", "{order}", "Orders.").add(1, {"a": "x", "b": 1})
    (row,) = shop.rows("x.sold")
    assert (row.instrument.description, row.instrument.unit) == ("Sold.", "{order}")
    assert _counted([view])["x.sold"] == {(("a", "x"),): 4}


def test_an_empty_set_of_attributes_keeps_none() -> None:
    """Unlike no set, which keeps all."""
    assert _counted([View(attribute_keys=set())])["shop.orders"] == {(): 4}


def test_each_of_several_views_has_its_stream() -> None:
    """The amounts are in each of them; a view that drops takes nothing from the others."""
    views = [
        View(instrument_name="shop.orders", name="x.a", attribute_keys={"a"}),
        View(instrument_name="shop.*", drop=True),
        View(instrument_name="shop.orders", name="x.all"),
        View(instrument_name="other", name="x.none"),
    ]
    found = _counted(views)
    assert _names(views) == {"x.a", "x.all"}
    assert found["x.a"] == {(("a", "x"),): 4}
    assert sum(found["x.all"].values()) == 4


@pytest.mark.parametrize("kind", ["counter", "up_down_counter", "gauge", "histogram"])
@pytest.mark.parametrize("streams", [0, 2])
def test_each_kind_is_recorded_to_all_of_its_streams(kind: str, streams: int) -> None:
    """To none where every view drops it."""
    views = [View(instrument_name="x", name=f"x.{number}") for number in range(streams)]
    shop = Metered(views=views or [View(drop=True)])
    instrument: Any = getattr(shop.meter, f"create_{kind}")("x")
    verb = {"gauge": "set", "histogram": "record"}.get(kind, "add")
    for _ in range(2):
        getattr(instrument, verb)(2, {"a": 1})
    assert [len(shop.rows(f"x.{number}")) for number in range(2)] == [int(streams == 2)] * 2
    assert shop.rows("x") == []
    shop.provider.shutdown()
    getattr(instrument, verb)(2, {"b": 1})
    assert [len(shop.rows(f"x.{number}")) for number in range(2)] == [int(streams == 2)] * 2


def test_two_views_that_come_to_the_same_stream_count_once() -> None:
    """The first of them says which attributes are kept."""
    views = [View(attribute_keys={"a"}), View(instrument_name="shop.*")]
    assert _counted(views)["shop.orders"] == {(("a", "x"),): 4}


def test_views_may_join_two_instruments_in_one() -> None:
    """Where they agree in all else, what both record is added up."""
    views = [View(instrument_name=name, name="both", description="") for name in ("x", "y")]
    shop = Metered(views=views)
    for name in ("x", "y"):
        shop.meter.create_counter(name).add(2)
    assert shop.figure("both") == 4


def test_a_set_of_attributes_is_that_of_the_views_making() -> None:
    """What the application does with its set afterwards changes nothing."""
    keys = {"a"}
    view = View(attribute_keys=keys)
    keys.add("b")
    assert _counted([view])["shop.orders"] == {(("a", "x"),): 4}


@pytest.mark.parametrize("merge", ["sum", "max", "recent"])
def test_what_processes_add_stays_added_up_whatever_a_view_says(merge: Merge) -> None:
    """A merge rule is for gauges and what is observed."""
    shop = Metered(views=[View(merge=merge)])
    shop.meter.create_counter("c").add(2)
    shop.meter.create_up_down_counter("u").add(2)
    shop.meter.create_histogram("h").record(2)
    merges = [shop.rows(name)[0].instrument.merge for name in "cuh"]
    assert merges == ["add", "sum", "add"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"instrument_name": "a*", "name": "x"}, "must match one instrument"),
        ({"instrument_name": "a?", "name": "x"}, "must match one instrument"),
        ({"name": "x"}, "must match one instrument"),
        ({"boundaries": [2, 1]}, "strictly grow"),
        ({"boundaries": [1, 1]}, "strictly grow"),
        ({"boundaries": [float("inf")]}, "finite"),
        ({"boundaries": [float("nan")]}, "finite"),
        ({"boundaries": "12"}, "finite"),
        ({"merge": "add"}, "merge must be one of"),
        ({"merge": "average"}, "merge must be one of"),
        ({"attribute_keys": "route"}, "must be a set of texts"),
    ],
)
def test_a_view_that_makes_no_sense_is_refused(wrong: dict[str, Any], says: str) -> None:
    """When it is made, with what is wrong."""
    with pytest.raises(ConfigError, match=says):
        View(**wrong)
