"""The keeper: one at a time, and whoever follows it goes on where it stopped."""

from __future__ import annotations

import signal
import threading
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelmon import board, faults
from otelmon.alerts import watch
from otelmon.board import WINDOW_SECONDS, Point, trimmed
from otelmon.checks.registry import Registry
from otelmon.checks.rounds import Rounds
from otelmon.keeper import Keeper
from otelmon.ledger import layout
from otelmon.ledger.ledger import Ledger
from otelmon.metrics.otlp import Push
from otelmon.metrics.past import Past
from otelmon.recommendations.advisor import Advisor
from otelmon.settings import Settings
from tests import peek
from tests.flight import Flight
from tests.gunicorn_server import Gunicorn
from tests.ports import Clock
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from otelmon.port import Port
    from tests.peek import Board


OFTEN = {"MONITORING_INTERVAL": "1"}


class Watch:
    """Notes every state of a server's board, until the end of its block."""

    def __init__(self, server: Gunicorn) -> None:
        """Know where to look."""
        self.path = peek.ledger(server)
        self.boards: list[Board] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        """Begin to look."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Look no longer."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            found = peek.read_board(self.path)
            if found is not None and (not self.boards or found.number != self.boards[-1].number):
                self.boards.append(found)

    def judge(self) -> None:
        """Check that what was seen is the work of one keeper after the other."""
        for before, after in pairwise(self.boards):
            old, new = before.published, after.published
            # One that comes while this process has no turn is not seen, but for its point.
            since = after.number - before.number
            assert since > 0
            assert new.monotonic > old.monotonic
            # Nobody published beside the keeper, and what it knew was not forgotten.
            assert new.points[:-since] == old.points[-len(new.points) + since :]
            assert new.points[-1].monotonic == new.monotonic
            assert new.host["cpu_percent"] is not None
            assert new.baseline is not None
            assert (new.container_baseline is None) == (new.host["container_cpu_time"] is None)
            # One keeper keeps to the interval; two would publish twice as often.
            assert new.monotonic - old.monotonic > since * 0.5e9


def keeping(server: Gunicorn) -> bool:
    """Tell whether the board has a share of CPU time, which takes two samples."""
    found = peek.read_board(peek.ledger(server))
    return found is not None and found.published.host["cpu_percent"] is not None


def end_keeper(server: Gunicorn, number: signal.Signals) -> None:
    """Send the keeper's and the port's processes a signal."""
    for pid in peek.duty(server) | peek.served(server):
        psutil.Process(pid).send_signal(number)


def kill(server: Gunicorn) -> None:
    """Kill the keeper and whoever serves the port."""
    end_keeper(server, signal.SIGKILL)


def terminate(server: Gunicorn) -> None:
    """Let them end in peace."""
    end_keeper(server, signal.SIGTERM)


def reload(server: Gunicorn) -> None:
    """Replace all workers."""
    server.signal(signal.SIGHUP)


def upgrade(server: Gunicorn) -> None:
    """Replace the arbiter too."""
    server.upgrade()


@pytest.mark.parametrize(
    ("worker_class", "end"),
    [
        ("sync", kill),
        ("sync", terminate),
        ("sync", reload),
        ("sync", upgrade),
        ("gthread", kill),
        ("gthread", reload),
        ("gevent", kill),
        ("gevent", reload),
    ],
)
def test_when_the_keeper_ends_another_goes_on(
    tmp_path: Path, worker_class: str, end: Callable[[Gunicorn], None]
) -> None:
    """However it ends, port and board go on, with one keeper at a time and nothing forgotten."""
    with Gunicorn(tmp_path, workers=3, worker_class=worker_class, env=OFTEN) as server:
        server.wait_for_workers()
        assert until(lambda: keeping(server))
        with Watch(server) as watch:
            assert until(lambda: len(watch.boards) >= 2)
            for _ in range(2):
                before, count = peek.duty(server) | peek.served(server), len(watch.boards)
                end(server)
                assert until(lambda: gone(before)), server.log  # noqa: B023
                assert until(lambda: peek.figures(server) is not None), server.log
                assert until(lambda: len(watch.boards) >= count + 2), server.log  # noqa: B023
                # Between one that ends and the next there may be none, and never two.
                assert until(lambda: len(peek.duty(server)) == 1)
                server.wait_for_workers()
        watch.judge()


def gone(pids: set[int]) -> bool:
    """Tell whether none of the processes lives."""
    return not any(psutil.pid_exists(pid) for pid in pids)


def test_every_keeper_that_is_killed_is_followed_by_one(tmp_path: Path) -> None:
    """Six keepers are killed in a row; after each there is one other holder of the duty."""
    with Gunicorn(tmp_path, env=OFTEN) as server:
        server.wait_for_workers()
        seen: set[int] = set()
        for _ in range(6):
            assert until(lambda: peek.duty(server) - seen)
            (keeper,) = peek.duty(server)
            seen.add(keeper)
            psutil.Process(keeper).kill()
        assert len(seen) == 6


def test_a_keeper_that_stands_still_keeps_its_duty_and_says_so(tmp_path: Path) -> None:
    """A stopped keeper is not doubled; the board grows old, and the age of it is shown."""
    with Gunicorn(tmp_path, workers=2, env=OFTEN) as server:
        server.wait_for_workers()
        assert until(lambda: keeping(server))
        (keeper,) = peek.duty(server)
        process = psutil.Process(keeper)
        process.suspend()
        try:
            other = next(each for each in server.workers() if each.pid != keeper)
            assert until(lambda: asked(server, other)["otelmon"]["keeper"]["age_seconds"] > 3, 25)
            assert peek.duty(server) == {keeper}
        finally:
            process.resume()
        assert until(lambda: asked(server, other)["otelmon"]["keeper"]["age_seconds"] < 2)


def asked(server: Gunicorn, worker: psutil.Process) -> dict[str, Any]:
    """Return `/api/metrics` as one certain worker answers it."""
    while True:
        answer = server.get("/api/metrics")
        if answer.headers["X-Pid"] == str(worker.pid):
            found: dict[str, Any] = answer.json()
            return found


# -- one answer -----------------------------------------------------------------------------------


def comparable(answer: dict[str, Any]) -> dict[str, Any]:
    """Leave out of `/api/metrics` what is of the moment or of the process that answers."""
    answer["application"].pop("timestamp")
    answer.pop("timestamp")
    answer["otelmon"]["keeper"].pop("age_seconds")
    answer["otelmon"]["port"].pop("state")
    answer["otelmon"].pop("faults")
    for worker in answer["workers"]["each"]:
        worker.pop("uptime_seconds")
        worker.pop("beat_age_seconds")
    return answer


@pytest.mark.parametrize("worker_class", ["sync", "gthread", "gevent"])
def test_all_workers_and_the_port_give_one_answer(tmp_path: Path, worker_class: str) -> None:
    """After 40 requests, 4 workers and the metrics port agree on every figure they show."""
    env = {"MONITORING_INTERVAL": "60"}
    with Gunicorn(tmp_path, worker_class=worker_class, env=env) as server:
        server.wait_for_workers()
        for _ in range(40):
            assert server.get("/ok").status == 200
        # The board grows every second in its first minute, so what is compared is of one state.
        assert until(lambda: agree(server)), server.log


def agree(server: Gunicorn) -> bool:
    """Ask everybody between two states of the board; tell whether all said the same."""
    path = peek.ledger(server)
    before = peek.read_board(path)
    said = {0: comparable(server.ops("/api/metrics").json())}
    for worker in server.workers():
        said[worker.pid] = comparable(asked(server, worker))
    if before != peek.read_board(path):
        return False
    answers = list(said.values())
    assert len(answers) == 5
    if answers[0]["application"]["request_count"] < 40:
        # The last one is booked when its client has it already.
        return False
    assert answers[0]["application"]["request_count"] == 40
    return all(answer == answers[0] for answer in answers)


# -- draining -------------------------------------------------------------------------------------


def ready(server: Gunicorn) -> int | None:
    """Return the status of `/readyz` on the metrics port, None if nobody serves it."""
    answer = server.try_ops("/readyz")
    return None if answer is None else answer.status


def said(server: Gunicorn, path: str) -> object:
    """Return an answer of the metrics port, None if nobody serves it."""
    answer = server.try_ops(path)
    return None if answer is None else answer.json()


@pytest.mark.parametrize(
    ("worker_class", "serves_port"),
    [("sync", True), ("sync", False), ("gthread", False), ("gevent", False)],
)
def test_a_server_that_ends_says_so_while_it_still_answers(
    tmp_path: Path, worker_class: str, *, serves_port: bool
) -> None:
    """From SIGTERM on the port says 503 to `/readyz`, 200 to `/livez`, until the last answer."""
    args = ("--graceful-timeout", "30")
    with Gunicorn(tmp_path, workers=3, worker_class=worker_class, args=args) as server:
        server.wait_for_workers()
        assert ready(server) == 200
        at_port = peek.served(server)
        worker = next(each for each in server.workers() if (each.pid in at_port) is serves_port)
        with Flight(server, worker) as flight:
            server.signal(signal.SIGTERM)
            assert until(lambda: ready(server) == 503), server.log
            # Who served the port may be gone by now: it is the last one's then, a moment later.
            assert until(lambda: peek.workers(server, "draining") == 1), server.log
            assert until(lambda: said(server, "/readyz") == {"status": "draining"}), server.log
            assert until(lambda: said(server, "/livez") == {"status": "ok"}), server.log
            assert not flight.landed
        assert flight.answer is not None
        assert flight.answer.text == "held"


def test_a_reload_is_no_end(tmp_path: Path) -> None:
    """Through a SIGHUP with a request in flight `/readyz` never says 503, on any port."""
    with Gunicorn(tmp_path, workers=2, args=("--graceful-timeout", "30")) as server:
        server.wait_for_workers()
        said: set[int | None] = set()
        with Flight(server, server.workers()[0]) as flight:
            server.signal(signal.SIGHUP)

            def seen(condition: Callable[[], bool]) -> bool:
                said.add(ready(server))
                return condition()

            assert until(lambda: seen(lambda: peek.workers(server, "starts") == 4)), server.log
            flight.land()
            assert until(lambda: seen(lambda: len(server.workers()) == 2)), server.log
        assert flight.answer is not None
        assert flight.answer.text == "held"
        assert said <= {200, None}
        server.wait_for_workers()
        assert ready(server) == 200


# -- in one process -------------------------------------------------------------------------------


class Alone:
    """The keeper of a process that shares nothing, or of *ledger*, told when to do its duty."""

    def __init__(
        self,
        ledger: Ledger | None = None,
        *,
        port: Port | None = None,
        measure: Callable[[], object] = lambda: None,
        **given: Any,  # noqa: ANN401 - fields of Settings
    ) -> None:
        """Serve."""
        self.ledger = ledger or Ledger()
        if ledger is None:
            self.ledger.serve_alone()
        assert self.ledger.segment is not None
        self.segment = self.ledger.segment
        settings = Settings(**given)
        self.keeper = Keeper(
            self.ledger,
            settings,
            port=port,
            watch=watch.Watch(settings),
            announce=lambda: None,
            draining=bool,
            descriptors=list,
            measure=measure,
            observe=list,
            checks=Rounds(Registry(), settings),
            advisor=Advisor(settings, server=lambda: None, checks=int),
            push=Push(settings, lambda: None),
        )

    def publish(self) -> None:
        """Publish at once."""
        self.keeper._publish(self.segment, board.read(self.segment))


def test_what_is_published_is_remembered() -> None:
    """Each publication has its snapshot and its point, of one moment."""
    alone = Alone()
    for number in range(1, 4):
        alone.publish()
        said, kept = board.read(alone.segment), Past(alone.segment, number)

        assert board.newest(alone.segment) == number == len(kept.points)
        assert said is not None
        assert kept.newest is not None
        assert said.monotonic == kept.newest.monotonic == kept.points[-1].monotonic
        assert kept.points[-1].at == round(said.at, 3)


def test_without_space_for_the_past_the_board_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be remembered is a fault that is told, and what is of now is published."""
    alone = Alone()

    def take_space(at: int, length: int) -> None:
        if at >= layout.PAST_AT:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(alone.segment, "take_space", take_space)
    alone.publish()
    alone.publish()

    assert faults.seen()["history"].times == 2
    assert board.newest(alone.segment) == 2
    assert Past(alone.segment, 2).points == []


