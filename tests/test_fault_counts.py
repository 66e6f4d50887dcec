"""What failed inside otelmon, counted over all processes of an instance."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from otelmon import faults
from otelmon.ledger.fault_counts import FAULTS, LASTING, counted
from otelmon.ledger.ledger import Ledger
from otelmon.metrics import rows
from tests.endpoints import ops
from tests.forks import Child
from tests.gunicorn_server import Gunicorn
from tests.prometheus_text import value
from tests.recorder import Recorder, this_instance
from tests.sources import Counts, ask, published
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psutil

    from tests.gunicorn_server import Answer


class Failing(Recorder):
    """A worker in which something fails."""

    def fail(self, kind: str, times: int = 1) -> None:
        """Report failures."""
        for _ in range(times):
            faults.report(kind, OSError())

    def beat(self) -> None:
        """Beat."""
        self.ledger.beat(draining=False)

    def close(self) -> None:
        """Serve no longer."""
        self.ledger.close()

    def again(self, place: Path) -> None:
        """Serve again, as a process that wraps an application anew."""
        self.ledger = Ledger()
        self.ledger.serve(place, this_instance())

    def counted(self) -> dict[str, int]:
        """Return what is in the ledger."""
        return counted(self.ledger.read())


def failing(place: Path) -> Child[Failing]:
    """Return a worker of the one instance."""
    instance = this_instance()
    return Child(lambda: Failing(place, instance))


def test_all_processes_are_added_up_through_deaths(tmp_path: Path) -> None:
    """Each beat books what is new, once; what was booked stays when its process is killed."""
    with failing(tmp_path) as first, failing(tmp_path) as second:
        first.call(Failing.fail, "one", 3)
        assert second.call(Failing.counted) == {}
        for _ in range(3):
            first.call(Failing.beat)
        assert second.call(Failing.counted) == {"one": 3}
        second.call(Failing.fail, "one", 2)
        second.call(Failing.fail, "two")
        second.call(Failing.beat)
        first.call(Failing.fail, "one")
        first.call(Failing.beat)
        assert first.call(Failing.counted) == {"one": 6, "two": 1}
        first.kill()
        assert second.call(Failing.counted) == {"one": 6, "two": 1}


def test_the_end_books_the_rest_and_a_new_beginning_nothing_twice(tmp_path: Path) -> None:
    """What fails after the last beat is booked at a clean end; serving again adds only what is new."""
    with failing(tmp_path) as first, failing(tmp_path) as second:
        first.call(Failing.fail, "one", 2)
        first.call(Failing.beat)
        first.call(Failing.fail, "one")
        first.call(Failing.close)
        assert second.call(Failing.counted) == {"one": 3}
        first.call(Failing.again, tmp_path)
        first.call(Failing.beat)
        first.call(Failing.fail, "one")
        first.call(Failing.beat)
        assert second.call(Failing.counted) == {"one": 4}


def test_a_forked_child_books_only_its_own(tmp_path: Path) -> None:
    """What its parent saw and had not booked yet is its parent's to book."""
    parent = Failing(tmp_path, this_instance())
    parent.fail("parents")
    with failing(tmp_path) as child:
        child.call(Failing.fail, "childs")
        child.call(Failing.beat)
        assert child.call(Failing.counted) == {"childs": 1}
    parent.beat()
    assert parent.counted() == {"childs": 1, "parents": 1}
    parent.close()


def test_kinds_without_a_series_are_counted_together() -> None:
    """Past the limit of series they are `_OTHER`, and to look for one is no fault of its own."""
    counts = Counts(series_limit=3)
    for number in range(5):
        faults.report(f"kind{number}", OSError())
    for _ in range(2):
        counts.read()

    assert counted(counts.read()) == {"kind0": 1, "kind1": 1, faults.OTHERS: 3}
    assert len(faults.seen()) == 5


