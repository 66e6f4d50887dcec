"""An application that measures with the plain OpenTelemetry API, as if otelmon were not there."""

from __future__ import annotations

import gc
import os
import signal
from typing import TYPE_CHECKING

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from otelmon import View, monitor
from tests.apps.answers import tagged


if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

    from _typeshed.wsgi import StartResponse, WSGIEnvironment


# Made before there is a provider, as modules do when they are imported.
meter = metrics.get_meter("shop", "2.1", schema_url="https://example.org/schema")
orders = meter.create_counter("shop.orders", "{order}", "Orders that were placed.")
revenue = meter.create_counter("shop.revenue", "EUR", "What was paid.")
baskets = meter.create_up_down_counter("shop.baskets", "{basket}", "Open baskets.")
waits = meter.create_histogram(
    "shop.wait", "ms", "Waits.", explicit_bucket_boundaries_advisory=[1, 10, 100]
)
heat = meter.create_gauge("shop.heat", "Cel", "Heat of a worker.")
imported = meter.create_gauge("shop.imported", "", "The last import, by whomever.")
collected = meter.create_counter("shop.collections", "", "Collections of garbage.")
signalled = meter.create_counter("shop.signals", "", "Signals.")


def _pids(_: CallbackOptions) -> Iterable[Observation]:
    return [Observation(os.getpid(), {"role": "worker"})]


def _jobs(_: CallbackOptions) -> Iterable[Observation]:
    return [Observation(3, {"queue": "mail"})]


meter.create_observable_gauge("shop.pid", [_pids], "", "Process ids.")
meter.create_observable_gauge("shop.jobs", [_jobs], "{job}", "Jobs of all workers.")


def _collection(phase: str, _: dict[str, int]) -> None:
    if phase == "stop":
        collected.add(1)


def _on_signal(_: int, __: FrameType | None) -> None:
    signalled.add(1, {"signal": "USR2"})


def shop(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Measure something of each kind."""
    number = int(str(environ["PATH_INFO"]).rpartition("/")[2] or 0)
    attributes: dict[str, str | int] = {"kind": "web", "size": number % 3}
    orders.add(1, attributes)
    revenue.add(0.25, {"size": number % 3, "kind": "web"})
    baskets.add(2)
    baskets.add(-1)
    waits.record(number % 7 * 20, {"express": number % 2 == 0})
    heat.set(36.5)
    imported.set(number)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done"]


VIEWS = [
    View(instrument_name="shop.jobs", merge="sum"),
    View(instrument_name="shop.imported", merge="recent"),
]
app = tagged(monitor(shop, views=VIEWS))
if os.environ.get("SHOP_TROUBLE"):  # noqa: TID251 - how a test tells its application something
    gc.callbacks.append(_collection)
    gc.set_threshold(50)
    signal.signal(signal.SIGUSR2, _on_signal)
