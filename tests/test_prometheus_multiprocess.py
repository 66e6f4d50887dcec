"""What an application measures with prometheus_client stands behind ours, until it has moved."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from tests.gunicorn_server import Gunicorn
from tests.scrapes import samples, total
from tests.waiting import until


if TYPE_CHECKING:
    from pathlib import Path


OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


def test_metrics_of_all_workers_are_appended(tmp_path: Path) -> None:
    """Their families follow ours in both formats, and a name that is ours stays ours."""
    files = tmp_path / "files"
    files.mkdir()
    env = {"PROMETHEUS_MULTIPROC_DIR": str(files)}
    with Gunicorn(tmp_path, app="tests.apps.moving:app", env=env) as server:
        server.wait_for_workers()
        with ThreadPoolExecutor(4) as clients:
            list(clients.map(lambda _: server.get("/", timeout=60), range(40)))

        def booked() -> bool:
            return total(samples(server.get("/metrics").text), "app_requests_total") == 40

        assert until(booked), server.get("/metrics").text
        for answer in (server.get("/metrics"), server.ops("/metrics")):
            found = samples(answer.text)
            assert found['legacy_orders_total{kind="web"}'] == 40
            assert found['legacy_wait_seconds_bucket{le="1.0"}'] == 40
            names = [family.name for family in plain(answer.text)]
            assert len(names) == len(set(names))
        answer = server.get("/metrics", headers=OPENMETRICS)
        families = {family.name: family for family in openmetrics(answer.text)}  # type: ignore[no-untyped-call]
        assert {"legacy_orders", "legacy_wait_seconds", "app_requests"} <= set(families)
        assert sum(sample.value for sample in families["app_requests"].samples) == 40
        assert "'app_requests' is left out" in server.log


def test_a_directory_that_is_none_costs_nothing_else(tmp_path: Path) -> None:
    """If their files cannot be read the rest is shown, and /health tells of it."""
    env = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "missing")}
    with Gunicorn(tmp_path, workers=1, env=env) as server:
        server.wait_for_workers()
        server.get("/ok")
        assert "app_requests_total" in server.get("/metrics").text
        assert "prometheus_client" in server.get("/health").json()["otelmon"]["faults"]
