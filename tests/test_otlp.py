"""The keeper pushes all that the instance measures to a collector, over OTLP."""

from __future__ import annotations

import contextlib
import http.server
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from opentelemetry.sdk.metrics.export import MetricsData

from otelmon.metrics.otlp import Push
from otelmon.settings import Settings
from tests.free_ports import free_port
from tests.gunicorn_server import Gunicorn
from tests.http_upstream import http_upstream
from tests.otlp_collector import attributes, grpc_collector, received
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


NAMES = {
    "OTEL_SERVICE_NAME": "shop",
    "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
}
OFTEN = {"OTEL_METRIC_EXPORT_INTERVAL": "200", "MONITORING_INTERVAL": "1"}
# For who ends, and has its last push to make.
PATIENT: dict[str, Any] = {
    "app": "tests.apps.patient_push:app",
    "args": ("--graceful-timeout", "30"),
}
COLLECTORS = {"http/protobuf": http_upstream, "grpc": grpc_collector}


def environment(address: str, protocol: str = "http/protobuf", **given: str) -> dict[str, str]:
    """Return the variables of a server that pushes, often."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": address,
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        **NAMES,
        **OFTEN,
        **given,
    }


def requests(body: bytes) -> int:
    """Return how many requests a push tells of."""
    metric = received(body)[1].get(("otelmon", "http.server.request.duration"))
    return 0 if metric is None else sum(each.count for each in metric.histogram.data_points)


def said(server: Gunicorn) -> Mapping[str, Any]:
    """Return what `/health` says of the push."""
    answer = server.try_ops("/health")
    found: Mapping[str, Any] | None = None if answer is None else answer.json()["otelmon"]["otlp"]
    return found or {}


def keeper_of(server: Gunicorn) -> int:
    """Return the process id of the keeper, in whose duty the metrics port is."""
    (pid,) = server.listeners()[server.metrics_port]
    return pid


def judge(posted: list[bytes]) -> None:
    """Check that all pushes are of one instance, and go on from each other."""
    resources = [received(body)[0] for body in posted]
    assert len({each["service.instance.id"] for each in resources}) == 1
    assert {each["service.name"] for each in resources} == {"shop"}
    assert {each["deployment.environment.name"] for each in resources} == {"test"}
    counts = [requests(body) for body in posted]
    assert counts == sorted(counts)
    metrics = received(posted[-1])[1]
    started = {
        point.start_time_unix_nano
        for point in metrics["otelmon", "http.server.request.duration"].histogram.data_points
    }
    assert len(started) == 1
    (memory,) = metrics["otelmon.host", "system.memory.limit"].gauge.data_points
    assert attributes(memory) == {}
    assert memory.as_int > 0


@pytest.mark.parametrize("protocol", COLLECTORS)
def test_each_push_is_of_all_workers_and_the_last_misses_nothing(
    tmp_path: Path, protocol: str
) -> None:
    """Sums of all workers under one instance, through a kill of the keeper, to the last request."""
    posted: list[bytes] = []
    with COLLECTORS[protocol](posted) as address:
        with Gunicorn(tmp_path, env=environment(address, protocol), **PATIENT) as server:
            server.wait_for_workers()
            for _ in range(20):
                assert server.get("/ok").status == 200
            assert until(lambda: posted and requests(posted[-1]) == 20), server.log
            keeper = keeper_of(server)
            before = len(posted)
            psutil.Process(keeper).kill()
            # Whoever keeps now goes on with the same sums.
            assert until(lambda: len(posted) > before + 2), server.log
            server.wait_for_workers()
            assert keeper_of(server) != keeper
            for _ in range(20):
                assert server.get("/ok").status == 200
        assert until(lambda: requests(posted[-1]) == 40), server.log
    judge(posted)


def test_the_last_push_is_made_when_the_server_ends(tmp_path: Path) -> None:
    """At an interval of an hour there is one push at the start, and one with all at SIGTERM."""
    posted: list[bytes] = []
    with http_upstream(posted) as address:
        env = environment(address, OTEL_METRIC_EXPORT_INTERVAL="3600000")
        with Gunicorn(tmp_path, workers=1, env=env, **PATIENT) as server:
            server.wait_for_workers()
            assert until(lambda: said(server).get("pushes") == 1), server.log
            for _ in range(5):
                assert server.get("/ok").status == 200
            (first,) = posted
            assert requests(first) == 0
        assert [requests(body) for body in posted] == [0, 5]


def test_an_outage_of_the_collector_is_one_line_and_ends(tmp_path: Path) -> None:
    """While nobody listens requests go on, `/health` says so, and the next push carries all."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    env = environment(address, OTEL_EXPORTER_OTLP_TIMEOUT="1")
    with Gunicorn(tmp_path, workers=2, env=env) as server:
        server.wait_for_workers()
        assert until(lambda: said(server).get("failures", 0) >= 2), server.log
        found = said(server)
        assert (found["state"], found["pushes"], found["error"]) == ("failing", 0, "PushError")
        assert str(port) not in str(found)
        assert server.get("/ok").status == 200
        posted: list[bytes] = []
        with http_upstream(posted, port=port):
            assert until(lambda: said(server).get("state") == "ok"), server.log
            failures = said(server)["failures"]
            assert until(lambda: requests(posted[-1]) == 1), server.log
            # On a busy machine a push takes longer than its second: that is an outage too.
            missed = said(server)["failures"] - failures
        text = server.ops("/metrics").text
        assert "otelmon_otlp_push_failures_total" in text
        assert "otelmon_otlp_pushes_total" in text
    said_so = server.log.count("could not be pushed")
    assert said_so <= 3 + missed, "one line of each keeper's outage, and one of its last push"
    assert server.log.count("Failed to export") <= said_so, "but in that line"


