"""Processes that count many histogram sets and answer scrapes, as each library would have them.

One set is one route of an application: the same three labels and 14 bounds everywhere. Each process
is a forked child; a scrape is answered by one of them, without HTTP.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from otelmon.ledger.identity import identify
from otelmon.ledger.layout import LANE_STARTED
from otelmon.ledger.ledger import Ledger
from otelmon.ledger.requests import DURATION, SECONDS
from otelmon.settings import Settings
from otelmon.views.ops import OpsApp


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from otelmon.board import Published
    from otelmon.ledger.pen import Pen
    from otelmon.ledger.reader import Reading
    from otelmon.metrics.past import Past


class Scrape(NamedTuple):
    """What an answer cost, and what it said."""

    seconds: float  # CPU time
    size: int  # bytes
    sets: int
    observations: int  # in all sets


class Contender:
    """One process of a library, whose own class says how it records and is scraped.

    *place* is the directory that all processes of the instance share.
    """

    def __init__(self, place: Path) -> None:
        """Be ready to record; nothing is taken yet."""
        self._place = place

    def record(self, sets: range) -> None:
        """Make one observation in each of *sets*."""
        raise NotImplementedError  # each library's own, as is the answer

    def text(self) -> bytes:
        """Answer a scrape."""
        raise NotImplementedError

    def bury(self, pid: int) -> None:
        """Do what the library wants to be done about a dead process."""


def record(contender: Contender, sets: range) -> None:
    """Make one observation in each of *sets*."""
    contender.record(sets)


def scrape(contender: Contender) -> Scrape:
    """Measure an answer."""
    began = time.process_time()
    text = contender.text()
    seconds = time.process_time() - began
    counts = [int(float(count)) for count in _COUNT.findall(text)]
    return Scrape(seconds, len(text), len(counts), sum(counts))


def recycle(contender: Contender, sets: range, times: int, seconds: float) -> int:
    """Have children of this process record and be killed, one after the other; return how many.

    It stops after *seconds*.
    """
    deadline = time.monotonic() + seconds
    for number in range(times):
        if time.monotonic() > deadline:
            return number
        pid = os.fork()
        if pid == 0:
            try:
                contender.record(sets)
            finally:
                os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(pid, 0)
        contender.bury(pid)
    return times


_COUNT = re.compile(rb"^[a-z_]+_duration_seconds_count\{.*\} ([0-9.e+]+)$", re.MULTILINE)


def route(number: int) -> str:
    """Return the label that makes a set."""
    return f"/shop/items/{number}"


class Otelmon(Contender):
    """A worker's ledger, and the endpoint `/metrics` over it."""

    def __init__(self, place: Path) -> None:
        """Mount the endpoint."""
        super().__init__(place)
        self.settings = Settings(enable_prometheus=True)
        self._ledger = Ledger(series_limit=20_000, total_limit=100_000)
        self._endpoint = OpsApp(self, fallback=None).paths["/metrics"]

    def record(self, sets: range) -> None:
        """Count requests as the middleware does, with a slot of this process's own."""
        pen = self._ledger.pen or self._serve()
        # So that what others have met is known, and no process waits for another to make it.
        self._ledger.read()
        for number in sets:
            attributes = (
                ("http.request.method", "GET"),
                ("http.response.status_code", 200),
                ("http.route", route(number)),
                ("otelmon.outcome", "ok"),
            )
            series = self._ledger.series(DURATION, attributes)
            assert series is not None
            pen.add([(LANE_STARTED, 1), (series.base, 1), (series.base + len(SECONDS) + 1, 5000)])

    def _serve(self) -> Pen:
        identity = identify([], name="bench", parent=os.getppid())
        assert identity is not None
        return self._ledger.serve(self._place, identity)

    def text(self) -> bytes:
        """Call the endpoint."""
        return b"".join(self._endpoint({"REQUEST_METHOD": "GET"}, _start_response))

    # -- what the endpoint asks for --------------------------------------------------------------

    def reading(self) -> Reading | None:
        """Merge all slots."""
        return self._ledger.read()

    def published(self) -> Published | None:
        """Say nothing of the host: nobody is the keeper here."""
        return None

    def past(self) -> Past | None:
        """Remember nothing."""
        return None

    def checks(self) -> None:
        """Have no health checks."""

    def advice(self) -> None:
        """Advise nothing."""

    def adopted(self) -> str:
        """Say nothing of the API."""
        return ""

    def dropped(self) -> int:
        """Have no ancestors."""
        return 0

    def draining(self) -> bool:
        """Serve on."""
        return False

    def port(self) -> Mapping[str, object]:
        """Have no metrics port."""
        return {"state": "off"}


def _start_response(*_: object) -> Callable[[bytes], object]:
    return len


class PrometheusClient(Contender):
    """prometheus_client in its multiprocess mode: one file per process and type of metric."""

    def __init__(self, place: Path) -> None:
        """Import it, which finds the directory."""
        super().__init__(place)
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(place)  # noqa: TID251 - read at the import
        from prometheus_client import Histogram

        self._histogram = Histogram(
            "http_request_duration_seconds",
            "Time of a request.",
            ["method", "route", "status"],
            buckets=SECONDS,
        )

    def record(self, sets: range) -> None:
        """Observe."""
        for number in sets:
            self._histogram.labels("GET", route(number), "200").observe(0.000005)

    def text(self) -> bytes:
        """Read all files, as its documentation has it."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    def bury(self, pid: int) -> None:
        """Call what its documentation wants to be called in gunicorn's child_exit."""
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(pid)  # type: ignore[no-untyped-call]


class OpenTelemetry(Contender):
    """The SDK and its Prometheus exporter, which knows one process."""

    def __init__(self, place: Path) -> None:
        """Make a provider."""
        from opentelemetry.exporter.prometheus import PrometheusMetricReader
        from opentelemetry.sdk.metrics import MeterProvider
        from prometheus_client import CollectorRegistry

        super().__init__(place)
        self._registry = CollectorRegistry()
        provider = MeterProvider([PrometheusMetricReader(registry=self._registry)])
        self._histogram = provider.get_meter("bench").create_histogram(
            "http.request.duration", "s", explicit_bucket_boundaries_advisory=SECONDS
        )

    def record(self, sets: range) -> None:
        """Record."""
        for number in sets:
            self._histogram.record(
                0.000005, {"method": "GET", "route": route(number), "status": 200}
            )

    def text(self) -> bytes:
        """Collect."""
        from prometheus_client import generate_latest

        return generate_latest(self._registry)


@contextlib.contextmanager
def shared_directory() -> Iterator[Path]:
    """Yield a directory in memory where the system has one: nobody would choose a disk here."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as made:
        yield Path(made)


def files(place: Path) -> tuple[int, int]:
    """Return how many files there are and how many bytes they take."""
    found = [path.stat() for path in place.rglob("*") if path.is_file()]
    return len(found), sum(stat.st_blocks * 512 for stat in found)
