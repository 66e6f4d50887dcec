"""The counts of RateLimit in memory that workers share: where it lies, is followed, or cannot be had."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from otelmon import faults
from otelmon.errors import LedgerError
from otelmon.hardening import limit_memory
from otelmon.hardening.limit_memory import MEMORY
from otelmon.ledger.opening import opened_quotas
from tests.limited import close_limits, limited, passed
from tests.recorder import this_instance
from tests.tmpfs import leave, make_read_only, mounted
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otelmon.ledger.identity import Identity
    from otelmon.ledger.quota_file import QuotaFile


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    yield
    close_limits()


def file_in_use(app: Any) -> QuotaFile | None:  # noqa: ANN401 - any application
    """Have another client ask, and return the file in which it was counted."""
    passed(app, 1, address="8.8.8.8")
    return MEMORY._file


@pytest.mark.parametrize("kind", ["full", "read-only"])
def test_where_no_file_can_be_had_the_process_counts_alone_and_says_so(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit still holds in it; a full or read-only memory file system neither kills nor
    refuses."""
    with mounted(tmp_path / "small", pages=2048) as place:
        monkeypatch.setattr(limit_memory, "identity_in_use", lambda *_, **__: this_instance())
        if kind == "full":
            leave(place, 100)
        else:
            make_read_only(place)
        app = limited(env={"OTELMON_DIR": str(place)})
        assert passed(app, 150) == 100
        assert faults.seen()["rate_limit_memory"].times == 1
        # What was begun does not stand in the way.
        if kind == "full":
            leave(place, 2000)
            opened_quotas(place, this_instance()).close()


def test_a_file_that_was_removed_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process follows its file; counts begin anew, and two never go by different ones for long."""
    monkeypatch.setattr(limit_memory, "identity_in_use", lambda *_, **__: this_instance())
    monkeypatch.setattr(limit_memory, "_LOOK_SECONDS", 0.0)
    app = limited(env={"OTELMON_DIR": str(tmp_path)})
    assert passed(app, 150) == 100
    (path,) = tmp_path.glob("*.limits")
    path.unlink()
    before = MEMORY._file
    assert until(lambda: file_in_use(app) is not before)
    assert passed(app, 150) == 100
    assert path.exists()


def test_no_request_waits_for_a_file_while_there_are_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where another holds up who opens it, the process counts alone, and then with the others."""
    tries: list[int] = []
    gate = threading.Event()

    def opened(place: Path, identity: Identity) -> QuotaFile:
        tries.append(threading.get_ident())
        if threading.get_ident() == own:
            raise LedgerError("Another process held the lock.")
        gate.wait(60)
        return opened_quotas(place, identity)

    own = threading.get_ident()
    monkeypatch.setattr(limit_memory, "identity_in_use", lambda *_, **__: this_instance())
    monkeypatch.setattr(limit_memory, "opened_quotas", opened)
    monkeypatch.setattr(limit_memory, "_JOIN_SECONDS", 0.0)
    app = limited(env={"OTELMON_DIR": str(tmp_path)})
    try:
        assert passed(app, 150) == 100
        assert MEMORY._file is None
        assert until(lambda: len(tries) == 2)
        assert own not in tries[1:]
    finally:
        gate.set()
    assert until(lambda: file_in_use(app) is not None)
    assert passed(app, 150) == 100


def test_without_a_thread_to_join_in_the_process_counts_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the limit of threads no request fails: it is tried again later."""

    def start(_: object) -> None:
        raise RuntimeError("can't start new thread")

    def opened(*_: object) -> QuotaFile:
        raise LedgerError("Another process held the lock.")

    monkeypatch.setattr(limit_memory, "identity_in_use", lambda *_, **__: this_instance())
    monkeypatch.setattr(limit_memory, "opened_quotas", opened)
    monkeypatch.setattr(limit_memory, "_JOIN_SECONDS", 0.0)
    monkeypatch.setattr("otelmon.threads.start", start)
    app = limited(env={"OTELMON_DIR": str(tmp_path)})
    assert passed(app, 150) == 100
    assert faults.seen()["rate_limit_memory"].error == "RuntimeError"
    assert "rate_limit" not in faults.seen()


@pytest.mark.parametrize("which", ["*.limits", "*.stripes"])
def test_what_is_no_file_of_limits_is_replaced(
    tmp_path: Path, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rubbish in its place, or other locks beside it: a new one is made, and the limit holds."""
    monkeypatch.setattr(limit_memory, "identity_in_use", lambda *_, **__: this_instance())
    opened_quotas(tmp_path, this_instance()).close()
    (path,) = tmp_path.glob(which)
    # Beside it first, so that it cannot get the same inode.
    rubbish = tmp_path / "rubbish"
    rubbish.write_bytes(b"rubbish")
    rubbish.replace(path)
    assert passed(limited(env={"OTELMON_DIR": str(tmp_path)}), 150) == 100
    assert faults.seen() == {}


def test_a_file_of_another_boot_is_replaced(tmp_path: Path) -> None:
    """Its times mean nothing now."""
    before = this_instance()._replace(boot=b"b" * 16)
    opened_quotas(tmp_path, before).close()
    file = opened_quotas(tmp_path, this_instance())
    assert not file.replaced()
    file.close()
    assert opened_quotas(tmp_path, before).quotas.key("a") != file.quotas.key("a")
