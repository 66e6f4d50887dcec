"""The same calls, to the SDK in one process and to otelmon in four, come to the same."""

from __future__ import annotations

import base64
import contextlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics import view as sdk_view
from opentelemetry.sdk.metrics.export import (
    Gauge,
    Histogram,
    HistogramDataPoint,
    InMemoryMetricReader,
    MetricsData,
    NumberDataPoint,
    Sum,
)

from otelmon import View
from otelmon.ledger.requests import SECONDS
from otelmon.metrics.data import WORKER, metrics_data
from otelmon.metrics.rows import of_ledger
from tests.forks import Child
from tests.recorded import Metered
from tests.recorder import this_instance


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from opentelemetry import metrics

    from otelmon.ledger.identity import Identity


WORKERS: Final = 4
Kind = Literal["counter", "up_down_counter", "gauge", "histogram"]
KINDS: Final[dict[Kind, Any]] = {
    "counter": sdk.Counter,
    "up_down_counter": sdk.UpDownCounter,
    "gauge": sdk._Gauge,
    "histogram": sdk.Histogram,
}

# Where otelmon differs by design; everything else is compared:
#
# - minimum and maximum of a histogram are not kept, exemplars neither: they cannot be merged when
#   a process dies. Start and time are those of the ledger and of the reading.
# - a gauge is of its process, told by the attribute otelmon.worker; the SDK is given that here
# - a histogram in seconds has the bounds of the HTTP conventions, unless others are advised
# - bytes, mappings and None in attributes are kept as the texts that the specification gives them;
#   what comes to one text is one series, so what the SDK then tells apart is not compared
# - boundaries of a view are for histograms; the SDK's would make a histogram of any instrument
# - of two views that come to the same stream the first counts; the SDK shows both by one name


class Indexed:
    """A whole number as numpy has it: no int."""

    def __init__(self, number: int) -> None:
        """Be *number*."""
        self.number = number

    def __index__(self) -> int:
        """Return the number."""
        return self.number


class Floated:
    """A number with a fraction that is no float."""

    def __init__(self, number: float) -> None:
        """Be *number*."""
        self.number = number

    def __float__(self) -> float:
        """Return the number."""
        return self.number


class Scope(NamedTuple):
    """Who measures."""

    name: str
    version: str | None
    schema_url: str | None
    attributes: dict[str, Any]


class Made(NamedTuple):
    """An instrument as the application makes it."""

    scope: Scope
    kind: Kind
    name: str
    unit: str
    bounds: tuple[float, ...] | None

    def create(self, provider: metrics.MeterProvider, name: str) -> Any:  # noqa: ANN401 - of any kind
        """Make it, or get it again."""
        meter = provider.get_meter(*self.scope)
        advised = self.kind == "histogram" and self.bounds is not None
        advice = {"explicit_bucket_boundaries_advisory": self.bounds} if advised else {}
        make = getattr(meter, f"create_{self.kind}")
        return make(name, self.unit, f"The {self.kind} {self.name} in {self.unit}.", **advice)


class Call(NamedTuple):
    """A record of a process; *name* is the instrument's with letters of some case."""

    made: Made
    name: str
    amount: object
    attributes: dict[str, object] | None
    worker: int

    def to(self, provider: metrics.MeterProvider) -> None:
        """Record it."""
        verb = {"gauge": "set", "histogram": "record"}.get(self.made.kind, "add")
        getattr(self.made.create(provider, self.name), verb)(self.amount, self.attributes)

    def as_sdk_takes_it(self) -> Call:
        """Return the same for the SDK."""
        made, amount, attributes = self.made, self.amount, dict(self.attributes or {})
        if made.unit == "s" and made.bounds is None:
            made = made._replace(bounds=SECONDS)
        if isinstance(amount, Indexed | Floated):
            amount = amount.number
        if made.kind == "gauge":
            attributes[WORKER] = self.worker
        return self._replace(made=made, amount=amount, attributes=attributes)


@dataclass(frozen=True)
class Story:
    """All that is called, and the views on it."""

    calls: tuple[Call, ...]
    views: tuple[View, ...]


# -- what may happen -----------------------------------------------------------------------------

_texts = st.sampled_from(["a", "b", "1", "True", "ü", "\ud800", 'q"\\\n'])
_numbers = st.integers(-2, 2) | st.sampled_from([2**62, -(2**62)])
_floats = st.sampled_from([0.0, 1.0, 2.0, -1.5, 1e300, math.inf])
_plain = _texts | st.booleans() | _numbers | _floats
_values = st.one_of(
    _plain,
    st.lists(_plain, max_size=2),
    st.tuples(_plain),
    st.none(),
    st.sampled_from([b"", b"\x00\xff"]),
    st.sampled_from([{"x": 1}, {"x": True}, {"y": ["a"], "x": None}]),
)
_attributes = st.none() | st.dictionaries(st.sampled_from("abcd"), _values, max_size=3)

