"""The Prometheus text of the ledger, as the reference parsers and promtool read it."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from otelmon import faults
from otelmon.ledger.instrument import Instrument
from otelmon.ledger.requests import DURATION, FIRST_BYTE, QUEUE, REQUEST_SIZE, RESPONSE_SIZE
from otelmon.metrics.host import HostExporter
from otelmon.metrics.names import family_name
from otelmon.metrics.prometheus import Renderer
from tests.sources import HOST, SECOND, Counts, published
from tests.test_figures import worker


if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

    from otelmon.board import Published
    from otelmon.ledger.reader import Reading
    from otelmon.metrics.prometheus import Names


Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]

ORDERS = Instrument("shop.orders", "counter", "{order}", "Orders.", scope="shop")
WAIT = Instrument("shop.wait", "histogram", "ms", "Waits.", (1.0, 10.0, 100.0), scope="shop")
QUEUED = Instrument("shop.queue.length", "gauge", "{order}", "Queue.", scope="shop")

SEED_FAMILIES = {
    "app_requests": "counter",
    "app_request_duration_seconds": "histogram",
    "app_errors": "counter",
    "app_request_time_to_first_byte_seconds": "histogram",
    "app_request_queue_seconds": "histogram",
    "app_request_size_bytes": "histogram",
    "app_response_size_bytes": "histogram",
    "app_active_connections": "gauge",
    "app_requests_started": "counter",
    "app_requests_lost": "counter",
}
OWN_FAMILIES = {
    "otelmon_workers": "gauge",
    "otelmon_worker_starts": "counter",
    "otelmon_worker_deaths": "counter",
    "otelmon_accept_backlog": "gauge",
    "otelmon_ledger_complete": "gauge",
    "otelmon_series": "gauge",
    "otelmon_keeper_age_seconds": "gauge",
    "otelmon_build_info": "gauge",
}


@pytest.fixture(autouse=True)
def _no_faults() -> Iterator[None]:
    """Start and end without any."""
    faults.forget()
    yield
    faults.forget()


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


class TestRequests:
    """The request instruments under their own words."""

    @pytest.mark.parametrize("openmetrics", [False, True])
    def test_families_are_there_before_any_request(self, openmetrics: bool) -> None:
        """A new instance names all families with their types, and nothing beside them."""
        found = families(
            text(Counts().read(), published(), openmetrics=openmetrics), openmetrics=openmetrics
        )

        assert {name: each.type for name, each in found.items()} == SEED_FAMILIES | OWN_FAMILIES
        assert all(each.documentation.endswith(".") for each in found.values())

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
        assert shown[-1] == totals[-1] / 1e9


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


class TestOtherInstruments:
    """What the application records through OpenTelemetry."""

    @pytest.mark.parametrize(
        ("name", "kind", "unit", "family"),
        [
            ("orders", "counter", "", "orders"),
            ("orders_total", "counter", "1", "orders"),
            (
                "http.server.request.duration",
                "histogram",
                "s",
                "http_server_request_duration_seconds",
            ),
            ("memory", "gauge", "By", "memory_bytes"),
            ("free.bytes", "gauge", "By", "free_bytes"),
            ("bytes", "gauge", "By", "bytes"),
            ("used", "gauge", "1", "used_ratio"),
            ("used", "gauge", "%", "used_percent"),
            ("speed", "gauge", "m/s", "speed_meters_per_second"),
            ("rate", "gauge", "{request}/s", "rate_per_second"),
            ("rate", "gauge", "By/fortnight", "rate_bytes_per_fortnight"),
            ("odd", "gauge", "x/", "odd_x"),
            ("odd", "gauge", "m^3", "odd_m_3"),
            ("wait", "histogram", "{thing}", "wait"),
            ("2nd.try", "counter", "", "_2nd_try"),
            ("Größe", "gauge", "", "Gr_e"),
            ("", "gauge", "", "_"),
            ("job:orders", "gauge", "", "job:orders"),
        ],
    )
    def test_names_follow_the_specification(
        self, name: str, kind: str, unit: str, family: str
    ) -> None:
        """Dots become underscores, and the unit's word goes to the end."""
        instrument = Instrument(name, kind, unit, "")  # type: ignore[arg-type]

        assert family_name(instrument) == family

    def test_each_kind_is_shown(self) -> None:
        """Counters and histograms are of the whole instance, gauges of each worker."""
        counts = Counts()
        counts.add(ORDERS, 3)
        counts.record(WAIT, 7, {"at": "till"})
        counts.set(QUEUED, 2.5)
        reading = counts.read()
        lane = next(each.base for each in reading.series if each.instrument == QUEUED)
        two = replace(reading, values={lane: {0: 2.5, 7: 4.0}})

        for found in both(two):
            assert found["shop_orders_total", frozenset()] == 3
            assert found["shop_wait_milliseconds_sum", frozenset({("at", "till")})] == 7
            assert found["shop_queue_length", frozenset({("worker", "0")})] == 2.5
            assert found["shop_queue_length", frozenset({("worker", "7")})] == 4.0

    @pytest.mark.parametrize(
        ("said", "shown"), [(float("inf"), "+Inf"), (float("-inf"), "-Inf"), (float("nan"), "NaN")]
    )
    def test_a_gauge_need_not_be_a_number(self, said: float, shown: str) -> None:
        """Infinity and what is no number are written as Prometheus writes them."""
        counts = Counts()
        counts.set(QUEUED, said)

        assert f'shop_queue_length{{worker="0"}} {shown}\n' in text(counts.read())

    def test_other_scales_are_written_as_numbers(self) -> None:
        """A scale that is no power of ten is multiplied, one that is moves the point."""
        counts = Counts()
        counts.add(replace(ORDERS, name="thirds", scale=1 / 3), 6)
        counts.add(replace(ORDERS, name="cents", scale=0.01), 1_234)
        counts.add(replace(ORDERS, name="dozens", scale=12.0), 2)
        document = text(counts.read())

        assert value(document, "thirds_total") == pytest.approx(2.0)
        assert "cents_total 12.34\n" in document
        assert value(document, "dozens_total") == 24

    def test_a_counter_shows_its_zero_but_not_an_empty_overflow(self) -> None:
        """Adding 0 makes a counter visible from the start; the overflow is there only if used."""
        counts = Counts(series_limit=1)
        counts.add(ORDERS, 0, shop="a")
        counts.add(ORDERS, 0, shop="b")
        before = text(counts.read())
        counts.add(ORDERS, 2, shop="b")

        assert value(before, "shop_orders_total", shop="a") == 0
        assert "overflow" not in before
        assert value(text(counts.read()), "shop_orders_total", otel_metric_overflow="true") == 2

    def test_help_is_escaped(self) -> None:
        """A description may have more than one line, backslashes and quotes."""
        about = 'One\nline, "quoted" \\ and\\nslashed.'
        counts = Counts()
        counts.add(replace(ORDERS, description=about))
        reading = counts.read()

        assert families(text(reading))["shop_orders"].documentation == about
        openmetrics = families(text(reading, openmetrics=True), openmetrics=True)
        assert openmetrics["shop_orders"].documentation == about