@pytest.fixture(name="clock")
def _clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Stop the keeper's clock."""
    clock = Clock()
    monkeypatch.setattr("otelmon.keeper.time", clock)
    return clock


def test_the_keeper_keeps_to_its_rhythm(clock: Clock) -> None:
    """A publication that is a little late is followed by one in time, not by a later one."""
    keeper = Alone().keeper
    keeper._due = clock.now - 1.0
    assert keeper._following(10.0) == clock.now + 9.0
    # Who is too late for that begins a new rhythm.
    keeper._due = clock.now - 5.0
    assert keeper._following(10.0) == clock.now + 10.0
    keeper._due = None
    assert keeper._following(10.0) == clock.now + 10.0


def test_a_beat_is_never_later_than_the_next_publication(clock: Clock) -> None:
    """Who is no keeper beats about once a second, the keeper also when it is to publish."""
    keeper = Alone().keeper
    assert 0.9 <= keeper._pause() <= 1.1
    keeper._due = clock.now + 3600
    assert 0.9 <= keeper._pause() <= 1.1
    keeper._due = clock.now + 0.25
    assert keeper._pause() == 0.25
    keeper._due = 0.0
    assert keeper._pause() > 0


# -- what the board remembers ---------------------------------------------------------------------

_GAPS = st.lists(st.integers(1, 70 * 10**9), min_size=1, max_size=100)


@given(_GAPS)
def test_the_board_remembers_a_window_and_little_more(gaps: list[int]) -> None:
    """Kept are all points within 60 s of the newest and the one before them, in their order."""
    points: tuple[Point, ...] = ()
    now = 0
    for gap in gaps:
        now += gap
        points = trimmed((*points, Point(now, 0, 0, 0)))
    times = [sum(gaps[: n + 1]) for n in range(len(gaps))]
    recent = [at for at in times if now - at < WINDOW_SECONDS * 1e9]
    older = [at for at in times if now - at >= WINDOW_SECONDS * 1e9]
    assert [point.monotonic for point in points] == older[-1:] + recent
