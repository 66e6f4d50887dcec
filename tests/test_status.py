"""`otelmon status` tells of an instance whose ports do not answer, and changes nothing of it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from otelmon import cli, status
from otelmon.errors import LedgerError
from otelmon.ledger.inspection import Inspection
from otelmon.ledger.layout import Header
from otelmon.ledger.segment import SharedSegment
from otelmon.settings import Settings
from tests import peek
from tests.apps.answers import HELD
from tests.gunicorn_server import ROOT, Gunicorn
from tests.held_locks import locks_on
from tests.recorder import Recorder, this_instance
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_LOOKS = ("O_RDONLY", "F_GETLK", "F_DUPFD")
_CALLS = "openat,open,creat,flock,fcntl,mkdir,unlink,unlinkat,rename,ftruncate,fallocate,pwrite64"


def told(server: Gunicorn, log: Path, *arguments: str) -> str:
    """Return what the command says of a server; its calls to the kernel are in *log*."""
    strace = ("strace", "-f", "-y", "-o", str(log), "-e", f"trace={_CALLS}")
    command = [*strace, sys.executable, "-m", "otelmon", "status", *arguments]
    environ = {**os.environ, "OTELMON_DIR": str(server.ledgers)}  # noqa: TID251 - a child's
    done = subprocess.run(
        command, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def seen(server: Gunicorn) -> dict[str, Any]:
    """Return what is found of the server's one instance, in this process."""
    found = status.find(Settings(ledger_dir=str(server.ledgers)))
    assert found.unreadable == {}
    (instance,) = found.instances
    return dict(instance)


def lies(server: Gunicorn) -> dict[str, tuple[int, ...]]:
    """Return what the kernel knows of the files of a directory, and who has locked them."""
    return {
        path.name: (at.st_ino, at.st_size, at.st_blocks, at.st_mtime_ns, len(locks_on(path)))
        for path in server.ledgers.iterdir()
        for at in [path.stat()]
    }


def requests(server: Gunicorn) -> Any:  # noqa: ANN401 - as the JSON has it
    """Return how many requests the metrics port says were answered."""
    found = peek.figures(server)
    return None if found is None else found["application"]["request_count"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Gunicorn]:
    """Return a server that speaks often, and whose arbiter bears with stopped workers."""
    env = {"MONITORING_INTERVAL": "1"}
    with Gunicorn(tmp_path, workers=2, args=("--timeout", "600"), env=env) as running:
        running.wait_for_workers()
        yield running


def have_all_counted(server: Gunicorn) -> None:
    """Send ten requests, of which two fail, and wait until they are booked and the host is known."""
    paths = [*["/ok"] * 7, "/status/500", "/status/503", "/absent"]
    assert [server.get(path).status for path in paths] == [*[200] * 7, 500, 503, 404]
    assert until(lambda: requests(server) == len(paths), 60), server.log
    assert until(lambda: seen(server)["system"]["memory_percent"] is not None, 60), server.log


@contextlib.contextmanager
def all_stopped(server: Gunicorn, held: Path) -> Iterator[None]:
    """Stop every worker, one of them inside a request that ends after the block."""
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(server.get, f"/hold{held}", timeout=600)
        try:
            assert until(held.with_name(held.name + HELD).exists, 60), server.log
            for worker in server.workers():
                worker.suspend()
            yield
        finally:
            for worker in server.workers():
                worker.resume()
            held.touch()
        assert late.result(600).status == 200


