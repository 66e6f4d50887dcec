"""The counter itself: against a naive one, at its bounds, with many clients, and when killed."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from math import floor
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelmon.ledger import quotas as layout
from otelmon.ledger.identity import Process
from otelmon.ledger.opening import opened_quotas
from otelmon.ledger.quota_file import private_quotas
from otelmon.ledger.quotas import Asked, Quotas
from otelmon.ledger.stripes import Stripes
from tests.apps.patient_limits import wait_for_counts
from tests.forks import Child, forked
from tests.limited import SECOND, Clock
from tests.recorder import this_instance
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


PERIOD = 60 * SECOND
DAY = 24 * 60 * PERIOD
MANY = 1_000_000
TOGETHER = 8


class Naive:
    """The same rule from a list of all hits that passed, in fractions."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.hits: list[int] = []
        self.start: int | None = None

    def hit(self, now: int) -> bool:
        """Tell whether a hit passes, and remember it."""
        start = self.start
        while start is not None and now >= start + PERIOD:
            start += PERIOD
            if not any(start - PERIOD <= hit < start for hit in self.hits):
                start = None
        if start is None:
            start, before, count = now, 0, 0
        else:
            before = sum(start - PERIOD <= hit < start for hit in self.hits)
            count = sum(hit >= start for hit in self.hits)
        weight = Fraction(before * (start + PERIOD - now), PERIOD)
        if floor(weight) + count + 1 > self.limit:
            return False
        self.start = start
        self.hits.append(now)
        return True


def _asked(quotas: Quotas, limit: int, client: str = "a", name: str = "p") -> list[Asked]:
    return [Asked(quotas.key(name, client), limit, PERIOD)]


def _passes(quotas: Quotas, asked: list[Asked]) -> bool:
    return all(each.admitted for each in quotas.hit(asked).standings)


TIMES = st.lists(
    st.one_of(
        st.integers(0, 3 * PERIOD),
        st.integers(0, SECOND),
        st.sampled_from([0, 1, PERIOD - 1, PERIOD, PERIOD + 1, 2 * PERIOD - 1, 2 * PERIOD]),
    ),
    max_size=60,
)


@given(limit=st.integers(1, 8), gaps=TIMES)
def test_it_decides_as_a_naive_counter_and_never_passes_twice_the_limit(
    limit: int, gaps: list[int]
) -> None:
    """Over any hits at any times: the same answers, and in no stretch of a period more than twice
    the limit; what is said of the next hit holds."""
    clock = Clock()
    quotas, naive, admitted = private_quotas(clock=clock), Naive(limit), list[int]()
    asked = _asked(quotas, limit)
    for gap in gaps:
        clock.now += gap
        standing = quotas.hit(asked).standings[0]
        assert standing.admitted == naive.hit(clock.now)
        if standing.admitted:
            admitted.append(clock.now)
        else:
            assert standing.remaining == 0
            assert standing.wait > 0
        assert sum(clock.now - PERIOD < hit for hit in admitted) <= 2 * limit


