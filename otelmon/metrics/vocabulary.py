"""Instruments by other names than their own: `app_*` for requests, `process_*` for processes.

Another vocabulary is another table like these. An instrument without an entry is shown by its own
name, which for these are those of the semantic conventions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otelmon.instruments import process
from otelmon.ledger.instrument import OVERFLOW
from otelmon.ledger.requests import (
    DURATION,
    FIRST_BYTE,
    QUEUE,
    REQUEST_SIZE,
    RESPONSE_SIZE,
    SECONDS,
    SIZES,
)
from otelmon.metrics.families import (
    OVERFLOW_LABELS,
    BySlot,
    Counter,
    Family,
    Histogram,
    Labels,
    Last,
)
from otelmon.metrics.figures import ERROR_TYPE
from otelmon.metrics.names import label_text, label_value


if TYPE_CHECKING:
    from collections.abc import Mapping

    from otelmon.ledger.instrument import Attributes, Instrument


# So that the first one of these is an increase of something that was there before.
_KNOWN_ERRORS: Final = ("http_500", "http_502", "http_503", "http_504")


def _labels(**attributes: str) -> Labels:
    """Show only these attributes, under these labels."""

    def labels(found: Attributes) -> bytes:
        if found == OVERFLOW:
            return OVERFLOW_LABELS
        values = dict(found)
        return label_text(
            (label, label_value(values[attribute]))
            for label, attribute in attributes.items()
            if attribute in values
        )

    return labels


def _error(found: Attributes) -> bytes | None:
    """Show what kind of error it was: the exception's class, else the status."""
    error = dict(found).get(ERROR_TYPE)
    return None if error is None else _error_type(str(error))


def _error_type(error: str) -> bytes:
    return label_text([("type", f"http_{error}" if error.isdecimal() else error)])


_WIDTH: Final = len(SECONDS) + 1
_ENDPOINT: Final = _labels(method="http.request.method", endpoint="http.route")
_ANSWER: Final = _labels(
    method="http.request.method", endpoint="http.route", status="http.response.status_code"
)

SEED: Final[Mapping[Instrument, tuple[Family, ...]]] = {
    DURATION: (
        Counter("app_requests", "Requests that were finished.", _ANSWER, width=_WIDTH),
        Histogram(
            "app_request_duration_seconds", DURATION.description, _ANSWER, SECONDS, DURATION.scale
        ),
        Counter(
            "app_errors",
            "Requests that ended in an exception or a 5xx.",
            _error,
            width=_WIDTH,
            initial=tuple(label_text([("type", error)]) for error in _KNOWN_ERRORS),
        ),
    ),
    FIRST_BYTE: (
        Histogram(
            "app_request_time_to_first_byte_seconds",
            FIRST_BYTE.description,
            _ENDPOINT,
            SECONDS,
            FIRST_BYTE.scale,
        ),
    ),
    QUEUE: (
        Histogram("app_request_queue_seconds", QUEUE.description, _labels(), SECONDS, QUEUE.scale),
    ),
    REQUEST_SIZE: (
        Histogram("app_request_size_bytes", REQUEST_SIZE.description, _ENDPOINT, SIZES),
    ),
    RESPONSE_SIZE: (
        Histogram("app_response_size_bytes", RESPONSE_SIZE.description, _ENDPOINT, SIZES),
    ),
}


def _process(name: str, instrument: Instrument, **attributes: str) -> tuple[Family, ...]:
    labels = _labels(**attributes)
    if instrument.merge == "slot":
        return (BySlot(name, instrument.description, labels, instrument.scale or 1.0),)
    return (Last(name, instrument.description, labels),)


# https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics; the collections as
# prometheus_client has them. What these do not name is otelmon's. How much of a CPU a process uses
# is `rate()` of its seconds there, and its uptime is in its start.
PROCESS: Final[Mapping[Instrument, tuple[Family, ...]]] = {
    process.CPU_TIME: _process("process_cpu_seconds", process.CPU_TIME),
    process.CPU_USAGE: (),
    process.RESIDENT: _process("process_resident_memory_bytes", process.RESIDENT),
    process.VIRTUAL: _process("process_virtual_memory_bytes", process.VIRTUAL),
    process.PROPORTIONAL: _process(
        "otelmon_process_proportional_memory_bytes", process.PROPORTIONAL
    ),
    process.FILES: _process("process_open_fds", process.FILES),
    process.FILES_LIMIT: _process("process_max_fds", process.FILES_LIMIT),
    process.THREADS: _process("process_threads", process.THREADS),
    process.STARTED: _process("process_start_time_seconds", process.STARTED),
    process.UPTIME: (),
    process.COLLECTIONS: _process(
        "python_gc_collections", process.COLLECTIONS, generation=process.GENERATION
    ),
    process.PAUSE: _process(
        "otelmon_gc_pause_seconds", process.PAUSE, generation=process.GENERATION
    ),
}
