"""Requests in the Prometheus text: their families, and attributes as labels."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelmon.ledger.requests import DURATION, FIRST_BYTE, QUEUE, REQUEST_SIZE, RESPONSE_SIZE
from tests.prometheus_text import ORDERS, QUEUED, WAIT, both, samples, text, value
from tests.sources import SECOND, Counts


class TestRequests:
    """The request instruments under their own words."""

    def test_requests_are_counted_by_method_endpoint_and_status(self) -> None:
        """Those that differ in outcome and error alone are one series, and their sum."""
        counts = Counts()
        counts.request("/a")
        counts.request("/a", outcome="client_disconnected")
        counts.request("/a", status=500, error="ValueError", outcome="error")
        counts.request("/a", status=500, error="KeyError", outcome="error")
        counts.request("/a", method="POST", status=500, error="500")
        document = text(counts.read())

        for method, status, number in (("GET", "200", 2), ("GET", "500", 2), ("POST", "500", 1)):
            labels = {"method": method, "endpoint": "/a", "status": status}
            assert value(document, "app_requests_total", **labels) == number
            assert value(document, "app_request_duration_seconds_count", **labels) == number

    def test_durations_are_buckets_in_seconds(self) -> None:
        """Buckets are cumulative, their bounds inclusive floats, and the sum is exact."""
        counts = Counts()
        for took in (5_000_000, 5_000_001, SECOND, 11 * SECOND + 3):
            counts.request("/a", took=took)
        document = text(counts.read())
        labels = {"method": "GET", "endpoint": "/a", "status": "200"}

        found = {
            dict(key)["le"]: number
            for (name, key), number in samples(document).items()
            if name == "app_request_duration_seconds_bucket"
        }

        assert found["0.005"] == 1
        assert found["0.01"] == found["0.75"] == 2
        assert found["1.0"] == found["10.0"] == 3
        assert found["+Inf"] == 4
        assert len(found) == 15
        assert value(document, "app_request_duration_seconds_sum", **labels) == 12.010000004

    def test_errors_are_counted_by_what_they_were(self) -> None:
        """An exception is known by its class, another error by its status; four begin at 0."""
        counts = Counts()
        counts.request(status=500, error="ValueError", outcome="error")
        counts.request("/a", status=500, error="ValueError", outcome="error")
        counts.request(status=503, error="503")
        counts.request(status=507, error="507")
        counts.request(status=404)
        document = text(counts.read())

        assert {
            dict(key)["type"]: number
            for (name, key), number in samples(document).items()
            if name == "app_errors_total"
        } == {
            "http_500": 0,
            "http_502": 0,
            "http_503": 1,
            "http_504": 0,
            "http_507": 1,
            "ValueError": 2,
        }

    def test_sizes_and_waits_have_families_of_their_own(self) -> None:
        """First bytes and sizes go by method and endpoint, queue times by nothing."""
        counts = Counts()
        answer = {"http.request.method": "GET", "http.route": "/a"}
        for instrument in (FIRST_BYTE, REQUEST_SIZE, RESPONSE_SIZE):
            counts.record(instrument, 1024, answer)
        counts.record(QUEUE, SECOND // 4, {})
        document = text(counts.read())
        labels = {"method": "GET", "endpoint": "/a"}

        assert value(document, "app_request_time_to_first_byte_seconds_count", **labels) == 1
        assert value(document, "app_request_size_bytes_sum", **labels) == 1024
        assert value(document, "app_request_size_bytes_bucket", le="128.0", **labels) == 0
        assert value(document, "app_response_size_bytes_bucket", le="1024.0", **labels) == 1
        assert value(document, "app_request_queue_seconds_sum") == 0.25
        assert value(document, "app_request_queue_seconds_bucket", le="0.25") == 1

    def test_the_overflow_is_marked(self) -> None:
        """Requests past the cap of series are in the one that says so, and none is missing."""
        counts = Counts(series_limit=2)
        for number in range(5):
            counts.request(f"/{number}")
        document = text(counts.read())

        assert value(document, "app_requests_total", otel_metric_overflow="true") == 3
        assert (
            value(document, "app_request_duration_seconds_count", otel_metric_overflow="true") == 3
        )
        assert 'app_request_size_bytes_count{otel_metric_overflow="true"}' not in document

    def test_an_attribute_that_is_missing_is_no_label(self) -> None:
        """A series without a route has the labels that it can have."""
        counts = Counts()
        counts.record(DURATION, 1, {"http.request.method": "GET"})

        assert value(text(counts.read()), "app_requests_total", method="GET") == 1

    @given(st.lists(st.integers(0, 2**60), min_size=2, max_size=6).map(sorted))
    def test_sums_never_fall(self, totals: list[int]) -> None:
        """A sum of more nanoseconds is never less as text, however many digits it has."""
        counts = Counts()
        shown = []
        for before, total in zip([0, *totals], totals, strict=False):
            counts.request(took=total - before)
            found = samples(text(counts.read()))
            shown += [v for (name, _), v in found.items() if name.endswith("duration_seconds_sum")]

        assert shown == sorted(shown)
        assert shown[-1] == float(Fraction(totals[-1], 10**9))


class TestLabels:
    """Values of attributes as labels."""

    @given(st.text(max_size=20))
    def test_any_text_comes_back(self, route: str) -> None:
        """Quotes, backslashes and newlines are escaped: both parsers return what was recorded."""
        counts = Counts()
        counts.request(route)
        key = {"method": "GET", "endpoint": route, "status": "200"}

        for found in both(counts.read()):
            assert found["app_requests_total", frozenset(key.items())] == 1

    def test_what_is_no_text_is_replaced(self) -> None:
        """Half of a surrogate pair cannot be written in UTF-8 and becomes a question mark."""
        counts = Counts()
        counts.request("/caf\udce9")
        counts.request("/caf?")

        found = value(
            text(counts.read()), "app_requests_total", method="GET", endpoint="/caf?", status="200"
        )
        assert found == 2

    @pytest.mark.parametrize(
        ("attribute", "label"),
        [(True, "true"), (False, "false"), (7, "7"), (0.5, "0.5"), ("Ä", "Ä")],
    )
    def test_every_kind_of_attribute_has_a_text(self, attribute: str | float, label: str) -> None:
        """Booleans are lower case, as OpenTelemetry has it."""
        counts = Counts()
        counts.add(ORDERS, kind=attribute)

        assert value(text(counts.read()), "shop_orders_total", kind=label) == 1

    def test_names_that_become_one_share_a_label(self) -> None:
        """Values of attributes that differ only in what no label may hold are joined."""
        counts = Counts()
        counts.add(ORDERS, 1, **{"a.b": "x", "a_b": "y", "a b": "z", "1st": "1"})

        found = value(text(counts.read()), "shop_orders_total", a_b="z;x;y", _1st="1")
        assert found == 1

    def test_an_attribute_gives_way_to_our_label(self) -> None:
        """`le` of a histogram and `worker` of a gauge are ours; of a counter they are free."""
        counts = Counts()
        counts.record(WAIT, 5, {"le": "x"})
        counts.set(QUEUED, 3.5, worker="x")
        counts.add(ORDERS, le="x", worker="y")
        document = text(counts.read())

        assert value(document, "shop_wait_milliseconds_bucket", exported_le="x", le="10.0") == 1
        assert value(document, "shop_queue_length", exported_worker="x", worker="0") == 3.5
        assert value(document, "shop_orders_total", le="x", worker="y") == 1