@contextlib.contextmanager
def silent_peer() -> Iterator[str]:
    """Take connections, and never answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken: list[socket.socket] = []

        def take() -> None:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(listener.accept()[0])

        thread = threading.Thread(target=take)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for each in taken:
                each.close()


def test_a_collector_that_hangs_holds_up_nothing(tmp_path: Path) -> None:
    """The keeper samples on beside it and says so, and the server ends by itself when it is asked."""
    # Much longer than gunicorn waits for its workers, so that who waits for the collector is killed.
    hangs = {"OTEL_EXPORTER_OTLP_TIMEOUT": "90", "OTEL_METRIC_EXPORT_TIMEOUT": "1000"}
    args = ("--graceful-timeout", "20")
    with (
        silent_peer() as address,
        Gunicorn(tmp_path, env=environment(address, **hangs), args=args) as server,
    ):
        server.wait_for_workers()
        samples = "/api/metrics/history"
        assert until(lambda: len(server.ops(samples).json()["times"]) >= 3), server.log
        assert until(lambda: said(server).get("state") == "failing"), server.log
        assert server.get("/ok").status == 200
        server.signal(signal.SIGTERM)
        assert until(lambda: not server.workers()), server.log
        assert "SIGKILL" not in server.log


@pytest.mark.parametrize("protocol", COLLECTORS)
@pytest.mark.parametrize(
    "address",
    [
        "http://me:hush@127.0.0.1:1/p?key=hush",
        "http://me:hush@127.0.0.1:99999/",
        "ftp://:hush@x",
    ],
)
def test_no_credentials_of_an_address_are_in_the_log(
    address: str, protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Exporters name the address in what they say of a failure: what is secret of it is left out."""
    settings = Settings.from_env(environment(address, protocol))
    push = Push(settings, lambda: MetricsData([]))
    push._push(0.5)

    (line,) = (each.message for each in caplog.records if each.name == "otelmon")
    assert "could not be pushed" in line
    assert "hush" not in caplog.text + str(push.shown())


def test_a_collector_that_trickles_holds_up_no_end(caplog: pytest.LogCaptureFixture) -> None:
    """An answer that never stands still, and never ends, is left to itself when a process ends."""
    asked, over = threading.Event(), threading.Event()
    with trickling_peer(asked, over) as address:
        push = Push(
            Settings(otlp_endpoint=f"{address}/v1/metrics"),
            lambda: MetricsData(resource_metrics=[]),
        )
        push.tick(None)
        assert until(lambda: (push.shown() or {})["pushes"] == 1), caplog.text
        push.end()
        assert until(asked.is_set)
        assert not over.is_set()


@contextlib.contextmanager
def trickling_peer(asked: threading.Event, over: threading.Event) -> Iterator[str]:
    """Answer one request; of the answer to the next give a byte now and then, for 20 s."""
    ended = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        answered = False

        def do_POST(self) -> None:
            """Answer."""
            self.rfile.read(int(self.headers["Content-Length"]))
            if not Handler.answered:
                Handler.answered = True
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            asked.set()
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Filler: ")
            for _ in range(80):
                if ended.wait(0.25):
                    return
                self.wfile.write(b"a")
            over.set()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            ended.set()
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("end", ["well", "badly"])
def test_a_push_that_hangs_has_failed_once(end: str, caplog: pytest.LogCaptureFixture) -> None:
    """After OTEL_METRIC_EXPORT_TIMEOUT it is shown and counted, not again when it comes back."""
    go = threading.Event()

    def collect() -> MetricsData:
        go.wait(60)
        if end == "badly":
            raise OSError
        return MetricsData(resource_metrics=[])

    with http_upstream([]) as address:
        settings = Settings(otlp_endpoint=f"{address}/v1/metrics", metric_export_timeout=50)
        push = Push(settings, collect)

        def shown() -> Mapping[str, Any]:
            push.tick(None)
            return push.shown() or {}

        assert shown()["state"] == "starting"
        assert until(lambda: shown()["state"] == "failing")
        assert not until(lambda: shown()["failures"] > 1, 0.2)
        assert (shown()["error"], shown()["pushes"]) == ("TimeoutError", 0)
        go.set()
        assert until(lambda: push._errand.idle)
        found = push.shown() or {}
        push.forget()
    assert (found["failures"], found["pushes"]) == (1, int(end == "well"))
    assert (found["failing_since"] is None) == (end == "well")
    assert sum("could not be pushed" in each for each in caplog.messages) == 1


def test_without_the_exporter_s_package_the_log_says_what_to_install(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is broken by it, and the extra is named."""
    module = "opentelemetry.exporter.otlp.proto.http.metric_exporter"
    monkeypatch.setitem(sys.modules, module, None)
    push = Push(Settings(otlp_endpoint="http://127.0.0.1:1/v1/metrics"), object)  # type: ignore[arg-type]
    push.tick(None)
    assert until(lambda: caplog.messages)
    push.forget()
    (line,) = caplog.messages
    assert "pip install 'otelmon[otlp]'" in line


def test_without_a_collector_nothing_is_pushed() -> None:
    """OTLP is off until it is asked for."""
    asked: list[int] = []
    push = Push(Settings(), lambda: asked.append(1))
    push.tick(None)
    push.end()
    assert push.shown() is None
    assert asked == []
