"""Beside another set-up of OpenTelemetry nothing is counted twice, and it is said who records."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from tests.gunicorn_server import Gunicorn
from tests.scrapes import samples, total
from tests.waiting import until


PAGES: Final = 40
STABLE: Final = {"OTEL_SEMCONV_STABILITY_OPT_IN": "http"}
THEIRS: Final = "http_server_request_duration_seconds_count"
INSTRUMENT: Final = str(Path(sys.executable).with_name("opentelemetry-instrument"))


def visited(server: Gunicorn) -> dict[str, float]:
    """Visit forty pages; return what is scraped then."""
    server.wait_for_workers()
    with ThreadPoolExecutor(4) as clients:
        answers = clients.map(lambda n: server.get(f"/page/{n}", timeout=60), range(PAGES))
        assert {answer.status for answer in answers} == {200}

    def booked() -> bool:
        return total(samples(server.get("/metrics").text), "app_requests_total") == PAGES

    assert until(booked), server.get("/metrics").text
    return samples(server.get("/metrics").text)


def told(server: Gunicorn) -> str:
    """Return what `/health` says of the API."""
    answer: str = server.get("/health").json()["otelmon"]["opentelemetry"]
    return answer


def flask(directory: Path, *, prefix: tuple[str, ...] = (), **env: str) -> Gunicorn:
    """Return a server of the Flask application."""
    app = "tests.apps.instrumented_flask:app"
    return Gunicorn(directory, app=app, workers=2, env={**STABLE, **env}, prefix=prefix)


def test_their_instrumentation_records_here_and_is_exact(tmp_path: Path) -> None:
    """What instrumentation of Flask measures is of all workers, beside our count and not in it."""
    with flask(tmp_path, INSTRUMENT="yes") as server:
        found = visited(server)
        assert total(found, THEIRS) == PAGES
        assert total(found, "shop_pages_total") == PAGES
        assert told(server).startswith("global")


@pytest.mark.parametrize("names", ["semconv", "both"])
def test_their_series_never_mix_with_ours(tmp_path: Path, names: str) -> None:
    """Under the names of the conventions the family is ours alone, and theirs is told to be hidden."""
    with flask(tmp_path, INSTRUMENT="yes", OTELMON_PROMETHEUS_NAMES=names) as server:
        server.wait_for_workers()
        for number in range(10):
            server.get(f"/page/{number}")

        def counted() -> bool:
            return total(samples(server.get("/metrics").text), THEIRS) == 10

        assert until(counted), server.get("/metrics").text
        assert "'opentelemetry.instrumentation.flask' is not in the Prometheus text" in server.log


def test_a_users_own_provider_stays_what_it_is(tmp_path: Path) -> None:
    """The application's provider gets what is made through the API, requests are counted by us."""
    with flask(tmp_path, INSTRUMENT="yes", OWN_PROVIDER="yes") as server:
        found = visited(server)
        assert total(found, THEIRS) == 0
        assert total(found, "shop_pages_total") == 0
        assert told(server).startswith("beside opentelemetry.sdk.metrics")


def test_spans_are_theirs_alone(tmp_path: Path) -> None:
    """A request makes one span, that of their instrumentation."""
    with flask(tmp_path, INSTRUMENT="yes", OWN_SPANS="yes") as server:
        visited(server)
        spans: dict[str, list[str]] = {}

        def all_told() -> bool:
            answer = server.get("/spans")
            spans[answer.headers["X-Pid"]] = answer.json()
            return len(spans) == 2

        assert until(all_told), server.log
        names = [name for told in spans.values() for name in told]
        assert names == ["GET /page/<int:number>"] * PAGES


@pytest.mark.parametrize("exporter", ["console", "none"])
def test_under_opentelemetry_instrument_nothing_is_counted_twice(
    tmp_path: Path, exporter: str
) -> None:
    """The command's SDK keeps what is its own; our figures are exact, and /health tells of it."""
    env = {"OTEL_METRICS_EXPORTER": exporter, "OTEL_TRACES_EXPORTER": "none"}
    with flask(tmp_path, prefix=(INSTRUMENT,), OTEL_LOGS_EXPORTER="none", **env) as server:
        found = visited(server)
        assert total(found, "app_request_duration_seconds_count") == PAGES
        assert total(found, "shop_pages_total") == 0
        assert told(server).startswith("beside opentelemetry.sdk.metrics")


def test_switched_off_by_the_standard_variable_nothing_of_the_api_is_recorded(
    tmp_path: Path,
) -> None:
    """OTEL_SDK_DISABLED leaves requests counted, and nothing that is made through the API."""
    with flask(tmp_path, INSTRUMENT="yes", OTEL_SDK_DISABLED="true") as server:
        found = visited(server)
        assert total(found, THEIRS) == total(found, "shop_pages_total") == 0
        assert told(server).startswith("off")