class TestNamesInUse:
    """Two instruments that would have one name."""

    def test_one_instrument_of_two_scopes_is_one_family(self) -> None:
        """Series of both are shown, and added where their labels are equal."""
        counts = Counts()
        counts.add(ORDERS, 1, shop="a")
        counts.add(replace(ORDERS, scope="other", description="Other."), 2, shop="a")
        counts.add(replace(ORDERS, scope="other", description="Other."), 4, shop="b")
        document = text(counts.read())

        assert value(document, "shop_orders_total", shop="a") == 3
        assert value(document, "shop_orders_total", shop="b") == 4
        assert faults.seen() == {}

    @pytest.mark.parametrize(
        "second",
        [
            pytest.param(Instrument("app.requests", "counter", "", ""), id="of the table"),
            pytest.param(Instrument("app.requests.total", "gauge", "", ""), id="of a sample"),
            pytest.param(Instrument("otelmon.series", "gauge", "", ""), id="of the instance"),
            pytest.param(Instrument("system.cpus", "gauge", "", ""), id="of the host"),
            pytest.param(Instrument("shop.orders", "gauge", "", ""), id="of another kind"),
            pytest.param(Instrument("shop.orders", "histogram", "", "", (1.0,)), id="of a third"),
            pytest.param(replace(ORDERS, scale=0.1), id="in another scale"),
            pytest.param(replace(DURATION, name="app.request.duration"), id="alike but ours"),
        ],
    )
    def test_the_first_keeps_its_name(self, second: Instrument) -> None:
        """The later instrument is left out, and that is reported; the document stays sound."""
        counts = Counts()
        counts.add(ORDERS, 5)
        if second.kind == "gauge":
            counts.set(second, 1.0)
        elif second.kind == "counter":
            counts.add(second)
        else:
            counts.record(second, 1, {})
        reading = counts.read()

        for found in both(reading):
            assert found["shop_orders_total", frozenset()] == 5
        assert faults.seen()["prometheus_family"].error == "OtelmonError"
        without = replace(
            reading, series=tuple(s for s in reading.series if s.instrument != second)
        )
        assert [line for line in text(reading).splitlines() if "otelmon_series" not in line] == [
            line for line in text(without).splitlines() if "otelmon_series" not in line
        ]

    def test_changed_bounds_are_those_of_the_newest(self) -> None:
        """After a reload with other bounds the new histogram is shown and the old one is not."""
        counts = Counts()
        newer = replace(WAIT, bounds=(5.0, 50.0))
        renderer = Renderer(version="0")
        counts.record(WAIT, 7, {"at": "till"})
        renderer.text(counts.read(), None, openmetrics=False)
        counts.record(newer, 3, {"at": "till"})
        counts.record(WAIT, 7, {"at": "door"})
        document = renderer.text(counts.read(), None, openmetrics=False).decode()

        assert value(document, "shop_wait_milliseconds_bucket", at="till", le="5.0") == 1
        assert value(document, "shop_wait_milliseconds_count", at="till") == 1
        assert value(document, "shop_wait_milliseconds_count", at="door") is None
        assert "prometheus_family" in faults.seen()


