"""The JSON endpoints of a real gunicorn, over HTTP: every key of the specification, sane and exact."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import psutil
import pytest

from tests.gunicorn_server import Answer, Gunicorn, ask
from tests.http_servers import raw
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator


Json = Any

DATA: Final = Path(__file__).resolve().parent / "data"
SAMPLES: Final[dict[str, Json]] = {
    "/health": json.loads((DATA / "seed_health.json").read_text()),
    "/api/metrics": json.loads((DATA / "seed_metrics.json").read_text()),
    "/api/metrics/recommendations": json.loads((DATA / "seed_recommendations.json").read_text()),
}
SAMPLES["/api/metrics/health"] = SAMPLES["/health"]["monitoring"]
PROBES: Final = ("/livez", "/readyz")
PATHS: Final = (*SAMPLES, *PROBES)
# Nothing of the kind is observed yet.
UNKNOWN: Final = {"cache_hit_rate", "database_connections", "redis_connections"}

TOKEN: Final = "a-token=of/the_test"
BEARER: Final = f"Bearer {TOKEN}"
BASIC: Final = "Basic " + base64.b64encode(f"anybody:{TOKEN}".encode()).decode()
WELL: Final = 60
ILL: Final = 20


class Served(NamedTuple):
    """A server, and what `/api/metrics` said after 60 requests that went well and 20 that did not."""

    server: Gunicorn
    said: Json


@pytest.fixture(name="served", scope="module")
def _served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    env = {
        "MONITORING_INTERVAL": "1",
        "DISK_PATH": "/",
        # A quarter of the requests fails: half a minute later that would be an alert.
        "ALERT_ERROR_RATE_THRESHOLD": "off",
        "ALERT_RESPONSE_TIME_THRESHOLD": "off",
    }
    with Gunicorn(tmp_path_factory.mktemp("open"), env=env) as server:
        server.wait_for_workers()
        # The window begins with the keeper's first sample.
        assert until(lambda: server.get("/api/metrics").json()["system"]["timestamp"]), server.log
        for number in range(WELL + ILL):
            server.get("/status/500" if number < ILL else "/slow/0.001")
        assert until(lambda: _application(server)["error_rate"] == 25), server.log
        yield Served(server, server.get("/api/metrics").json())


@pytest.fixture(name="server")
def _server(served: Served) -> Gunicorn:
    return served.server


def _application(server: Gunicorn) -> Json:
    return server.get("/api/metrics").json()["application"]


@pytest.fixture(name="guarded", scope="module")
def _guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gunicorn]:
    """Serve under a token, a prefix and a mount point."""
    env = {"OTELMON_TOKEN": TOKEN, "OTELMON_PREFIX": "/ops", "SCRIPT_NAME": "/shop"}
    with Gunicorn(tmp_path_factory.mktemp("guarded"), workers=1, env=env) as server:
        assert until(lambda: server.try_ops("/livez") is not None, 60), server.log
        yield server


def _differences(said: Json, sample: Json, name: str = "") -> list[str]:
    """Return what of a sample's keys is absent, or of another kind."""
    if isinstance(sample, dict):
        assert isinstance(said, dict), name
        absent = [f"{name}.{key} is absent" for key in sample.keys() - said.keys()]
        return absent + [
            difference
            for key in sample.keys() & said.keys()
            for difference in _differences(said[key], sample[key], f"{name}.{key}")
        ]
    if name.rpartition(".")[2] in UNKNOWN:
        return [] if said is None else [f"{name} is {said!r}"]
    kinds = (int, float) if isinstance(sample, float) else (type(sample),)
    return [] if type(said) in kinds else [f"{name} is {said!r}"]


@pytest.mark.parametrize("path", SAMPLES)
def test_every_key_of_the_specification_is_there(server: Gunicorn, path: str) -> None:
    """Each has the kind of value that it has in the sample, on both ports."""
    # Of a minute without a request there is neither a time nor a share of errors.
    server.get("/ok")
    assert until(lambda: _application(server)["error_rate"] is not None), server.log
    for answer in (server.get(path), server.ops(path)):
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/json"
        assert _differences(answer.json(), SAMPLES[path]) == []


