"""What instruments make of names, amounts and attributes."""

# ruff: noqa: ANN401 - the tests pass whatever an application may

from __future__ import annotations

import logging
import math
import sys
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import pytest
from opentelemetry import metrics

from otelmon import View, faults
from otelmon.ledger.ledger import Ledger
from otelmon.ledger.requests import SECONDS
from otelmon.metrics.api.meter import BOUNDS
from otelmon.metrics.api.provider import MeterProvider
from otelmon.metrics.api.synchronous import Counter, Histogram
from tests.forks import Child
from tests.recorded import Metered
from tests.recorder import this_instance
from tests.test_api_differential import Floated, Indexed


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


A: Final = {"a": "x"}
LARGEST: Final = sys.float_info.max


@pytest.fixture(name="shop")
def _shop() -> Metered:
    return Metered()


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]


# -- instruments ---------------------------------------------------------------------------------


def test_an_instrument_asked_for_again_is_the_same_whatever_its_case(
    shop: Metered, caplog: pytest.LogCaptureFixture
) -> None:
    """Same name, kind, unit and description: one instrument, of one meter, and no warning."""
    first = shop.meter.create_counter("Orders.Total", "{order}", "Orders.")
    again = shop.provider.get_meter("shop").create_counter("orders.TOTAL", "{order}", "Orders.")

    assert again is first
    assert shop.provider.get_meter("shop", "2") is not shop.meter
    assert shop.provider.get_meter("shop", "", "", {}) is shop.meter
    assert _warnings(caplog) == []


@pytest.mark.parametrize(
    "other",
    [
        lambda meter: meter.create_counter("x", "By", "What."),
        lambda meter: meter.create_counter("X", "s", "Else."),
        lambda meter: meter.create_up_down_counter("x", "s", "What."),
        lambda meter: meter.create_observable_counter("x", [], "s", "What."),
    ],
    ids=["unit", "description", "kind", "observable"],
)
def test_instruments_of_one_name_that_differ_are_both_kept_and_warned_of_once(
    shop: Metered, caplog: pytest.LogCaptureFixture, other: Callable[[metrics.Meter], object]
) -> None:
    """Each works, as the specification asks, and the log says what differs."""
    first = shop.meter.create_counter("x", "s", "What.")
    for _ in range(2):
        assert other(shop.meter) is not first
    (warning,) = _warnings(caplog)
    assert "'x' of 'shop' is made in several ways" in warning


def test_a_histogram_made_again_with_other_bounds_keeps_the_first(
    shop: Metered, caplog: pytest.LogCaptureFixture
) -> None:
    """Bounds are advice: they do not make another instrument, and the difference is said."""
    make = shop.meter.create_histogram
    first = make("x", explicit_bucket_boundaries_advisory=[1])
    assert make("x", explicit_bucket_boundaries_advisory=[2]) is first
    assert make("x", explicit_bucket_boundaries_advisory=[3]) is first
    assert len(_warnings(caplog)) == 1
    first.record(1)
    assert shop.shown("x") == {(): ((1, 0), 1.0)}


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("", ""),
        ("1st", ""),
        ("x\n", ""),
        ("ö", ""),
        ("x" * 256, ""),
        (None, ""),
        (5, ""),
        ("x", "µs"),
        ("x", "s" * 64),
    ],
)
def test_bad_names_and_units_record_nothing_and_are_said_once(
    shop: Metered,
    caplog: pytest.LogCaptureFixture,
    name: Any,
    unit: str,
) -> None:
    """The application gets an instrument that does nothing, of each kind."""
    meter = shop.meter
    for _ in range(2):
        meter.create_counter(name, unit).add(1)
        meter.create_up_down_counter(name, unit).add(1)
        meter.create_gauge(name, unit).set(1)
        meter.create_histogram(name, unit).record(1)
        meter.create_observable_counter(name, [], unit)
        meter.create_observable_up_down_counter(name, [], unit)
        meter.create_observable_gauge(name, [], unit)
    assert len(_warnings(caplog)) == 1
    assert shop.read().sums == []
    assert shop.read().values == {}


@pytest.mark.parametrize(("name", "unit"), [("x" * 255, "s" * 63), ("a/b-c_d.e1", "{€}"[:1])])
def test_good_names_and_units_are_kept(shop: Metered, name: str, unit: str) -> None:
    """To the last letter."""
    shop.meter.create_counter(name, unit).add(1)
    (row,) = shop.rows(name)
    assert row.instrument.unit == unit


def test_no_unit_and_no_description_are_empty_ones(shop: Metered) -> None:
    """None is what some libraries pass; a unit that is no text is taken as one."""
    none: Any = None
    five: Any = 5
    assert shop.meter.create_counter("x", none, none) is shop.meter.create_counter("x")
    assert shop.meter.create_counter("y", five, five) is shop.meter.create_counter("y", "5", "5")