@given(limit=st.integers(1, 50), gaps=st.lists(st.integers(0, PERIOD // 50), min_size=50))
def test_from_idle_exactly_the_limit_passes_within_a_period(limit: int, gaps: list[int]) -> None:
    """However the hits of the first period are spread, the first *limit* pass and no other."""
    clock = Clock()
    quotas = private_quotas(clock=clock)
    began, found = clock.now, list[bool]()
    for gap in gaps:
        found.append(_passes(quotas, _asked(quotas, limit)))
        clock.now += gap
        if clock.now - began >= PERIOD:
            break
    assert found == [n < limit for n in range(len(found))]


@given(limit=st.integers(1, 20), gaps=TIMES)
def test_who_waits_as_long_as_it_is_told_passes_and_not_a_moment_earlier(
    limit: int, gaps: list[int]
) -> None:
    """Of a refusal, the time that it tells is the earliest at which a hit passes."""
    clock = Clock()
    quotas = private_quotas(clock=clock)
    asked = _asked(quotas, limit)
    for gap in gaps:
        clock.now += gap
        refused = quotas.hit(asked).standings[0]
        if not refused.admitted:
            clock.now += refused.wait - 1
            assert not _passes(quotas, asked)
            clock.now += 1
            assert _passes(quotas, asked)


def test_the_worst_case_comes_near_twice_the_limit() -> None:
    """Whoever holds 99 of 100 back to the window's end and then asks evenly gets 199 in 60 s."""
    clock = Clock()
    quotas = private_quotas(clock=clock)
    asked, admitted = _asked(quotas, 100), list[int]()
    began = clock.now
    assert _passes(quotas, asked)
    for at in [PERIOD - 1] * 99 + list(range(PERIOD, 2 * PERIOD - 1, SECOND // 10)):
        clock.now = began + at
        if _passes(quotas, asked):
            admitted.append(at)
    most = max(sum(end - PERIOD < at <= end for at in admitted) for end in admitted)
    assert most == 199


def test_an_even_client_gets_the_limit_in_every_window() -> None:
    """At twice the rate, for an hour: in each minute behind the first exactly 100 pass."""
    clock = Clock()
    quotas = private_quotas(clock=clock)
    asked = _asked(quotas, 100)
    for _ in range(60):
        found = 0
        for _ in range(200):
            found += _passes(quotas, asked)
            clock.now += PERIOD // 200
        assert 99 <= found <= 101


def test_where_one_limit_refuses_nothing_is_spent_on_the_other() -> None:
    """Of two limits that hold together the wide one keeps what the narrow one refused."""
    quotas = private_quotas(clock=Clock())
    both = _asked(quotas, 3, name="narrow") + _asked(quotas, 100, name="wide")
    assert [_passes(quotas, both) for _ in range(10)] == [True] * 3 + [False] * 7
    assert quotas.hit(_asked(quotas, 100, name="wide")).standings[0].remaining == 96


# -- many clients --------------------------------------------------------------------------------


@pytest.mark.timeout(400)  # half a minute of CPU, on a machine that may be busy
def test_more_clients_than_there_is_room_for_stay_in_the_same_memory(tmp_path: Path) -> None:
    """Through a million the file keeps its size and pages; each live count that made room is told,
    and whoever is at its limit is not among them."""
    file = opened_quotas(tmp_path, this_instance())
    (path,) = tmp_path.glob("*.limits")
    before = path.stat()
    quotas = file.quotas
    # A day long, so that nothing is over when a busy machine comes to the end.
    heavy = [[Asked(quotas.key("p", f"heavy {n}"), 20, DAY)] for n in range(50)]
    for asked in heavy:
        for _ in range(20):
            assert _passes(quotas, asked)
    evicted = sum(quotas.hit(_strangers(number)).evicted for number in range(MANY // TOGETHER))
    assert evicted == len(heavy) + MANY - layout.RECORDS
    after = path.stat()
    assert (after.st_size, after.st_blocks) == (before.st_size, before.st_blocks)
    assert not any(_passes(quotas, asked) for asked in heavy)
    file.close()


def _strangers(number: int) -> list[Asked]:
    """Return clients that nobody has seen, all of one stripe: they take but one lock together."""
    stripe = number % layout.STRIPES
    words = memoryview(os.urandom(8 * TOGETHER)).cast("Q")
    keys = (word - word % layout.STRIPES + stripe for word in words)
    return [Asked(key.to_bytes(8, sys.byteorder) + os.urandom(8), 100, DAY) for key in keys]


def _neighbour(number: int) -> list[Asked]:
    """Return a client whose record is in one certain bucket."""
    word = 7 + number * layout.STRIPES * layout.BUCKETS
    return [Asked(word.to_bytes(8, sys.byteorder) + bytes(8), 100, PERIOD)]


def test_expired_clients_make_room_first() -> None:
    """In a full bucket windows that are over go, then whoever has the fewest hits, the oldest first."""
    clock = Clock()
    quotas = private_quotas(clock=clock)
    for number in range(layout.WAYS):
        clock.now += 1
        for _ in range(2 + number % 2):
            assert quotas.hit(_neighbour(number)).evicted == 0
    clock.now += 2 * PERIOD - 8
    found = [quotas.hit(_neighbour(100 + number)).evicted for number in range(9)]
    assert found == [0] * 8 + [1]
    # The ninth has taken the place of a new one, and all others are still there.
    assert all(quotas.hit(_neighbour(n)).evicted == 0 for n in [*range(8, 16), *range(101, 109)])
    assert quotas.hit(_neighbour(100)).evicted == 1


def test_nobody_can_choose_a_name_that_falls_on_anothers_record() -> None:
    """The same name has other keys in another file."""
    one, other = private_quotas(), private_quotas()
    assert one.key("p", "a") == one.key("p", "a")
    assert one.key("p", "a") != other.key("p", "a")
    assert one.key("p", "ab") != one.key("pa", "b")


# -- processes -----------------------------------------------------------------------------------


class Worker:
    """A process that asks."""

    def __init__(self, place: Path) -> None:
        self.file = opened_quotas(place, this_instance())

    def hits(self, times: int, limit: int = 1000) -> int:
        """Return how many pass."""
        asked = _asked(self.file.quotas, limit)
        return sum(_passes(self.file.quotas, asked) for _ in range(times))

    def hold(self) -> None:
        """Take all locks, for good."""
        stripes = self.file.quotas._stripes
        stripes.take(range(layout.STRIPES), stripes.turn())


def _patient(place: Path) -> Worker:
    """Return one that waits also for who has a lock and no turn of a busy machine."""
    wait_for_counts()
    return Worker(place)


def test_killed_in_the_midst_no_process_leaves_a_lock_or_a_hit_more(tmp_path: Path) -> None:
    """Killed at any point, again and again, what passed is never more than the limit."""
    found = 0
    for _ in range(15):
        with Child(lambda: _patient(tmp_path)) as one, Child(lambda: _patient(tmp_path)) as two:
            one.send(Worker.hits, 100_000, 10**6)
            found += two.call(Worker.hits, 20, 300)
            one.kill()
            found += two.call(Worker.hits, 5, 300)
    assert found <= 300
    with Child(lambda: Worker(tmp_path)) as last:
        assert found + last.call(Worker.hits, 1000, 300) <= 300


class GoneError(BaseException):
    """Raised in place of a death."""


class Words:
    """A memory whose writer dies after so many stores."""

    def __init__(self, words: memoryview[int], left: int) -> None:
        self.words, self.left = words, left

    def __getitem__(self, at: Any) -> Any:  # noqa: ANN401 - a word or some
        return self.words[at]

    def __setitem__(self, at: int, value: int) -> None:
        if not self.left:
            raise GoneError
        self.left -= 1
        self.words[at] = value


@pytest.mark.parametrize("stores", range(12))
@pytest.mark.parametrize(("before", "gap"), [(5, 0), (5, PERIOD), (5, 2 * PERIOD), (0, 0)])
def test_killed_between_any_two_stores_the_rest_admits_no_more(
    stores: int, before: int, gap: int
) -> None:
    """After *stores* stores the writer is gone: who comes next gets at most what it would have."""

    def rest(*, dies: bool) -> int:
        clock = Clock()
        quotas = private_quotas(clock=clock)
        asked = _asked(quotas, 8)
        for _ in range(before):
            assert _passes(quotas, asked)
        clock.now += gap
        words = quotas._words
        if dies:
            quotas._words = Words(words, stores)  # type: ignore[assignment]
        try:
            quotas.hit(asked)
            answered = 1
        except GoneError:
            answered = 0
        quotas._words = words
        return answered + sum(_passes(quotas, asked) for _ in range(20))

    assert rest(dies=True) <= rest(dies=False)


def test_a_stopped_holder_costs_others_a_quarter_second_and_no_more(tmp_path: Path) -> None:
    """A process that was stopped with all locks does not stop the others for good."""
    with Child(lambda: Worker(tmp_path)) as holder, Child(lambda: Worker(tmp_path)) as other:
        assert other.call(Worker.hits, 1) == 1
        holder.call(Worker.hold)
        os.kill(holder.pid, signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            other.call(Worker.hits, 1)
        holder.kill()
        assert other.call(Worker.hits, 1) == 1


class _Slow:
    """Locks between processes: the first comes after most of the time, the second never.

    It is a clock too, on which only waiting takes time.
    """

    def __init__(self, seconds: float) -> None:
        self.now = 0.0
        self._at = seconds
        self.tries = Counter[int]()

    def monotonic(self) -> float:
        """Return the time."""
        return self.now

    def wait(self, seconds: float) -> None:
        """Wait."""
        self.now += seconds

    def take(self, byte: int) -> bool:
        """Give the first one when it is time."""
        self.tries[byte] += 1
        return byte == 0 and self.now >= self._at

    def give(self, byte: int) -> None:
        """Take it back."""


def test_one_deadline_is_for_all_locks_of_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has waited for the first lock does not wait as long again for the second."""
    seconds = 0.5
    locks = _Slow(0.9 * seconds)
    monkeypatch.setattr("otelmon.ledger.stripes.time", locks)
    monkeypatch.setattr("otelmon.ledger.stripes.Alarm", lambda: locks)
    stripes = Stripes(2, locks, seconds=seconds)  # type: ignore[arg-type]
    with pytest.raises(TimeoutError):
        stripes.take([0, 1], stripes.turn())
    # Tried at one pace: for a tenth of the time the one, and for the rest the other.
    assert 0 < locks.tries[1] <= locks.tries[0]
    assert seconds <= locks.now < 1.1 * seconds


class _Refusing:
    """Locks between processes that the kernel refuses as it is told."""

    def __init__(self, *answers: bool | OSError) -> None:
        self._answers = [*answers]

    def take(self, _: int) -> bool:
        """Answer as was given, and then always give it."""
        answer = self._answers.pop(0) if self._answers else True
        if isinstance(answer, OSError):
            raise answer
        return answer

    def give(self, _: int) -> None:
        """Take it back."""


def test_a_lock_that_could_not_be_had_is_free_for_the_next() -> None:
    """What the kernel refuses, for now or for good, leaves no lock of this process behind."""
    refusing: Any = _Refusing(
        OSError(errno.ENOLCK, "no locks"), False, OSError(errno.ENOLCK, "none left")
    )
    stripes = Stripes(1, refusing, seconds=60)
    for expected in ("no locks", "none left"):
        turn = stripes.turn()
        with pytest.raises(OSError, match=expected):
            stripes.take([0], turn)
        stripes.give([0], turn)
    _taken_elsewhere(stripes)


def _taken_elsewhere(stripes: Stripes) -> None:
    """Take and give the first lock in another thread."""

    def take() -> None:
        turn = stripes.turn()
        stripes.take([0], turn)
        stripes.give([0], turn)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(take).result()


def test_a_lock_that_was_left_behind_is_had_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own thread has it at once, others wait in vain until it must have been left."""
    clock = _Slow(0)
    monkeypatch.setattr("otelmon.ledger.stripes.time", clock)
    monkeypatch.setattr("otelmon.ledger.stripes.Alarm", lambda: clock)
    stripes = Stripes(1, None)
    left = stripes.turn()
    stripes.take([0], left)
    with pytest.raises(TimeoutError):
        _taken_elsewhere(stripes)
    clock.wait(60)
    _taken_elsewhere(stripes)
    stripes.take([0], stripes.turn())
    again = stripes.turn()
    stripes.take([0], again)
    stripes.give([0], left)  # it is not its any more
    with pytest.raises(TimeoutError):
        _taken_elsewhere(stripes)
    stripes.give([0], again)
    _taken_elsewhere(stripes)


def _fork_and_ask(worker: Worker) -> int:
    def run() -> None:
        worker.file.close()
        assert Worker(worker.file._path.parent).hits(3, 5) == 3

    assert forked(run) == 0
    return worker.hits(10, 5)


def test_a_forked_child_counts_in_the_same_file_and_keeps_its_parents_locks(tmp_path: Path) -> None:
    """What a child opens and closes anew drops none of its parent's locks."""
    with Child(lambda: Worker(tmp_path)) as worker:
        assert worker.call(_fork_and_ask) == 2


def _removed(place: Path, name: str) -> Callable[[], bool]:
    return lambda: not list(place.glob(f"{name}.limits"))


def test_a_living_instances_file_stays_and_a_dead_ones_goes(tmp_path: Path) -> None:
    """Whoever opens next removes what no process uses and whose server is gone."""
    dead = this_instance("dead")._replace(server=Process(2**22 + 1, 1))
    with Child(lambda: opened_quotas(tmp_path, dead)) as user:
        opened_quotas(tmp_path, this_instance("other")).close()
        assert (tmp_path / "dead.limits").exists()
        user.kill()
    opened_quotas(tmp_path, this_instance("another")).close()
    assert until(_removed(tmp_path, "dead"))
    assert not (tmp_path / "dead.stripes").exists()
    assert (tmp_path / "other.limits").exists()
