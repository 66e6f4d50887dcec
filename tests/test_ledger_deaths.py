"""Ten thousand dead processes: nothing grows with them."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from otelmon.ledger import layout
from tests.forks import Child
from tests.recorder import Recorder, this_instance


if TYPE_CHECKING:
    from otelmon.ledger.reader import Reading


DEATHS = 10_000
ROOT = Path(__file__).parent.parent
_READS = 200
_SLOWER = 3


class _Size(NamedTuple):
    """What might grow."""

    files: tuple[str, ...]
    blocks: int
    keys: int
    lanes: tuple[int, int]
    slots: int
    series: int


def _size(recorder: Recorder, place: Path) -> _Size:
    segment = recorder.ledger.segment
    assert segment is not None
    header = segment.header
    return _Size(
        files=tuple(sorted(path.name for path in place.iterdir())),
        blocks=sum(path.stat().st_blocks for path in place.iterdir()),
        keys=header[layout.HEADER_KEYS_END],
        lanes=(header[layout.HEADER_NEXT_COUNT], header[layout.HEADER_NEXT_VALUE]),
        slots=header[layout.HEADER_SLOTS_USED],
        series=len(recorder.read().series),
    )


def _read_seconds(recorder: Recorder) -> float:
    """Return how long a reading takes, when nothing disturbs it."""
    times = []
    for _ in range(_READS):
        began = time.perf_counter()
        recorder.read()
        times.append(time.perf_counter() - began)
    return min(times)


def _die(place: Path, times: int) -> int:
    """Have *times* processes die in two places at once; return how many were killed."""
    command = [sys.executable, "-m", "tests.deaths", str(place), "one", str(times // 2)]
    # Without the environment that would have every child measured.
    programs = [
        subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env={}) for _ in range(2)
    ]
    return sum(int(program.communicate()[0]) for program in programs)


@pytest.mark.serial
@pytest.mark.timeout(300)
def test_ten_thousand_deaths_leave_nothing_but_their_counts(tmp_path: Path) -> None:
    """Bytes, files, slots, keys and the time of a reading are as before; every death is told."""
    instance = this_instance()
    with Child(lambda: Recorder(tmp_path, instance)) as watcher:
        deaths, killed = 0, 0
        # Until both places and the watcher have had a slot at the same time.
        while watcher.call(_size, tmp_path).slots < 3:
            deaths += 40
            killed += _die(tmp_path, 40)
        before, seconds = watcher.call(_size, tmp_path), watcher.call(_read_seconds)

        killed += _die(tmp_path, DEATHS)

        assert watcher.call(_size, tmp_path) == before
        assert watcher.call(_read_seconds) < _SLOWER * seconds
        reading: Reading = watcher.call(Recorder.read)
    deaths += DEATHS
    assert killed == deaths // 2
    assert (reading.worker_starts, reading.worker_deaths) == (deaths + 1, deaths)
    assert (reading.started, reading.finished) == (deaths + killed, deaths)
    assert (reading.lost, reading.in_flight) == (killed, 0)
    assert before.slots == 3
    assert [worker.pid for worker in reading.workers] == [watcher.pid]
