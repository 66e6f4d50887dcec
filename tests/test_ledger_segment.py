"""The file of an instance: shared by its processes, replaced if it is none, never mended."""

from __future__ import annotations

import logging
import os
import re
import time
from typing import TYPE_CHECKING

import pytest

from otelmon.errors import LedgerError
from otelmon.ledger import layout
from otelmon.ledger.layout import Header
from otelmon.ledger.locks import RangeLocks
from otelmon.ledger.opening import opened
from otelmon.ledger.segment import Segment, SharedSegment
from tests.forks import Child
from tests.recorder import Recorder, requests, this_instance


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


HEADER = Header(time.time_ns(), bytes(16), 7)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a ledger may be made."""
    return tmp_path / "one.ledger"


def test_a_private_segment_has_one_slot_and_shares_nothing() -> None:
    """Memory of one process alone has a single slot, no other owners and no file to follow."""
    segment = Segment()

    assert (segment.claim(0), segment.claim(1)) == (True, False)
    assert segment.slot(0).counts is segment.slot(0).counts
    assert not segment.shared
    assert not segment.replaced()
    segment.close()
    assert segment.slot(0).counts[0] == 0


def test_a_new_ledger_takes_hardly_any_space(path: Path) -> None:
    """The file has its full size and one page of content."""
    segment = SharedSegment(path, header=HEADER)

    found = path.stat()
    assert found.st_size == layout.FILE_BYTES
    assert found.st_blocks * 512 <= 2 * layout.PAGE
    with path.open("rb") as file:
        assert layout.decode_header(file.read(layout.PAGE)) == HEADER
    segment.close()


def test_what_one_process_stores_another_sees(path: Path) -> None:
    """Stores to a slot are seen in another map of the same file at once, in every part of it."""
    ours, theirs = (SharedSegment(path, header=HEADER) for _ in range(2))
    for number in (0, 9, layout.SLOTS - 1):
        view = ours.slot(number)
        view.head[1], view.counts[layout.COUNTS - 1], view.values[layout.VALUES - 1] = 3, 4, 5.5

        seen = theirs.slot(number)

        assert seen.head[1] == 3
        assert seen.counts[layout.COUNTS - 1] == 4
        assert seen.values[layout.VALUES - 1] == 5.5
    ours.close()
    theirs.close()


def test_a_closed_ledger_can_be_read_as_far_as_it_was_used(path: Path) -> None:
    """After closing, used slots are still readable; others are refused, and the locks gone."""
    segment = SharedSegment(path, header=HEADER)
    segment.header[layout.HEADER_SLOTS_USED] = 20
    other = SharedSegment(path, header=HEADER)
    other.slot(19).counts[0] = 1
    other.close()
    segment.close()
    segment.close()

    assert segment.slot(19).counts[0] == 1
    assert segment.replaced()
    assert not segment.owned_by_another(0)
    with segment.appending() as alone:
        assert not alone
    with pytest.raises(LedgerError, match="was closed by this process"):
        segment.slot(layout.SLOTS - 1)


def test_two_maps_of_one_file_share_its_locks(path: Path) -> None:
    """Closing one would drop the locks of the other, and it is known which."""
    one, two = (SharedSegment(path, header=HEADER) for _ in range(2))
    other = SharedSegment(path.with_name("other.ledger"), header=HEADER)

    assert two.has_locks_of(one)
    assert not other.has_locks_of(one)
    assert not one.has_locks_of(Segment())
    assert not Segment().has_locks_of(one)
    for segment in (one, two, other):
        segment.close()


def _write(data: bytes, size: int = layout.FILE_BYTES) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(data)
        os.truncate(path, size)

    return write


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _anothers(path: Path) -> None:
    _write(_first_page())(path)
    os.chown(path, 65534, 65534)


def _first_page(*, boot: bytes | None = None, network: int | None = None) -> bytes:
    """Return the first page of a ledger whose server lives, on this machine unless told."""
    instance = this_instance()
    page = bytearray(layout.PAGE)
    header = Header(1, boot or instance.boot, network or instance.network)
    page[:56] = layout.encode_header(header)
    words = memoryview(page).cast("Q")
    words[layout.HEADER_SERVER_PID], words[layout.HEADER_SERVER_START] = instance.server
    return bytes(page)


_OLDER = bytearray(_first_page())
_OLDER[16] ^= 1
UNUSABLE = [
    pytest.param(_write(b"what is this?"), "is no ledger of otelmon", id="corrupt"),
    pytest.param(_write(b""), "is no ledger of otelmon", id="killed-before-the-header"),
    pytest.param(_write(b"", layout.PAGE), "where .* belong", id="killed-before-the-size"),
    pytest.param(
        _write(_first_page(), layout.FILE_BYTES - 1),
        f"has {layout.FILE_BYTES - 1} bytes where {layout.FILE_BYTES} belong",
        id="truncated",
    ),
    pytest.param(_write(b"text", 4), "has 4 bytes", id="foreign"),
    pytest.param(_write(bytes(_OLDER)), "this otelmon reads", id="older-layout"),
    pytest.param(_write(_first_page(network=1)), "network namespace", id="network"),
    pytest.param(_pipe, "is not a regular file", id="pipe"),
    pytest.param(_anothers, "is not a regular file of user", id="another-user"),
]


@pytest.mark.parametrize(("plant", "message"), UNUSABLE)
def test_a_file_that_is_no_ledger_of_ours_is_replaced_and_said_once(
    path: Path,
    caplog: pytest.LogCaptureFixture,
    plant: Callable[[Path], None],
    message: str,
) -> None:
    """Whatever lies under the instance's name, there is a good ledger afterwards and one line."""
    plant(path)

    with Child(lambda: Recorder(path.parent, this_instance())) as worker:
        worker.call(Recorder.serve, "/", 3)
        assert requests(worker.call(Recorder.read)) == {"/": 3}

    path.unlink()
    plant(path)
    # Twice in this process, whose log can be looked at.
    with caplog.at_level(logging.WARNING), opened(path.parent, this_instance()) as segment:
        assert segment.header[layout.HEADER_KEYS_END] == 0
    segment.close()
    with caplog.at_level(logging.WARNING), opened(path.parent, this_instance()) as segment:
        assert segment.header[layout.HEADER_KEYS_END] == 0
    segment.close()

    (record,) = caplog.records
    assert record.getMessage().endswith(". A new one takes its place.")
    assert re.search(message, record.getMessage())