class TestInstance:
    """Saturation, and otelmon's own health."""

    def test_workers_and_requests_are_shown(self) -> None:
        """Busy and idle workers, the oldest request, what was lost, and who came and went."""
        live = (
            worker(0, in_flight=2, oldest_age=1.5),
            worker(1, in_flight=1, oldest_age=0.5),
            worker(2),
        )
        reading = replace(
            Counts().read(), workers=live, started=12, lost=4, worker_starts=9, complete=False
        )
        document = text(reading, published(monotonic=reading.monotonic - 2 * SECOND))

        assert value(document, "app_active_connections") == 3
        assert value(document, "app_requests_started_total") == 12
        assert value(document, "app_requests_lost_total") == 4
        assert value(document, "otelmon_workers", state="busy") == 2
        assert value(document, "otelmon_workers", state="idle") == 1
        assert value(document, "otelmon_worker_starts_total") == 9
        assert value(document, "otelmon_worker_deaths_total") == reading.worker_deaths
        assert value(document, "otelmon_oldest_request_seconds") == 1.5
        assert value(document, "otelmon_accept_backlog") == 2
        assert value(document, "otelmon_ledger_complete") == 0
        assert value(document, "otelmon_series") == len(reading.series)
        assert value(document, "otelmon_keeper_age_seconds") == 2
        assert value(document, "otelmon_build_info", version="1.2.3") == 1

    def test_what_is_not_known_is_not_there(self) -> None:
        """Without a board or a request in flight their families are left out."""
        found = families(text(Counts().read()))

        assert not found.keys() & {
            "otelmon_accept_backlog",
            "otelmon_keeper_age_seconds",
            "otelmon_oldest_request_seconds",
        }

    def test_the_host_is_in_the_same_document(self) -> None:
        """The exporter's families stand in one document with ours, in both formats."""
        exporter = HostExporter(lambda: HOST)
        for openmetrics in (False, True):
            host = exporter.text(openmetrics=openmetrics)
            document = text(Counts().read(), published(), host=host, openmetrics=openmetrics)
            found = families(document, openmetrics=openmetrics)

            assert found.keys() > SEED_FAMILIES.keys()
            assert found["system_cpu_usage_percent"].samples[0].value == 25.5
            assert document.count("# EOF") == openmetrics

    def test_the_host_is_all_there_is_before_the_process_serves(self) -> None:
        """Without a reading the document is the host's families, and whole."""
        assert text(None, host=b"x 1\n") == "x 1\n"
        assert text(None, host=b"x 1\n", openmetrics=True) == "x 1\n# EOF\n"