_fractions = st.integers(-(2**20), 2**30).map(lambda number: number / 1024)
_wholes = st.integers(-3, 50) | st.integers(2**23, 2**36)
_amounts = st.one_of(
    _wholes,
    _fractions,
    st.booleans(),
    _wholes.map(Indexed),
    _fractions.map(Floated),
    st.sampled_from([0, 0.0, -0.0, 1, math.nan, math.inf, -math.inf]),
)

_scopes = st.builds(
    Scope,
    st.sampled_from(["shop", "shop.db"]),
    st.sampled_from([None, "1.0"]),
    st.sampled_from([None, "https://example.org/1"]),
    st.sampled_from([{}, {"team": "x"}, {"team": "x", "n": 1}, {"n": 1, "team": "x"}]),
)
_bounds = st.none() | st.sampled_from([(), (0.0,), (1.0, 10.0, 100.5), (-1.0, 0.25, 2**20)])
_made = st.builds(
    Made,
    _scopes,
    st.sampled_from(list(KINDS)),
    st.sampled_from(["orders", "orders.late", "x", "queue/Size-1_b"]),
    st.sampled_from(["", "s", "ms", "{order}", "By"]),
    _bounds,
)


def _identity(made: Made) -> object:
    """Return what tells an instrument from others: with other bounds it would be the same one."""
    scope = (*made.scope[:3], sorted(made.scope.attributes.items()))
    return repr((scope, made.kind, made.name, made.unit))


@st.composite
def _stories(draw: st.DrawFn) -> Story:
    made = draw(st.lists(_made, min_size=1, max_size=5, unique_by=_identity))
    calls = st.builds(
        Call,
        st.sampled_from(made),
        st.just(""),
        _amounts,
        _attributes,
        st.integers(0, WORKERS - 1),
    )
    cased = st.sampled_from(["lower", "upper", "title"])
    found = draw(st.lists(calls, min_size=1, max_size=40))
    return Story(
        tuple(call._replace(name=getattr(call.made.name, draw(cased))()) for call in found),
        tuple(draw(st.lists(_views(), max_size=3))),
    )


@st.composite
def _views(draw: st.DrawFn) -> View:
    name = draw(st.sampled_from(["orders", "ORDERS.late", "x", "*", "orders*", "?", "q*_?"]))
    exact = not set(name) & set("*?")
    return View(
        instrument_name=name,
        meter_name=draw(st.none() | st.just("shop")),
        instrument_unit=draw(st.none() | st.just("s")),
        name=draw(st.none() | st.just(f"renamed.{name.lower()}")) if exact else None,
        attribute_keys=draw(st.none() | st.sets(st.sampled_from("abc"))),
        boundaries=draw(st.none() | st.sampled_from([(), (0.5, 20.0), (7, 2**24)])),
        drop=draw(st.sampled_from([False, False, False, True])),
    )


# -- the SDK -------------------------------------------------------------------------------------


def _by_sdk(story: Story) -> MetricsData | None:
    """Return what the SDK makes of it, in one process."""
    reader = InMemoryMetricReader()
    views = [each for view in story.views for each in _as_sdk(view)]
    provider = sdk.MeterProvider([reader], views=views, shutdown_on_exit=False)
    for call in story.calls:
        call.as_sdk_takes_it().to(provider)
    found = reader.get_metrics_data()
    provider.shutdown()
    return found


def _as_sdk(view: View) -> Iterator[sdk_view.View]:
    """Yield a view as one of the SDK for each kind."""
    for kind, type_ in KINDS.items():
        aggregation: sdk_view.Aggregation = sdk_view.DefaultAggregation()
        if view.drop:
            aggregation = sdk_view.DropAggregation()
        elif kind == "histogram" and view.boundaries is not None:
            aggregation = sdk_view.ExplicitBucketHistogramAggregation(view.boundaries)
        keys = view.attribute_keys
        if keys is not None and kind == "gauge":
            keys = keys | {WORKER}
        yield sdk_view.View(
            instrument_type=type_,
            instrument_name=view.instrument_name,
            meter_name=view.meter_name,
            instrument_unit=view.instrument_unit,
            name=view.name,
            attribute_keys=set(keys) if keys is not None else None,
            aggregation=aggregation,
        )


# -- the same, plainly ---------------------------------------------------------------------------