def test_the_lasting_kind_is_there_before_it_is_needed() -> None:
    """It has its series, at 0, from the first beat on, and is no fault yet."""
    reading = Counts().read()

    shown = [row for row in rows.of_ledger(reading) if row.instrument == FAULTS]
    assert [(dict(row.attributes), row.value) for row in shown] == [({"kind": LASTING}, 0)]
    assert counted(reading) == {}
    assert json.loads(ask(ops(counted=reading), "/health").body)["otelmon"]["faults"] == {}


@pytest.mark.parametrize("kind", ["view", LASTING])
def test_what_failed_elsewhere_is_shown_without_its_error(kind: str) -> None:
    """Class and time are null where the answering process saw none; only what lasts degrades."""
    counts = Counts()
    faults.report(kind, OSError())
    reading = counts.read()
    faults.forget()

    found = health(ask(ops(counted=reading, said=published()), "/health"))
    assert found["faults"] == {kind: {"times": 1, "error": None, "last": None}}
    assert found["status"] == ("degraded" if kind == LASTING else "healthy")

    for _ in range(2):
        faults.report(kind, KeyError(), of="/part")
    shown = health(ask(ops(counted=reading, said=published()), "/health"))["faults"][kind]
    assert (shown["times"], shown["error"]) == (2, "KeyError")
    assert list(shown["each"]) == ["/part"]


def health(answer: Answer | Any) -> dict[str, Any]:  # noqa: ANN401 - of a server or a fake
    """Return status and faults."""
    found = json.loads(answer.body)
    return {"status": found["status"], "faults": found["otelmon"]["faults"]}


# -- under gunicorn ------------------------------------------------------------------------------


@pytest.fixture(name="server")
def _server(tmp_path: Path) -> Iterator[Gunicorn]:
    """Yield a server with three workers and a process of its own for the metrics port."""
    with Gunicorn(
        tmp_path,
        app="tests.apps.failing:app",
        workers=3,
        args=("-c", "python:otelmon.gunicorn"),
    ) as server:
        server.wait_for_workers()
        yield server


def shown(server: Gunicorn, worker: psutil.Process | None, kind: str) -> Any:  # noqa: ANN401 - JSON
    """Return a fault as a worker's /health has it, or that of the metrics port."""
    if worker is None:
        return health(server.ops("/health"))["faults"].get(kind)
    with server.only(worker):
        return health(server.get("/health"))["faults"].get(kind)


def total(server: Gunicorn, kind: str) -> float | None:
    """Return how often it failed, as Prometheus is told on the metrics port."""
    return value(server.ops("/metrics").text, "otelmon_faults_total", kind=kind)


def test_a_fault_of_one_worker_is_shown_by_all_and_outlives_it(server: Gunicorn) -> None:
    """By its neighbours, the metrics port and Prometheus, also after the worker was killed."""
    first, second, _ = server.workers()
    with server.only(first):
        for _ in range(3):
            server.get("/fault/planned")
    assert until(lambda: total(server, "planned") == 3, 60), server.log
    own = shown(server, first, "planned")
    assert (own["times"], own["error"]) == (3, "PlannedError")
    elsewhere = {"times": 3, "error": None, "last": None}
    assert shown(server, second, "planned") == elsewhere
    assert shown(server, None, "planned") == elsewhere

    first.kill()
    assert until(lambda: len(server.workers()) == 3 and first not in server.workers(), 60)
    server.wait_for_workers()
    with server.only(second):
        server.get("/fault/planned")
    assert until(lambda: total(server, "planned") == 4, 60), server.log
    assert shown(server, None, "planned")["times"] == 4
    assert server.log.count("planned failed: PlannedError.") == 2


def test_what_fails_at_a_workers_end_is_counted(server: Gunicorn) -> None:
    """A worker that is asked to end books what failed after its last beat."""
    worker, *_ = server.workers()
    with server.only(worker):
        server.get("/at-exit/last_words")
    worker.send_signal(signal.SIGTERM)

    assert until(lambda: total(server, "last_words") == 1, 60), server.log
    assert shown(server, None, "last_words")["times"] == 1