class TestVocabularies:
    """Names of the request instruments."""

    def test_the_conventions_names_are_those_of_the_instruments(self) -> None:
        """With `semconv` nothing begins with app_, and all attributes are labels."""
        counts = Counts()
        counts.request("/a", status=500, error="ValueError", outcome="error")
        document = text(counts.read(), names="semconv")
        labels = {
            "http_request_method": "GET",
            "http_route": "/a",
            "http_response_status_code": "500",
            "error_type": "ValueError",
            "otelmon_outcome": "error",
        }

        assert value(document, "http_server_request_duration_seconds_count", **labels) == 1
        assert value(document, "http_server_active_requests") == 0
        assert "app_" not in document

    @pytest.mark.parametrize("openmetrics", [False, True])
    def test_both_are_the_one_and_the_other(self, openmetrics: bool) -> None:
        """With `both` every sample of either is there."""
        counts = Counts()
        counts.request("/a")
        counts.record(REQUEST_SIZE, 7, {"http.route": "/a"})
        reading = counts.read()
        seed, semconv, all_names = (
            samples(text(reading, names=names, openmetrics=openmetrics), openmetrics=openmetrics)
            for names in ("seed", "semconv", "both")
        )

        assert all_names == seed | semconv
        assert seed.keys() != all_names.keys() != semconv.keys()


class TestOneRenderer:
    """A renderer that is used again and again."""

    def test_it_learns_what_is_new(self) -> None:
        """Whatever came since its last text, and be it nothing, it says the same as a new one."""
        counts = Counts()
        renderer = Renderer(version="1.2.3")
        for number in range(4):
            counts.request(f"/{number}", error="ValueError" if number else None)
            counts.add(ORDERS, number=number % 2)
            reading = counts.read()
            for _ in range(2):
                assert renderer.text(reading, None, openmetrics=False).decode() == text(reading)

    def test_it_forgets_a_ledger_that_was_replaced(self) -> None:
        """Series of another key table take the place of those before."""
        old, new = Counts(), Counts()
        renderer = Renderer(version="1.2.3")
        old.request("/old")
        old.add(ORDERS)
        new.request("/new")
        renderer.text(old.read(), None, openmetrics=False)
        reading = new.read()

        assert renderer.text(reading, None, openmetrics=False).decode() == text(reading)

    def test_a_text_does_not_change_under_another(self) -> None:
        """What a text is made from stays as it is while new series are learned beside it."""
        counts = Counts()
        renderer = Renderer(version="1.2.3")
        counts.request("/a")
        renderer.text(counts.read(), None, openmetrics=False)
        plan, first = renderer._plan, counts.read()
        under_way = plan.samples(first, openmetrics=False)
        begun = next(under_way)
        counts.request("/b")
        counts.request("/a", outcome="client_disconnected")
        counts.add(ORDERS)
        renderer.text(counts.read(), None, openmetrics=False)

        assert renderer._plan is not plan
        document = b"".join([begun, *under_way]).decode()
        assert document in text(first)


@pytest.mark.parametrize("openmetrics", [False, True])
def test_every_family_is_described_once(openmetrics: bool) -> None:
    """Each HELP stands before its TYPE, each TYPE before its samples, and nothing comes twice."""
    counts = Counts()
    counts.request("/a")
    counts.add(ORDERS)
    lines = text(counts.read(), published(), openmetrics=openmetrics).splitlines()
    helps = [line.split()[2] for line in lines if line.startswith("# HELP")]
    types = [line.split()[2] for line in lines if line.startswith("# TYPE")]

    assert helps == types
    assert len(set(types)) == len(types)
    assert ("app_requests_total" in types) is not openmetrics


def promtool(document: str) -> tuple[int, str]:
    """Return what Prometheus's own parser and linter says of a document."""
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=document,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_promtool_has_nothing_to_say() -> None:
    """`promtool check metrics` finds neither an error nor bad style."""
    counts = Counts()
    counts.request("/a", status=500, error="ValueError")
    counts.begin()
    for instrument in (FIRST_BYTE, REQUEST_SIZE, RESPONSE_SIZE):
        counts.record(instrument, 5, {"http.route": "/a"})
    counts.record(QUEUE, 5, {})
    host = HostExporter(lambda: HOST).text(openmetrics=False)

    assert promtool(text(counts.read(), published(), host=host)) == (0, "")


def test_ten_thousand_series_are_one_document() -> None:
    """Every one of 10,000 routes is there with its sum, and Prometheus's parser takes all of it."""
    counts = Counts(series_limit=20_000)
    for number in range(10_000):
        counts.request(f"/{number}", took=number)
    document = text(counts.read())

    start = "app_request_duration_seconds_sum"
    found = {line for line in document.splitlines() if line.startswith(start)}
    assert found == {
        f'{start}{{method="GET",endpoint="/{number}",status="200"}} {number / 1e9:.9f}'
        for number in range(10_000)
    }
    assert promtool(document) == (0, "")