def test_the_system_is_this_machine(server: Gunicorn) -> None:
    """Parts make up their whole, shares are percentages, counts are those of this machine."""
    said = server.get("/api/metrics").json()["system"]

    assert said["memory_used"] + said["memory_available"] == said["memory_total"]
    assert said["memory_total"] == psutil.virtual_memory().total
    assert said["memory_percent"] == pytest.approx(
        100 * said["memory_used"] / said["memory_total"], abs=0.06
    )
    assert said["disk_total"] == psutil.disk_usage("/").total
    assert 0 < said["disk_used"] + said["disk_free"] <= said["disk_total"]
    assert said["disk_percent"] == pytest.approx(
        100 * said["disk_used"] / (said["disk_used"] + said["disk_free"]), abs=0.06
    )
    assert all(0 <= said[name] <= 100 for name in said if name.endswith("_percent"))
    assert said["cpu_count"] == psutil.cpu_count()
    # The server, its workers and this test are among them.
    assert 6 <= said["process_count"] <= said["thread_count"]
    assert said["network_bytes_sent"] >= 0
    assert said["network_bytes_recv"] >= 0
    assert said["load_avg"] >= 0


def test_the_application_is_what_was_asked_of_it(served: Served) -> None:
    """Requests, share of errors and time are those of the traffic, and nobody is in flight."""
    said = served.said["application"]

    assert said["request_count"] == WELL + ILL
    assert said["error_rate"] == 100 * ILL / (WELL + ILL)
    assert 0 < said["request_rate"] <= WELL + ILL
    assert 0 < said["avg_response_time"] < 10_000
    assert said["active_connections"] == 0


def test_a_request_in_flight_is_seen_from_outside(server: Gunicorn) -> None:
    """While a client takes its answer `active_connections` is 1, and the asking one is not in it."""
    assert until(lambda: _application(server)["active_connections"] == 0)
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        client.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        assert until(lambda: _application(server)["active_connections"] == 1)
        assert server.get("/api/metrics").json()["workers"]["busy"] == 1
    assert until(lambda: _application(server)["active_connections"] == 0)


def test_times_are_of_now_in_utc(server: Gunicorn) -> None:
    """ISO 8601 with a Z, between the question and the answer; recommendations in whole seconds."""
    before = time.time_ns() / 1e9 - 0.001
    said = server.get("/api/metrics").json()
    health = server.get("/health").json()
    unix = server.get("/api/metrics/recommendations").json()["timestamp"]
    after = time.time_ns() / 1e9
    system, own = said["system"]["timestamp"], said["application"]["timestamp"]

    for text in (said["timestamp"], own, health["timestamp"]):
        assert before <= _unix(text) <= after
    assert _unix(system) <= after
    assert int(before) <= unix <= after


def _unix(text: str) -> float:
    assert text.endswith("Z")
    assert datetime.fromisoformat(text).tzinfo == UTC
    return datetime.fromisoformat(text).timestamp()


def test_health_is_one_story(server: Gunicorn) -> None:
    """`/health` holds what `/api/metrics/health` says, and both what `/api/metrics` does."""
    whole = server.get("/health").json()
    part = server.get("/api/metrics/health").json()

    assert whole["status"] == whole["monitoring"]["status"] == part["status"] == "healthy"
    assert whole["version"] == "1.0.0"
    assert whole["monitoring"].keys() == part.keys()
    assert part["alerts"] == {"critical": 0, "warning": 0, "total": 0}
    assert server.get("/api/metrics").json()["alerts"] == []


def test_head_sends_no_body(server: Gunicorn) -> None:
    """On the wire HEAD is the head alone, with the length that GET has, on both ports."""
    for port in (server.port, server.metrics_port):
        for path in PATHS:
            head, mark, body = raw(port, "HEAD", path).partition(b"\r\n\r\n")

            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert (mark, body) == (b"\r\n\r\n", b"")
            assert b"Cache-Control: no-store" in head
            assert until(lambda: _lengths_agree(port, path)), path  # noqa: B023
    # gunicorn says so when it has to drop a body.
    assert "no-body response" not in server.log


def _lengths_agree(port: int, path: str) -> bool:
    """Tell whether HEAD has the length of a GET right behind it.

    The figures of two moments may differ by some digits, and by whole rows where in between the
    keeper has looked, or a minute was over.
    """
    head = raw(port, "HEAD", path).partition(b"\r\n\r\n")[0]
    (length,) = (line for line in head.split(b"\r\n") if line.startswith(b"Content-Length: "))
    return abs(int(length.split()[1]) - len(ask(port, path).body)) < 20