def test_the_totals_are_exact_while_all_workers_are_stopped(
    server: Gunicorn, tmp_path: Path
) -> None:
    """No port answers, the command has all figures, and nothing is lost by its looking."""
    have_all_counted(server)
    with all_stopped(server, tmp_path / "held"):
        for ask in (server.get, server.ops):
            with pytest.raises(TimeoutError):
                ask("/health", timeout=0.5)
        before = lies(server)
        known = the_one(told(server, tmp_path / "strace", "--json"))
        text = told(server, tmp_path / "again")
        assert until(lambda: seen(server)["stale"], 60, every=0.5)
        assert lies(server) == before

    assert known["totals"] == {"requests": 10, "errors": 2, "lost": 0, "starts": 2, "deaths": 0}
    assert known["server"] == {"pid": server.pid, "alive": True}
    assert known["system"]["memory_percent"] > 0
    assert known["otelmon"]["port"] == {"state": "elsewhere", "port": server.metrics_port}
    tells_of_workers(known, text, server)
    only_looks(tmp_path / "strace", server)
    # They still own their slots, and count on.
    assert until(lambda: requests(server) == 11, 60), server.log
    assert seen(server)["totals"]["deaths"] == 0
    server.stop()
    assert until(lambda: seen(server)["workers"]["total"] == 0, 60), server.log
    left = seen(server)
    assert left["server"]["alive"] is False
    assert left["totals"]["requests"] == 11


def the_one(document: str) -> dict[str, Any]:
    """Return the one instance of a document."""
    (instance,) = json.loads(document)["instances"]
    return dict(instance)


def tells_of_workers(known: dict[str, Any], text: str, server: Gunicorn) -> None:
    """Have it name each worker in both forms, and one request in flight."""
    workers = known["workers"]["each"]
    assert {each["pid"] for each in workers} == {each.pid for each in server.workers()}
    assert sorted(each["in_flight"] for each in workers) == [0, 1]
    assert known["application"]["active_connections"] == 1
    assert [each["oldest_request_seconds"] is None for each in workers] == [
        each["in_flight"] == 0 for each in workers
    ]
    assert "  totals: requests 10, errors 2, lost 0, worker starts 2, worker deaths 0\n" in text
    for each in workers:
        assert f"  worker pid {each['pid']}, slot {each['slot']}: {each['in_flight']} in fl" in text


def only_looks(log: Path, server: Gunicorn) -> None:
    """Have it open the server's files for reading, ask for locks and do nothing more to them."""
    touched = [line for line in log.read_text().splitlines() if str(server.ledgers) in line]
    assert any("F_GETLK" in line for line in touched)
    assert [line for line in touched if not any(call in line for call in _LOOKS)] == []
    assert not any("O_CREAT" in line for line in touched)


def test_where_there_is_nothing_it_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 and a sentence that names the directory, which is not made for it."""
    place = tmp_path / "otelmon-1"
    (tmp_path / "otelmon-2").mkdir()
    environ = {"OTELMON_DIR": str(place)}

    assert cli.main(["status"], environ) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert f"No instance was found in {place}. Give the server's OTELMON_DIR" in err
    assert f"Other users have {tmp_path / 'otelmon-2'}." in err
    assert cli.main(["status", "--json"], environ) == 1
    assert json.loads(capsys.readouterr().out)["instances"] == []
    assert list(tmp_path.iterdir()) == [tmp_path / "otelmon-2"]


def test_a_file_that_cannot_be_read_is_named_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of an earlier boot, one that is cut off and one that is no ledger hide nothing else."""
    boot = Header(time.time_ns(), bytes(16), 7)
    SharedSegment(tmp_path / "old.ledger", header=boot).close()
    (tmp_path / "cut.ledger").touch(mode=0o600)
    (tmp_path / "text.ledger").write_text("x" * 4096)

    assert cli.main(["status"], {"OTELMON_DIR": str(tmp_path)}) == 1
    err = capsys.readouterr().err
    assert "old.ledger was left behind by an earlier boot." in err
    assert "The ledger file ends after 0 bytes" in err
    assert "it is no ledger of otelmon" in err


def test_a_process_of_the_instance_keeps_its_slot(tmp_path: Path) -> None:
    """Who has locks on the file refuses to look: closing it would drop them."""
    recorder = Recorder(tmp_path, this_instance())
    path = tmp_path / "one.ledger"
    held = locks_on(path.with_suffix(".slots"))
    assert held

    with pytest.raises(LedgerError, match="another one has to look"):
        Inspection(path)

    assert locks_on(path.with_suffix(".slots")) == held
    recorder.ledger.close()
