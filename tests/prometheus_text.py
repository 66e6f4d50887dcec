"""Prometheus text of a reading, and what the reference parsers read in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from otelmon.ledger.instrument import Instrument, Scope
from otelmon.metrics.prometheus import Renderer


if TYPE_CHECKING:
    from prometheus_client import Metric

    from otelmon.board import Published
    from otelmon.ledger.reader import Reading
    from otelmon.metrics.prometheus import Names


Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]

ORDERS = Instrument("shop.orders", "counter", "{order}", "Orders.", scope=Scope("shop"))
WAIT = Instrument("shop.wait", "histogram", "ms", "Waits.", (1.0, 10.0, 100.0), scope=Scope("shop"))
QUEUED = Instrument("shop.queue.length", "gauge", "{order}", "Queue.", scope=Scope("shop"))


def text(
    reading: Reading | None,
    said: Published | None = None,
    *,
    openmetrics: bool = False,
    names: Names = "seed",
    host: bytes = b"",
) -> str:
    """Render by a renderer that has seen nothing before."""
    renderer = Renderer(names=names, version="1.2.3")
    return renderer.text(reading, said, openmetrics=openmetrics, host=host).decode()


def families(document: str, *, openmetrics: bool = False) -> dict[str, Metric]:
    """Parse a document by the reference parser; each family is there once."""
    read = read_openmetrics if openmetrics else read_text
    found: list[Metric] = list(read(document))
    by_name = {family.name: family for family in found}
    assert len(by_name) == len(found)
    return by_name


def samples(document: str, *, openmetrics: bool = False) -> Samples:
    """Return all samples by name and labels; each is there once."""
    parsed = families(document, openmetrics=openmetrics).values()
    found = [sample for family in parsed for sample in family.samples]
    by_key = {(each.name, frozenset(each.labels.items())): each.value for each in found}
    assert len(by_key) == len(found)
    return by_key


def value(document: str, name: str, **labels: str) -> float | None:
    """Return one sample's value, None if it is not there."""
    return samples(document).get((name, frozenset(labels.items())))


def both(reading: Reading) -> tuple[Samples, Samples]:
    """Return the samples as either format tells them."""
    return samples(text(reading)), samples(text(reading, openmetrics=True), openmetrics=True)