# -- amounts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("amount", [-1, -0.5, math.nan, math.inf, -math.inf])
def test_amounts_that_cannot_be_added_up_are_not_recorded(
    shop: Metered, caplog: pytest.LogCaptureFixture, amount: float
) -> None:
    """Counters and histograms take no negative ones, nothing takes infinity; each says it once."""
    counter, histogram = shop.meter.create_counter("c"), shop.meter.create_histogram("h")
    gauge, up_down = shop.meter.create_gauge("g"), shop.meter.create_up_down_counter("u")
    for _ in range(2):
        counter.add(amount)
        histogram.record(amount)
        gauge.set(amount)
        up_down.add(amount)
    assert shop.rows("c") == shop.rows("h") == []
    finite = math.isfinite(amount)
    assert len(_warnings(caplog)) == (2 if finite else 4)
    assert shop.shown("g") == ({((), 0): amount} if finite else {})
    assert shop.figure("u") == (2 * amount if finite else None)


@pytest.mark.parametrize("amount", [10**400, "5", None, 1j, [1], object()])
def test_what_is_no_number_is_a_fault_and_never_an_exception(shop: Metered, amount: Any) -> None:
    """The application goes on; /health counts the faults."""
    shop.meter.create_counter("c").add(amount)
    shop.meter.create_histogram("h").record(amount)
    shop.meter.create_gauge("g").set(amount)
    shop.meter.create_up_down_counter("u").add(amount)
    assert faults.seen()["metric"].times == 4
    assert all(shop.rows(name) == [] for name in "chgu")


@pytest.mark.parametrize(
    ("amount", "worth"),
    [
        (True, 1),
        (Decimal("1.5"), 1.5),
        (Fraction(1, 4), 0.25),
        (Indexed(7), 7),
        (Floated(0.5), 0.5),
        (2**24 - 1, 2**24 - 1),
        (2**24, 2**24),
        (10**300, 1e300),
        (0, 0),
        (-0.0, 0),
    ],
)
def test_numbers_of_any_type_count(shop: Metered, amount: Any, worth: float) -> None:
    """What has `__index__` counts as a whole number, what has `__float__` as one with a fraction."""
    for _ in range(2):
        shop.meter.create_counter("c").add(amount)
        shop.meter.create_histogram("h").record(amount)
        shop.meter.create_gauge("g").set(amount)
        shop.meter.create_up_down_counter("u").add(amount)
    assert shop.figure("c") == shop.figure("u") == shop.figure("h") == 2 * worth
    assert shop.figure("g") == worth


def test_a_whole_count_stays_one_however_large(shop: Metered) -> None:
    """As an int, with no rounding, until something with a fraction is added."""
    counter = shop.meter.create_counter("c")
    for _ in range(3):
        counter.add(2**24 - 1)
    assert repr(shop.figure("c")) == repr(3 * (2**24 - 1))
    counter.add(0.5)
    assert shop.figure("c") == 3 * (2**24 - 1) + 0.5


def _enormous(process: Metered) -> None:
    process.meter.create_counter("c").add(LARGEST)
    process.meter.create_histogram("h").record(LARGEST / 2)
    process.meter.create_histogram("h").record(LARGEST)
    process.meter.create_up_down_counter("u").add(LARGEST)


def test_sums_past_the_largest_float_leave_all_other_figures_readable(tmp_path: Path) -> None:
    """Two processes that each add the largest float come to infinity, and no reader fails."""
    instance = this_instance()
    with (
        Child(lambda: Metered(tmp_path, instance)) as one,
        Child(lambda: Metered(tmp_path, instance)) as other,
    ):
        one.call(_enormous)
        other.call(_enormous)
        assert one.call(Metered.figure, "c") == math.inf
        assert one.call(Metered.figure, "u") == math.inf
        assert one.call(Metered.shown, "h") == {(): ((0,) * 15 + (4,), math.inf)}


def test_an_up_down_counter_comes_back_to_zero_and_is_shown(shop: Metered) -> None:
    """Zero after ups and downs is a figure."""
    baskets = shop.meter.create_up_down_counter("u")
    assert shop.figure("u") is None
    baskets.add(2)
    baskets.add(-2)
    assert shop.figure("u") == 0


def test_a_gauge_at_zero_is_told_from_one_that_was_never_set(shop: Metered) -> None:
    """What was not said is not shown."""
    heat = shop.meter.create_gauge("g")
    heat.set(0, {"room": "a"})
    heat.set(5, {"room": "b"})
    heat.set(-0.0, {"room": "b"})
    assert shop.shown("g") == {((("room", "a"),), 0): 0.0, ((("room", "b"),), 0): 0.0}
    assert all(math.copysign(1, row.value) == 1 for row in shop.rows("g"))


