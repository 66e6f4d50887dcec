"""`/metrics`: formats, encodings, and what happens to the host's part of it."""

from __future__ import annotations

import gzip
from typing import Final

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from otelmon import faults
from otelmon.views.prometheus import PrometheusPage
from tests.endpoints import get, ops, scrape, settings, source
from tests.forks import forked
from tests.sources import published


TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
WANTED: Final = {
    "": TEXT,
    "*/*": TEXT,
    "text/html,application/xhtml+xml,*/*;q=0.8": TEXT,
    "text/plain": TEXT,
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1": TEXT,
    "application/json": TEXT,
    "application/openmetrics-text": OPENMETRICS,
    "Application/OpenMetrics-Text; Version=1.0.0": OPENMETRICS,
    'application/openmetrics-text;version="1.0.0"': OPENMETRICS,
    "application/openmetrics-text;version=0.0.1": TEXT,
    "application/openmetrics-text;version=2.0.0": TEXT,
    "application/openmetrics-text;q=0": TEXT,
    "application/openmetrics-text;q=0.3,text/plain;q=0.4": TEXT,
    "application/openmetrics-text;q=0.4,text/plain;q=0.4": OPENMETRICS,
    "application/openmetrics-text;q=0.4,text/plain;q=0": OPENMETRICS,
    "application/openmetrics-text;q=0.4,text/plain;q=0.1,*/*": OPENMETRICS,
    "application/openmetrics-text;q=0.4,text/*;q=0.5": TEXT,
    "application/openmetrics-text;q=0.4,*/*;q=0.5": TEXT,
    "application/openmetrics-text;q=x": TEXT,
    "application/openmetrics-text;q=7": TEXT,
    "application/openmetrics-text;q=nan": TEXT,
    # Prometheus 2.5, 2.42 and 3.5.
    "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1": TEXT,
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1": OPENMETRICS,
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;"
    "escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2": OPENMETRICS,
}


class TestPrometheus:
    """`/metrics`."""

    @pytest.mark.parametrize(("accept", "content_type"), WANTED.items())
    def test_the_format_is_the_one_that_is_asked_for(self, accept: str, content_type: str) -> None:
        """OpenMetrics comes to who names it and likes it no less than text; text to all others."""
        answer = scrape(accept=accept)
        read = read_openmetrics if content_type == OPENMETRICS else read_text

        assert answer.headers["Content-Type"] == content_type
        assert answer.headers["Vary"] == "Accept, Accept-Encoding"
        names = {family.name for family in read(answer.body.decode())}
        assert {"app_requests", "system_cpu_usage_percent", "otelmon_build_info"} <= names

    @pytest.mark.parametrize(
        ("encoding", "zipped"),
        [
            ("", False),
            ("gzip", True),
            ("deflate, GZIP;q=0.5", True),
            ("x-gzip", True),
            ("*", True),
            ("gzip;q=0", False),
            ("gzip;q=0, *", False),
            ("identity", False),
            ("br;q=1, *;q=0", False),
            ("gzip;q=much", False),
        ],
    )
    def test_gzip_comes_to_who_takes_it(self, encoding: str, zipped: bool) -> None:
        """The body comes out of gzip as it went in, and is sent as it is to all others."""
        app = ops(said=None)
        plain, answer = scrape(app), scrape(app, encoding=encoding)

        assert answer.headers.get("Content-Encoding") == ("gzip" if zipped else None)
        assert (gzip.decompress(answer.body) if zipped else answer.body) == plain.body
        assert len(answer.body) == int(answer.headers["Content-Length"])

    def test_gzip_is_the_same_each_time(self) -> None:
        """The header of the gzip holds no time."""
        answer = scrape(ops(said=None), encoding="gzip")

        assert answer.body[4:8] == bytes(4)

    def test_numbers_are_those_of_the_json(self) -> None:
        """Both say the same of the same moment."""
        app = ops()
        lines = scrape(app).body.decode().splitlines()
        application = get("/api/metrics", app)["application"]

        labels = 'method="GET",endpoint="/a",status="200"'
        assert f"app_requests_total{{{labels}}} {application['request_count']}" in lines
        assert "system_load_average 1.5" in lines

    def test_the_vocabulary_is_set(self) -> None:
        """OTELMON_PROMETHEUS_NAMES chooses the names."""
        body = scrape(ops(settings=settings(prometheus_names="semconv"))).body

        assert b"http_server_request_duration_seconds_count{" in body
        assert b"app_requests" not in body

    def test_the_requests_are_shown_without_the_host(self) -> None:
        """If the host's figures cannot be shown, the rest is, and the fault is said."""
        answer = scrape(ops(said=published(host=7)))

        assert answer.status == 200
        assert b"app_requests_total{" in answer.body
        assert "host_text" in faults.seen()

    def test_a_forked_child_can_be_asked_at_once(self) -> None:
        """A child forked while its parent was in the exporter makes one of its own."""
        page = PrometheusPage(source())
        page({"REQUEST_METHOD": "GET"})
        exporter = page._exporter
        assert exporter is not None

        def child() -> None:
            page({"REQUEST_METHOD": "GET"})
            assert page._exporter is not None
            assert page._exporter[1] is not exporter[1]

        with exporter[1]._lock:
            assert forked(child) == 0
        page({"REQUEST_METHOD": "GET"})
        assert page._exporter is exporter
