"""What one measurement of an application's own costs, with three attributes: calls in a loop.

Ours and the SDK's instruments are called alike. `bound` ones have found their series before, the
ledger's pen alone is what a store costs.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, Counter, Histogram

from bench.interleaved import measure
from bench.tables import show
from otelmon.ledger.ledger import Ledger
from otelmon.metrics.api import synchronous
from otelmon.metrics.api.provider import MeterProvider


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry import metrics

    Case = Callable[[], object]


_TEXTS = {"shop": "north", "kind": "book", "paid": "card"}
_MIXED: dict[str, str | int] = {"shop": "north", "kind": "book", "status": 200}
_AMOUNT = 0.25
_EMPTY = "a call that does nothing"


def _nothing() -> None:
    return


def instruments(
    meter: metrics.Meter, attributes: Mapping[str, str | int], suffix: str = ""
) -> dict[str, Case]:
    """Return a case for each of the instruments that are called most."""
    counter = meter.create_counter(f"orders{suffix}")
    histogram = meter.create_histogram(f"wait{suffix}", "s")
    return {
        "add": partial(counter.add, 1, attributes),
        "record": partial(histogram.record, _AMOUNT, attributes),
    }


def ours() -> dict[str, Case]:
    """Return our instruments, plain and bound, and the pen alone."""
    ledger = Ledger()
    pen = ledger.serve_alone()
    meter = MeterProvider(ledger).get_meter("bench")
    counter, histogram = meter.create_counter("bound"), meter.create_histogram("bound.wait", "s")
    assert isinstance(counter, synchronous.Counter)
    assert isinstance(histogram, synchronous.Histogram)
    add, record = counter.bind(_TEXTS), histogram.bind(_TEXTS)
    texts, mixed = instruments(meter, _TEXTS), instruments(meter, _MIXED, ".mixed")
    return {
        "otelmon's pen alone": partial(pen.add, ((0, 1),)),
        "otelmon, bound, add": partial(add.add, 1),
        "otelmon, bound, record": partial(record.record, _AMOUNT),
        **{f"otelmon, {name}": case for name, case in texts.items()},
        **{f"otelmon, {name}, one attribute a number": case for name, case in mixed.items()},
    }


def sdk(readers: int) -> dict[str, Case]:
    """Return what the SDK does, for so many readers."""
    meter = SdkMeterProvider([InMemoryMetricReader() for _ in range(readers)]).get_meter("bench")
    label = f"opentelemetry-sdk, {readers} reader{'s' if readers > 1 else ''}"
    return {f"{label}, {name}": case for name, case in instruments(meter, _TEXTS).items()}


def prometheus_client() -> dict[str, Case]:
    """Return what prometheus_client does in one process."""
    registry = CollectorRegistry()
    counter = Counter("orders", "Orders.", tuple(_TEXTS), registry=registry)
    histogram = Histogram("wait", "Waits.", tuple(_TEXTS), registry=registry)
    return {
        "prometheus_client, inc": lambda: counter.labels(**_TEXTS).inc(),
        "prometheus_client, observe": lambda: histogram.labels(**_TEXTS).observe(_AMOUNT),
    }


def main() -> None:
    """Print what each costs."""
    cases: dict[str, Case] = {_EMPTY: _nothing, **ours(), **prometheus_client()}
    for readers in (1, 2, 3):
        cases |= sdk(readers)
    costs = measure(cases, calls=3000, rounds=40)
    nothing = costs.pop(_EMPTY)
    own = costs["otelmon, add"].least - nothing.least
    show(
        "One measurement with three attributes, CPU time",
        ["case", "min (us)", "median (us)", "min over otelmon's add"],
        [
            [
                name,
                f"{(cost.least - nothing.least) / 1e3:.2f}",
                f"{(cost.median - nothing.median) / 1e3:.2f}",
                f"{(cost.least - nothing.least) / own:.1f}",
            ]
            for name, cost in costs.items()
        ],
    )


if __name__ == "__main__":
    main()