# -- bounds --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "advice", "boundaries", "bounds"),
    [
        ("ms", None, None, BOUNDS),
        ("s", None, None, SECONDS),
        ("s", [1, 2], None, (1.0, 2.0)),
        ("s", [1, 2], [3], (3.0,)),
        ("s", [], None, ()),
        ("s", [1, 2], [], ()),
        ("s", [2, 1], None, SECONDS),
        ("ms", [1, 1], None, BOUNDS),
        ("ms", [math.inf], None, BOUNDS),
        ("ms", [math.nan], None, BOUNDS),
        ("ms", "12", None, BOUNDS),
        ("ms", 5, None, BOUNDS),
        ("ms", ["a"], None, BOUNDS),
    ],
)
def test_bounds_are_a_views_else_advised_else_those_of_the_unit(
    unit: str,
    advice: Any,
    boundaries: Any,
    bounds: tuple[float, ...],
) -> None:
    """What is no list of growing numbers is not followed."""
    shop = Metered(views=[View(instrument_name="h", boundaries=boundaries)])
    waits = shop.meter.create_histogram("h", unit, explicit_bucket_boundaries_advisory=advice)
    amounts = [0, 0.005, 1, 1.5, 1e9]
    for amount in amounts:
        waits.record(amount)
    (row,) = shop.rows("h")
    assert row.instrument.bounds == bounds
    below = [sum(amount <= bound for amount in amounts) for bound in (*bounds, math.inf)]
    assert list(row.buckets) == [b - a for a, b in zip([0, *below], below, strict=False)]


@pytest.mark.parametrize("bounds", [[0.5, 2, 3], [0.0], []])
def test_a_bound_histogram_finds_the_buckets_of_its_histogram(
    shop: Metered, bounds: list[float]
) -> None:
    """At, below and between the bounds, and where there are none, from the first record on."""
    made = shop.meter.create_histogram("h", explicit_bucket_boundaries_advisory=bounds)
    assert isinstance(made, Histogram)
    bound = made.bind(A)
    amounts = (0, 0.0, 5e-324, 0.5, 0.51, 1, 2, 2.0, 2.5, 3, 4, 10**6, LARGEST, -1, math.nan)
    for amount in amounts:
        made.record(amount)
        bound.record(amount)
    free, of_a = sorted(shop.rows("h"), key=lambda row: row.attributes)
    assert of_a.attributes == (("a", "x"),)
    assert of_a.buckets == free.buckets
    assert sum(of_a.buckets) == len(amounts) - 2


# -- the end -------------------------------------------------------------------------------------


class _Everything:
    """Instruments of a meter, bound ones among them, all recorded to at once."""

    def __init__(self, meter: metrics.Meter, name: str) -> None:
        counter, histogram = meter.create_counter(f"{name}.c"), meter.create_histogram(f"{name}.h")
        assert isinstance(counter, Counter)
        assert isinstance(histogram, Histogram)
        self.counter, self.bound = counter, (counter.bind(A), histogram.bind(A))
        self.asked = 0
        meter.create_observable_gauge(f"{name}.o", [self.ask])

    def ask(self, _: metrics.CallbackOptions) -> list[metrics.Observation]:
        """Say one."""
        self.asked += 1
        return [metrics.Observation(1)]

    def record(self) -> None:
        """Record twice, so that each way is taken."""
        for _ in range(2):
            self.counter.add(1, A)
            self.bound[0].add(1)
            self.bound[1].record(1)


def test_after_shutdown_nothing_is_recorded_and_what_was_stays(shop: Metered) -> None:
    """Old instruments, bound ones and new ones of an old meter are all silent."""
    meter = shop.meter
    early = _Everything(meter, "early")
    early.record()
    shop.provider.shutdown()
    before = [shop.shown(f"early.{name}") for name in "cho"]
    assert before == [{(("a", "x"),): 4}, {(("a", "x"),): ((0, 2, *[0] * 14), 2.0)}, {((), 0): 1}]

    early.record()
    late = _Everything(meter, "late")
    late.record()
    assert shop.provider.observe()
    assert [shop.shown(f"early.{name}") for name in "cho"] == before
    assert [shop.shown(f"late.{name}") for name in "cho"] == [{}, {}, {}]
    assert (early.asked, late.asked) == (1, 0)


def test_a_second_shutdown_is_warned_of(shop: Metered, caplog: pytest.LogCaptureFixture) -> None:
    """As is using a provider that ended; its new meters do nothing."""
    shop.provider.shutdown()
    shop.meter.create_counter("c").add(1)
    assert isinstance(shop.meter, metrics.NoOpMeter)
    assert shop.provider.force_flush()
    shop.provider.shutdown()
    assert len(_warnings(caplog)) == 1


def test_a_provider_that_is_disabled_makes_what_does_nothing() -> None:
    """The API's own silent meter."""
    provider = MeterProvider(Ledger(), disabled=True)
    assert isinstance(provider.get_meter("shop"), metrics.NoOpMeter)
    assert provider.force_flush()


@pytest.mark.parametrize("attributes", [5, "text", [("a", 1)]])
def test_scope_attributes_that_are_none_are_left_out(shop: Metered, attributes: Any) -> None:
    """Nonsense for a scope's attributes harms nobody."""
    meter = shop.provider.get_meter("odd", attributes=attributes)
    meter.create_counter("odd.counter").add(2)
    assert shop.figure("odd.counter") == 2


def test_a_meter_needs_a_name(shop: Metered, caplog: pytest.LogCaptureFixture) -> None:
    """Without one it works, and the log says so."""
    none: Any = None
    for name in ("", none):
        shop.provider.get_meter(name).create_counter("c").add(1)
    assert shop.figure("c") == 2
    assert len(_warnings(caplog)) == 2
