"""`/metrics`: everything as Prometheus text."""

from __future__ import annotations

import gzip
import os
from functools import partial
from typing import TYPE_CHECKING, Final

from otelmon import faults
from otelmon.loading import apart_from_forks
from otelmon.metrics import windows
from otelmon.metrics.instance import CHECK_UP
from otelmon.metrics.names import label_text
from otelmon.metrics.prometheus import Renderer, text_of
from otelmon.views import own
from otelmon.views.monitoring import checked
from otelmon.views.negotiation import prefers_openmetrics, takes_gzip
from otelmon.views.response import OK, Response


if TYPE_CHECKING:
    from collections.abc import Container

    from _typeshed.wsgi import WSGIEnvironment

    from otelmon.board import Published
    from otelmon.instruments.figures import Row
    from otelmon.ledger.reader import Reading
    from otelmon.metrics.host_text import HostExporter
    from otelmon.metrics.summary import Recent
    from otelmon.views.source import Source


_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
_OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_VARY: Final = ("Vary", "Accept, Accept-Encoding")
# Higher levels cost several times as much, for a few percent of the bytes.
_LEVEL: Final = 1


class PrometheusPage:
    """The view; it keeps what need not be found out again for each scrape."""

    def __init__(self, source: Source) -> None:
        """Know nothing yet."""
        self._source = source
        self._renderer = Renderer(names=source.settings.prometheus_names, version=own.version())
        self._exporter: tuple[int, HostExporter] | None = None

    def __call__(self, environ: WSGIEnvironment) -> Response:
        """Answer in the format and encoding that is asked for."""
        openmetrics = prefers_openmetrics(environ.get("HTTP_ACCEPT", ""))
        reading, published = self._source.reading(), self._source.published()
        body = self._renderer.text(
            reading,
            published,
            openmetrics=openmetrics,
            host=self._host(openmetrics=openmetrics) + self._checks(openmetrics=openmetrics),
            recent=self._recent(reading, published),
            others=partial(self._others, openmetrics=openmetrics),
        )
        content_type = _OPENMETRICS if openmetrics else _TEXT
        if takes_gzip(environ.get("HTTP_ACCEPT_ENCODING", "")):
            body = gzip.compress(body, _LEVEL, mtime=0)
            return Response(OK, content_type, body, (_VARY, ("Content-Encoding", "gzip")))
        return Response(OK, content_type, body, (_VARY,))

    def _recent(self, reading: Reading | None, published: Published | None) -> Recent | None:
        """Return the windows; as for the host, the rest is worth showing without them."""
        try:
            return windows.recent(self._source.past(), reading, published)
        except Exception as error:  # noqa: BLE001 - see above
            faults.report("windows_text", error)
            return None

    def _host(self, *, openmetrics: bool) -> bytes:
        """Return the host's families; without them the rest is still worth showing."""
        try:
            return self._exporter_of_this_process().text(openmetrics=openmetrics)
        except Exception as error:  # noqa: BLE001 - see above
            faults.report("host_text", error)
            return b""

    def _checks(self, *, openmetrics: bool) -> bytes:
        """Return which health checks are up; nothing of those whose state is not known."""
        known = [each for each in checked(self._source) if each.status != "unknown"]
        values = {
            label_text([("check", each.name), ("critical", str(each.critical).lower())]): int(
                each.status == "up"
            )
            for each in known
        }
        return text_of(CHECK_UP, values, openmetrics=openmetrics)

    def _others(self, taken: Container[str], *, openmetrics: bool) -> bytes:
        """Return prometheus_client's families, where the application measures with it."""
        directory = self._source.settings.prometheus_multiproc_dir
        if directory is None:
            return b""
        try:
            with apart_from_forks():
                from otelmon.metrics import multiprocess

            return multiprocess.text(directory, taken, openmetrics=openmetrics)
        except Exception as error:  # noqa: BLE001 - as for the host
            faults.report("prometheus_client", error)
            return b""

    def _exporter_of_this_process(self) -> HostExporter:
        pid = os.getpid()
        if self._exporter is None or self._exporter[0] != pid:
            # Here, because only who answers a scrape is to pay for the import of the SDK. After a
            # fork anew, because the parent's may be locked for ever.
            with apart_from_forks():
                from otelmon.metrics.host_text import HostExporter

            self._exporter = (pid, HostExporter(self._row))
        return self._exporter[1]

    def _row(self) -> Row:
        published = self._source.published()
        return {} if published is None else published.host
