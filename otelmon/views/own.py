"""What otelmon says of itself: nothing secret, no path and no client."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from otelmon import faults
from otelmon.ledger.fault_counts import counted
from otelmon.metrics import figures
from otelmon.metrics.overflow import overflows


if TYPE_CHECKING:
    from otelmon.board import Published
    from otelmon.faults import Fault
    from otelmon.ledger.reader import Reading
    from otelmon.settings import Settings
    from otelmon.views.source import Source


def version() -> str:
    """Return otelmon's version."""
    # Not imported: the package imports us.
    return str(vars(sys.modules["otelmon"])["__version__"])


def brief(source: Source, reading: Reading | None, published: Published | None) -> dict[str, Any]:
    """Return what `/health` shows of it."""
    return {
        "ledger": _ledger(reading),
        "keeper_age_seconds": figures.rounded(figures.keeper_age(reading, published)),
        "opentelemetry": source.adopted(),
        "faults": _faults(reading),
        "port": dict(source.port()),
        "notifications": {} if published is None else dict(published.channels),
        "otlp": None if published is None else published.push,
    }


def full(source: Source, reading: Reading | None, published: Published | None) -> dict[str, Any]:
    """Return what `/api/metrics` shows of it."""
    return {
        "version": version(),
        "instance": {
            "shared": None if reading is None else reading.shared,
            "complete": None if reading is None else reading.complete,
        },
        "keeper": {
            "slot": None if published is None else published.keeper,
            "age_seconds": figures.rounded(figures.keeper_age(reading, published)),
        },
        "opentelemetry": source.adopted(),
        "records_before_fork": source.dropped(),
        "series": None if reading is None else _series(reading, source.settings),
        "faults": _faults(reading),
        "port": dict(source.port()),
        "notifications": {} if published is None else dict(published.channels),
        "otlp": None if published is None else published.push,
    }


def _ledger(reading: Reading | None) -> str | None:
    """Say of which processes the figures are."""
    if reading is None:
        return None
    if not reading.shared:
        return "private: this worker only"
    return "shared" if reading.complete else "incomplete: a worker counts for itself"


def _faults(reading: Reading | None) -> dict[str, Any]:
    """Return what failed in the instance, by kind; more than its count only this process's own."""
    own, all_of_it = faults.seen(), counted(reading)
    shown = {kind: _fault(fault) for kind, fault in own.items()}
    for kind, times in all_of_it.items():
        known = shown.get(kind, {"times": 0, "error": None, "last": None})
        # The newest of this process's own are not in the ledger yet.
        shown[kind] = {**known, "times": max(times, known["times"])}
    return shown


def _fault(fault: Fault) -> dict[str, Any]:
    shown = {"times": fault.times, "error": fault.error, "last": figures.iso(fault.at)}
    if fault.each:
        shown["each"] = {name: _fault(each) for name, each in fault.each.items()}
    return shown


def _series(reading: Reading, settings: Settings) -> dict[str, Any]:
    """Return how many series there are, and which instruments have more than they may."""
    overflowed = overflows(
        reading,
        series_limit=settings.cardinality_limit,
        total_limit=settings.cardinality_total,
    )
    return {
        "count": len(reading.series) - len(reading.resting),
        "resting": len(reading.resting),
        "overflowed": [each._asdict() for each in overflowed],
    }
