"""The whole Prometheus document, as the reference parsers and promtool read it."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest

from otelmon.ledger.requests import FIRST_BYTE, QUEUE, REQUEST_SIZE, RESPONSE_SIZE
from otelmon.metrics.host_text import HostExporter
from otelmon.metrics.prometheus import Renderer
from tests.prometheus_text import ORDERS, families, samples, text, value
from tests.sources import HOST, SECOND, Counts, published, worker


SEED_FAMILIES = {
    "app_requests": "counter",
    "app_request_duration_seconds": "histogram",
    "app_errors": "counter",
    "app_request_time_to_first_byte_seconds": "histogram",
    "app_request_queue_seconds": "histogram",
    "app_request_size_bytes": "histogram",
    "app_response_size_bytes": "histogram",
    "app_active_connections": "gauge",
    "app_cache_hits": "counter",
    "app_cache_misses": "counter",
    "app_requests_started": "counter",
    "app_requests_lost": "counter",
}
OWN_FAMILIES = {
    "otelmon_faults": "counter",
    "process_cpu_seconds": "counter",
    "process_resident_memory_bytes": "gauge",
    "process_virtual_memory_bytes": "gauge",
    "otelmon_process_proportional_memory_bytes": "gauge",
    "process_open_fds": "gauge",
    "process_max_fds": "gauge",
    "process_threads": "gauge",
    "process_start_time_seconds": "gauge",
    "python_gc_collections": "counter",
    "otelmon_gc_pause_seconds": "counter",
    "otelmon_start_time_seconds": "gauge",
    "otelmon_workers": "gauge",
    "otelmon_capacity": "gauge",
    "otelmon_worker_requests": "counter",
    "otelmon_worker_requests_active": "gauge",
    "otelmon_worker_beat_age_seconds": "gauge",
    "otelmon_worker_starts": "counter",
    "otelmon_worker_deaths": "counter",
    "otelmon_accept_backlog": "gauge",
    "otelmon_ledger_complete": "gauge",
    "otelmon_series": "gauge",
    "otelmon_collector_last_run_timestamp_seconds": "gauge",
    "otelmon_keeper_age_seconds": "gauge",
    "otelmon_build_info": "gauge",
}


@pytest.mark.parametrize("openmetrics", [False, True])
def test_families_are_there_before_any_request(openmetrics: bool) -> None:
    """A new instance names all families with their types, and nothing beside them."""
    found = families(
        text(Counts().read(), published(), openmetrics=openmetrics), openmetrics=openmetrics
    )

    assert {name: each.type for name, each in found.items()} == SEED_FAMILIES | OWN_FAMILIES
    assert all(each.documentation.endswith(".") for each in found.values())


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

    def test_two_threads_may_learn_the_same(self) -> None:
        """Both extend the plan that they found, and neither sees what the other does."""
        counts = Counts()
        renderer = Renderer(version="1.2.3")
        counts.request("/a")
        renderer.text(counts.read(), None, openmetrics=False)
        found = renderer._plan
        counts.add(ORDERS, shop="a")
        reading = counts.read()

        for plan in (found.upto(reading.series), found.upto(reading.series)):
            document = b"".join(plan.samples(reading, openmetrics=False))
            assert document.decode() in text(reading)
            assert b"shop_orders_total" in document

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
    counts = Counts(series_limit=20_000, total_limit=20_000)
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
