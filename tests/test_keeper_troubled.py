"""What must not stop a keeper, and what it leaves to others where something does."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from otelmon import board, faults, threads
from otelmon.ledger import layout
from otelmon.ledger.ageing import Ageing
from otelmon.ledger.ledger import Ledger
from otelmon.ledger.locks import Lease
from otelmon.port import Port, lease_of
from tests.ports import App
from tests.recorder import COUNTER, Recorder, this_instance
from tests.sources import published
from tests.test_keeper import Alone
from tests.waiting import until


if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from otelmon.keeper import Keeper


def duties(recorder: Recorder) -> tuple[Lease, Lease]:
    """Return the leases of the instance, as another process has them."""
    stem = recorder.ledger.stem
    assert stem is not None
    return Lease(stem.with_suffix(".duty")), lease_of(stem)


def are_free(leases: tuple[Lease, Lease]) -> bool:
    """Tell whether another process could have each of the duties."""
    taken = [lease.take() for lease in leases]
    for lease in leases:
        lease.give()
    return all(taken)


def state_of(port: Port) -> object:
    """Return whether this process serves the port."""
    return port.state["state"]


def work(keeper: Keeper) -> None:
    """Do the duties, those that can be had."""
    keeper._serve_port()
    keeper._keep()


def test_a_thread_that_ends_keeps_no_duty(tmp_path: Path) -> None:
    """Whatever it was that ended the keeper's thread, another process can be the keeper."""
    recorder = Recorder(tmp_path, this_instance())
    leases = duties(recorder)
    times = itertools.count()

    def measure() -> None:
        if next(times):
            assert not leases[0].take()
            raise SystemExit

    keeper = Alone(recorder.ledger, measure=measure, monitoring_interval=1).keeper
    keeper.start()
    ended = keeper._ended
    assert ended is not None
    assert until(lambda: ended.rung)
    assert are_free(leases)
    recorder.ledger.close()


def test_who_has_lost_its_place_keeps_no_duty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that counts for itself alone leaves board and port to the others until it is back."""
    recorder = Recorder(tmp_path, this_instance())
    ledger, leases = recorder.ledger, duties(recorder)
    port = Port(App(), host="127.0.0.1", port=0)
    keeper = Alone(ledger, port=port).keeper
    work(keeper)
    assert not are_free(leases)
    assert state_of(port) == "serving"

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as bent:
        # Another process has the slot, and there is no space for one more.
        bent.setattr(ledger.segment, "keep", lambda _: False)
        bent.setattr(ledger, "_claim_at", full)
        ledger.beat(draining=False)
        for _ in range(2):
            work(keeper)
            assert are_free(leases)
            assert state_of(port) == "elsewhere"
    ledger._join_at = 0.0
    ledger.beat(draining=False)
    work(keeper)
    assert not are_free(leases)
    assert state_of(port) == "serving"
    keeper._leave()
    ledger.close()


def test_with_a_full_key_table_the_board_goes_on() -> None:
    """Where no series can be put to rest any more, that is a fault, and all else is published."""
    ledger = Ledger(series_limit=2)
    ledger.serve_alone()
    alone = Alone(ledger)
    for number in range(2):
        assert ledger.series(COUNTER, (("n", number),)) is not None
    frame = layout.encode_record(b'["of another version","' + 8000 * b"x" + b'"]')
    while alone.segment.header[layout.HEADER_KEYS_END] < layout.KEYS_BYTES - len(frame):
        alone.segment.publish(frame)
    alone.keeper._ageing = Ageing(0)
    alone.publish()
    alone.publish()

    assert board.newest(alone.segment) == 2
    assert faults.seen()["ageing"].times == 2


def test_without_a_thread_for_notifications_the_board_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At the limit of threads nobody is told for now, and what is known is published."""
    alone = Alone()
    board.publish(alone.segment, published(transitions=3, monotonic=0))

    def start(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "start", start)
    alone.keeper._keep()

    assert board.newest(alone.segment) == 2
    assert set(faults.seen()["alert_telling"].each) == {"log"}