def test_other_methods_are_refused(server: Gunicorn) -> None:
    """405 says what is allowed, whatever body was sent with it."""
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"):
        for path in (*PATHS, "/metrics"):
            answer = server.get(path, method=method, body=b"x" * 999)
            assert answer.status == 405, f"{method} {path}"
            assert answer.headers["Allow"] == "GET, HEAD"
            assert answer.headers["Cache-Control"] == "no-store"


def test_our_own_paths_are_no_traffic(server: Gunicorn) -> None:
    """Whoever asks them, and however wrongly, the counts stay those of the application."""
    assert until(lambda: _application(server)["active_connections"] == 0)
    before = _application(server)["request_count"]
    for path in (*PATHS, "/metrics"):
        for method in ("GET", "HEAD", "POST"):
            server.get(path, method=method)
            server.ops(path, method=method)

    assert _application(server)["request_count"] == before
    assert 'endpoint="/health"' not in server.get("/metrics").text


def test_a_proxy_may_name_the_mount_point(server: Gunicorn) -> None:
    """Under a SCRIPT_NAME that the request brings, our paths are below it."""
    for path in PATHS:
        assert server.get(f"/shop{path}", headers={"SCRIPT_NAME": "/shop"}).status == 200
        assert server.get(f"/shop{path}").text == "missing"


class TestGuarded:
    """A server with token, prefix and mount point."""

    @pytest.mark.parametrize("authorization", [BEARER, BASIC], ids=["bearer", "basic"])
    def test_the_token_opens_both_ports(self, guarded: Gunicorn, authorization: str) -> None:
        """With it every page is 200: below mount and prefix, and on the metrics port."""
        headers = {"Authorization": authorization}

        for path in (*SAMPLES, "/metrics"):
            assert guarded.get(f"/shop/ops{path}", headers=headers).status == 200, path
            assert guarded.ops(path, headers=headers).status == 200, path

    @pytest.mark.parametrize("authorization", [None, f"{BEARER}x", "Bearer", "Basic Og=="])
    def test_without_it_nothing_is_told(self, guarded: Gunicorn, authorization: str | None) -> None:
        """On both ports 401 with a challenge, and not one figure."""
        headers = {} if authorization is None else {"Authorization": authorization}

        for path in {*SAMPLES, "/metrics"} - {"/health"}:
            for answer in (
                guarded.get(f"/shop/ops{path}", headers=headers),
                guarded.ops(path, headers=headers),
            ):
                assert answer.status == 401, path
                assert _challenges(answer)
                assert answer.json().keys() == {"error"}

    def test_strangers_learn_how_it_stands(self, guarded: Gunicorn) -> None:
        """`/health` is status and timestamp to them, and the probes stay open."""
        for answer in (guarded.get("/shop/ops/health"), guarded.ops("/health")):
            assert answer.status == 200
            assert answer.json().keys() == {"status", "timestamp"}
        for path in PROBES:
            assert guarded.get(f"/shop/ops{path}").json() == {"status": "ok"}
            assert guarded.ops(path).json() == {"status": "ok"}

    def test_the_old_paths_are_the_applications(self, guarded: Gunicorn) -> None:
        """Without the prefix it is the application that answers."""
        for path in (*PATHS, "/metrics"):
            answer = guarded.get(f"/shop{path}")
            assert (answer.status, answer.text) == (404, "missing"), path

    def test_the_token_is_in_no_answer(self, guarded: Gunicorn) -> None:
        """Nor is it in the log."""
        for path in (*PATHS, "/metrics"):
            answer = guarded.get(f"/shop/ops{path}", headers={"Authorization": BEARER})
            assert TOKEN not in answer.text
        assert TOKEN not in guarded.log


def _challenges(answer: Answer) -> bool:
    # waitress spells names its own way; and of two headers with one name a dict keeps the last.
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return headers["www-authenticate"].startswith(("Bearer ", "Basic "))


def test_nothing_on_the_wire_upsets_it(server: Gunicorn) -> None:
    """Queries, odd headers and old HTTP are answered as if they were not there."""
    assert server.get("/health?x=%00&y=<script>").json()["status"] == "healthy"
    odd = {"Accept": "application/json;q=x", "Accept-Encoding": "gzip;q=2", "If-None-Match": "*"}
    assert server.get("/health", headers=odd).status == 200
    connection = http.client.HTTPConnection("127.0.0.1", server.metrics_port, timeout=60)
    try:
        for path in PATHS:
            connection.request("GET", path)
            # On one connection: what is left over of one answer would spoil the next.
            assert json.loads(connection.getresponse().read())
    finally:
        connection.close()
    assert ask(server.metrics_port, "/nothing").status == 404