def _plainly(data: MetricsData | None, *, of_sdk: bool = False) -> dict[str, dict[str, object]]:
    """Return figures by what an instrument is, and by attributes with their types."""
    found: dict[str, dict[str, object]] = {}
    for resource in data.resource_metrics if data is not None else ():
        for scoped in resource.scope_metrics:
            by = scoped.scope
            scope = (by.name, by.version or "", by.schema_url or "", _typed(by.attributes))
            assert (scoped.schema_url or "") == scope[2]
            for metric in scoped.metrics:
                what = (metric.name, metric.unit, metric.description, *_kind(metric.data))
                points = {
                    repr(_typed(point.attributes)): _figure(point)
                    for point in metric.data.data_points
                }
                told_apart = len(points) == len(metric.data.data_points)
                assert assume(told_apart) if of_sdk else told_apart
                found.setdefault(repr((scope, what)), points)
    return found


def _kind(data: object) -> tuple[object, ...]:
    if isinstance(data, Sum):
        return ("sum", data.is_monotonic, data.aggregation_temporality)
    if isinstance(data, Histogram):
        bounds = {tuple(map(float, point.explicit_bounds)) for point in data.data_points}
        assert len(bounds) == 1
        return ("histogram", *bounds, data.aggregation_temporality)
    assert isinstance(data, Gauge)
    return ("gauge",)


def _figure(point: object) -> object:
    if isinstance(point, HistogramDataPoint):
        assert point.count == sum(point.bucket_counts)
        return (tuple(point.bucket_counts), float(point.sum))
    assert isinstance(point, NumberDataPoint)
    return float(point.value)


def _typed(attributes: Mapping[str, Any] | None) -> list[tuple[str, object]]:
    return sorted((key, _said(value)) for key, value in (attributes or {}).items())


def _said(value: object) -> object:
    """Return an attribute as otelmon keeps it, with its type."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_said(each) for each in value]
    if value is None:
        value = ""
    elif isinstance(value, bytes):
        value = base64.b64encode(value).decode()
    elif isinstance(value, Mapping):
        value = json.dumps(_listed(value), sort_keys=True)
    return (type(value).__name__, value)


def _listed(value: object) -> object:
    """Return a mapping of the SDK's as one that JSON knows."""
    if isinstance(value, Mapping):
        return {key: _listed(each) for key, each in value.items()}
    return [_listed(each) for each in value] if isinstance(value, tuple) else value


# -- otelmon -------------------------------------------------------------------------------------


class _Worker:
    """A process that plays its part in one story after the other."""

    def __init__(self) -> None:
        self.metered: Metered | None = None

    def play(self, place: Path, instance: Identity, story: Story) -> int:
        """Make the calls; return the slot."""
        self.metered = Metered(place, instance, views=story.views)
        for call in story.calls:
            call.to(self.metered.provider)
        assert self.metered.ledger.pen is not None
        return self.metered.ledger.pen.number

    def told(self) -> dict[str, dict[str, object]]:
        """Return what all have recorded."""
        assert self.metered is not None
        reading = self.metered.read()
        return _plainly(metrics_data(of_ledger(reading), reading, resource={}))

    def end(self) -> None:
        """Give the slot back."""
        assert self.metered is not None
        self.metered.ledger.close()


@pytest.fixture(name="workers", scope="module")
def _workers() -> Iterator[list[Child[_Worker]]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Child(_Worker)) for _ in range(WORKERS)]


@pytest.fixture(name="place", scope="module")
def _place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stories")


def _by_otelmon(
    workers: list[Child[_Worker]], place: Path, story: Story
) -> list[dict[str, dict[str, object]]]:
    """Return what each of the workers says that all have recorded."""
    instance = this_instance("story")
    for number, worker in enumerate(workers):
        # One after the other, so that each slot has its worker's number.
        part = replace(story, calls=tuple(call for call in story.calls if call.worker == number))
        assert worker.call(_Worker.play, place, instance, part) == number
    told = [worker.call(_Worker.told) for worker in (workers[0], workers[-1])]
    for worker in workers:
        worker.call(_Worker.end)
    for file in place.iterdir():
        file.unlink()
    return told


@given(story=_stories())
@settings(max_examples=100)
def test_four_processes_come_to_what_the_sdk_comes_to_in_one(
    workers: list[Child[_Worker]], place: Path, story: Story
) -> None:
    """Scopes, names, units, kinds, bounds, attributes, sums and buckets are equal."""
    wanted = _plainly(_by_sdk(story), of_sdk=True)

    for told in _by_otelmon(workers, place, story):
        assert told == wanted