def test_a_ledger_of_an_earlier_boot_is_replaced_without_a_word(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What lies on a disk from before a reboot is nobody's, and nothing to be told of."""
    _write(_first_page(boot=b"another boot id!"))(path)

    with opened(path.parent, this_instance()) as segment:
        assert segment.header[layout.HEADER_SERVER_PID] == 0
    segment.close()

    assert caplog.records == []


def test_a_ledger_of_another_boot_is_not_opened(path: Path) -> None:
    """Monotonic times of another boot would mean nothing."""
    _write(_first_page(boot=b"another boot id!"))(path)
    instance = this_instance()

    with pytest.raises(LedgerError, match="is of another boot"):
        SharedSegment(path, header=Header(1, instance.boot, instance.network))


def test_live_owners_of_a_damaged_file_keep_going_and_then_follow(path: Path) -> None:
    """The file is not mended under its owners: they count on in it, and carry it over."""
    with Child(lambda: Recorder(path.parent, this_instance())) as first:
        first.call(Recorder.serve, "/old", 5)
        with path.open("r+b") as file:
            file.write(b"garbage!")
        with Child(lambda: Recorder(path.parent, this_instance())) as second:
            second.call(Recorder.serve, "/new", 2)
            first.call(Recorder.serve, "/old", 5)

            assert requests(first.call(Recorder.read)) == {"/old": 10}
            assert requests(second.call(Recorder.read)) == {"/new": 2}

            first.call(Recorder.beat)
            first.call(Recorder.serve, "/old")
            for worker in (first, second):
                assert requests(worker.call(Recorder.read)) == {"/new": 2, "/old": 11}


@pytest.mark.parametrize("name", ["one.ledger", "one.slots", "lock"])
@pytest.mark.parametrize("there", [True, False], ids=["target", "no-target"])
def test_a_planted_link_is_not_followed(path: Path, name: str, there: bool) -> None:
    """A link in place of the ledger or a lock is refused, and its target is as it was."""
    target = path.parent / "target"
    with opened(path.parent, this_instance()) as segment:
        segment.close()
    (path.parent / name).unlink()
    (path.parent / name).symlink_to(target)
    if there:
        target.touch()

    with (
        pytest.raises(OSError, match="symbolic links"),
        opened(path.parent, this_instance()),
    ):
        pytest.fail("it was opened")

    assert (path.parent / name).is_symlink()
    assert target.exists() == there
    assert not there or target.stat().st_size == 0


def test_a_pipe_is_no_lock(path: Path) -> None:
    """A FIFO in place of the directory's lock is refused at once."""
    os.mkfifo(path.parent / "lock")

    with (
        pytest.raises(LedgerError, match="is not a regular file"),
        opened(path.parent, this_instance()),
    ):
        pytest.fail("it was opened")


def test_a_pipe_in_place_of_the_slots_locks_is_replaced(path: Path) -> None:
    """A FIFO where the slots' locks belong goes with the ledger beside it."""
    os.mkfifo(path.with_suffix(".slots"))

    with opened(path.parent, this_instance()) as segment:
        assert segment.claim(0)
    segment.close()


def test_a_directory_in_place_of_the_ledger_is_an_error(path: Path) -> None:
    """A directory under the ledger's name is refused and left alone."""
    path.mkdir()

    with pytest.raises(IsADirectoryError), opened(path.parent, this_instance()):
        pytest.fail("it was opened")

    assert path.is_dir()


def test_a_directory_lock_that_is_held_for_long_is_an_error(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who cannot get the directory's lock in time is told which lock it was."""
    monkeypatch.setattr("otelmon.ledger.opening._OPEN_SECONDS", 0.02)
    lock = path.parent / "lock"

    with (
        Child(lambda: RangeLocks(lock).take(0)),
        pytest.raises(LedgerError, match=f"Another process held {lock}"),
        opened(path.parent, this_instance()),
    ):
        pytest.fail("it was opened")


def test_a_file_that_was_removed_is_noticed(path: Path) -> None:
    """A map knows whether its file is still the one of that name: removed, or another."""
    segment = SharedSegment(path, header=HEADER)
    assert not segment.replaced()

    path.unlink()
    assert segment.replaced()
    path.touch()
    assert segment.replaced()
    path.unlink()
    path.mkdir()
    assert segment.replaced()
    segment.close()


def test_without_its_locks_a_ledger_is_made_anew(path: Path) -> None:
    """Removed locks leave owners whom nobody sees: nobody may claim their slots beside them."""
    with Child(lambda: Recorder(path.parent, this_instance())) as first:
        first.call(Recorder.serve, "/", 5)
        path.with_suffix(".slots").unlink()

        with Child(lambda: Recorder(path.parent, this_instance())) as second:
            second.call(Recorder.serve, "/", 2)
            assert requests(second.call(Recorder.read)) == {"/": 2}
            assert requests(first.call(Recorder.read)) == {"/": 5}

            first.call(Recorder.beat)
            assert {first.call(Recorder.slot), second.call(Recorder.slot)} == {0, 1}
            assert requests(second.call(Recorder.read)) == {"/": 7}
