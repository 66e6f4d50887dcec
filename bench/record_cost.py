"""What one measurement of an application's own costs, with three attributes: calls in a loop.

`series known` is the ledger's pen alone; the other row looks the attributes up each time, as an
instrument of the OpenTelemetry API would have to.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, Counter

from bench.interleaved import measure
from bench.tables import show
from otelmon.ledger.instrument import Instrument
from otelmon.ledger.ledger import Ledger


if TYPE_CHECKING:
    from collections.abc import Callable


_ATTRIBUTES = {"shop": "north", "kind": "book", "paid": "card"}
_ORDERS = Instrument("orders", "counter", "1", "Orders.")
_EMPTY = "a call that does nothing"


def _nothing() -> None:
    return


def known() -> Callable[[], object]:
    """Return an addition to a series that was looked up before."""
    ledger = Ledger()
    pen = ledger.serve_alone()
    series = ledger.series(_ORDERS, tuple(sorted(_ATTRIBUTES.items())))
    assert series is not None
    return partial(pen.add, ((series.base, 1),))


def looked_up() -> Callable[[], object]:
    """Return an addition to the series of some attributes."""
    ledger = Ledger()
    pen = ledger.serve_alone()

    def add() -> None:
        series = ledger.series(_ORDERS, tuple(sorted(_ATTRIBUTES.items())))
        assert series is not None
        pen.add(((series.base, 1),))

    return add


def sdk(readers: int) -> Callable[[], object]:
    """Return what the SDK does, for so many readers."""
    provider = MeterProvider([InMemoryMetricReader() for _ in range(readers)])
    return partial(provider.get_meter("bench").create_counter("orders").add, 1, _ATTRIBUTES)


def prometheus_client() -> Callable[[], object]:
    """Return what prometheus_client does in one process."""
    counter = Counter("orders", "Orders.", tuple(_ATTRIBUTES), registry=CollectorRegistry())
    return lambda: counter.labels(**_ATTRIBUTES).inc()


def main() -> None:
    """Print the cost of an addition."""
    cases = {
        _EMPTY: _nothing,
        "otelmon's pen, series known": known(),
        "otelmon's pen, series looked up": looked_up(),
        "prometheus_client, labels and inc": prometheus_client(),
        "opentelemetry-sdk, add, 1 reader": sdk(1),
        "opentelemetry-sdk, add, 3 readers": sdk(3),
    }
    costs = measure(cases, calls=5000, rounds=40)
    nothing = costs.pop(_EMPTY)
    show(
        "Adding 1 to a counter, CPU time",
        ["case", "min (us)", "median (us)"],
        [
            [
                name,
                f"{(cost.least - nothing.least) / 1e3:.2f}",
                f"{(cost.median - nothing.median) / 1e3:.2f}",
            ]
            for name, cost in costs.items()
        ],
    )


if __name__ == "__main__":
    main()
