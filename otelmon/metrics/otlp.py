"""OTLP: all that the instance measures, pushed to a collector by its keeper.

The standard exporter sends it, by the standard variables. What it sends are cumulative sums of all
processes under one `service.instance.id`, so a push that is lost costs resolution and nothing else,
and whoever keeps next goes on where the keeper before stood.
"""

from __future__ import annotations

import _thread
import atexit
import logging
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context

from otelmon import faults, threads
from otelmon.errors import OtelmonError
from otelmon.loading import apart_from_forks
from otelmon.metrics.figures import iso
from otelmon.settings import Settings


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.sdk.metrics.export import MetricExporter

    from otelmon.board import Published
    from otelmon.metrics.data import MetricsData


log = logging.getLogger("otelmon")

# What ends a server is not to wait longer for its last figures.
_LAST_SECONDS: Final = 2.0
_PACKAGES: Final = {
    "http/protobuf": ("opentelemetry-exporter-otlp-proto-http", "otlp"),
    "grpc": ("opentelemetry-exporter-otlp-proto-grpc", "otlp-grpc"),
}


class PushError(OtelmonError):
    """The figures were not taken."""


class Push:
    """Pushes at an interval, if the settings say so.

    For the keeper's thread, which never waits for it but at its end.
    """

    def __init__(self, settings: Settings, collect: Callable[[], MetricsData | None]) -> None:
        """Do nothing yet; *collect* returns what is to be pushed, in a thread of its own."""
        self._settings = settings
        self._on = settings.exports_otlp
        self._collect = collect
        self._last_call: threads.LastCall | None = None
        self.forget()

    def forget(self) -> None:
        """Be as new in a forked child, and where this process is the keeper no longer."""
        self._errand = threads.Errand(self._push)
        if self._last_call is not None:
            self._last_call.dismiss()
        self._last_call = None
        self._exporter: MetricExporter | None = None
        self._hush = _Hush()
        self._due = self._began = 0.0
        self._lock = threads.original(_thread, "allocate_lock")()
        self._late = False
        self._known = False
        self._pushes, self._failures = 0, 0
        self._error: str | None = None
        self._since: float | None = None
        self._last: float | None = None

    def tick(self, before: Published | None) -> None:
        """Begin to push if it is time and none is under way; count on from the keeper *before*.

        One that is under way for longer than OTEL_METRIC_EXPORT_TIMEOUT has failed.
        """
        if not self._on:
            return
        if not self._known:
            # The exporter's own time-out is for each piece of an answer, and not for a name's look-up.
            self._last_call = threads.LastCall(partial(self._push, _LAST_SECONDS))
            self._known = True
            said = (before.push if before is not None else None) or {}
            self._pushes, self._failures = said.get("pushes", 0), said.get("failures", 0)
            # A worker that is asked to end goes without a word to the keeper's thread.
            atexit.register(self.end)
        now = time.monotonic()
        if not self._errand.idle:
            seconds = self._settings.metric_export_timeout / 1000
            if now - self._began > seconds:
                self._failed(TimeoutError(f"no end of it after {seconds:g} s"), late=True)
        elif now >= self._due:
            self._began, self._late = now, False
            self._errand.start()
            self._due = now + self._settings.metric_export_interval / 1000

    def end(self) -> None:
        """Push once more, for 2 s at the most, if this process pushes and is not at it."""
        atexit.unregister(self.end)
        last, self._last_call = self._last_call, None
        if last is None:
            return
        if self._errand.idle:
            self._known, self._exporter, self._late = False, None, False
            last.run(_LAST_SECONDS)
        else:
            last.dismiss()

    def shown(self) -> Mapping[str, Any] | None:
        """Return how it does, for the board; None where it is off."""
        if not self._on:
            return None
        if not self._pushes and not self._failures:
            state = "starting"
        else:
            state = "ok" if self._since is None else "failing"
        return {
            "state": state,
            "protocol": self._settings.otlp_protocol,
            "pushes": self._pushes,
            "failures": self._failures,
            "error": self._error,
            "failing_since": None if self._since is None else iso(self._since),
            "last_push": None if self._last is None else iso(self._last),
        }

    def _push(self, seconds: float | None = None) -> None:
        try:
            data = self._collect()
            if data is None:
                return
            self._send(data, seconds)
        except Exception as error:  # noqa: BLE001 - the next push carries all of it
            self._failed(error)
        else:
            self._arrived()

    def _send(self, data: MetricsData, seconds: float | None) -> None:
        # Here, because only the keeper is to pay for the import.
        with apart_from_forks():
            from opentelemetry.sdk.metrics.export import MetricExportResult

            made = self._exporter or _exporter(self._settings, seconds)
        if self._exporter is None:
            self._exporter = made
            self._hush.listen(self._exporter)
        # The collector is no peer of the application's: no spans and no figures of it.
        token = context.attach(context.set_value(context._SUPPRESS_INSTRUMENTATION_KEY, True))  # noqa: SLF001 - as the SDK's own readers do
        try:
            with self._hush:
                result = self._exporter.export(data)
        finally:
            context.detach(token)
        if result is not MetricExportResult.SUCCESS:
            raise PushError((self._hush.heard or "the exporter did not say why").rstrip("."))

    def _arrived(self) -> None:
        if self._since is not None:
            log.info("The collector takes metrics over OTLP again.")
        self._pushes += 1
        self._last = time.time_ns() / 1e9
        self._error, self._since = None, None

    def _failed(self, error: Exception, *, late: bool = False) -> None:
        with self._lock:
            # One that was late is counted then, and not again when it comes back.
            if self._late:
                return
            self._late = late
        self._failures += 1
        # Never its text: that may hold an address.
        self._error = type(error).__name__
        if self._since is None:
            self._since = time.time_ns() / 1e9
            log.warning(
                "Metrics could not be pushed over OTLP (%s). The next push carries all of it; "
                "further failures are only counted, see /health.",
                faults.said(str(error)),
            )


class _Hush(logging.Filter):
    """Keeps what the exporter logs of our pushes out of the log; its other users are heard as ever.

    It says so at each try of each push, and an outage is to be one line.
    """

    def __init__(self) -> None:
        super().__init__()
        self._loggers: set[logging.Logger] = set()
        self._thread: int | None = None
        self.heard: str | None = None
        """What was said last"""

    def listen(self, exporter: MetricExporter) -> None:
        self._loggers = {logging.getLogger(each.__module__) for each in type(exporter).__mro__}

    def __enter__(self) -> None:
        self._thread, self.heard = threading.get_ident(), None
        for logger in self._loggers:
            logger.addFilter(self)

    def __exit__(self, *_error: object) -> None:
        for logger in self._loggers:
            logger.removeFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        if record.thread != self._thread:
            return True
        self.heard = record.getMessage()
        return False


def _exporter(settings: Settings, seconds: float | None) -> MetricExporter:
    """Return the standard exporter, which tries for so many *seconds*, or as its variables say.

    Raises:
        PushError: its package is not installed.
    """
    # It reads the variables by itself, and knows which of them have a path to be added. What they
    # do not say was given in code, and is the whole address.
    given = settings.otlp_endpoint
    endpoint = None if given == Settings.from_env().otlp_endpoint else given
    package, extra = _PACKAGES[settings.otlp_protocol]
    try:
        if settings.otlp_protocol == "grpc":
            from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (
                OTLPMetricExporter as GrpcExporter,
            )

            return GrpcExporter(endpoint=endpoint, timeout=seconds)
        import netrc  # noqa: F401 - as requests does at its first request

        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

        return OTLPMetricExporter(endpoint=endpoint, timeout=seconds)
    except ImportError:
        raise PushError(f"{package} is not installed: pip install 'otelmon[{extra}]'") from None
