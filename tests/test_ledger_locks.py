"""Locks that the kernel takes back when their holder dies, however it dies."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from otelmon.errors import LedgerError
from otelmon.ledger.identity import start_time
from otelmon.ledger.locks import Lease, RangeLocks, directory_lock
from tests.forks import Child, forked, forks_during
from tests.waiting import until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a lock file may be made."""
    return tmp_path / "lock"


def _taken(path: Path, *bytes_: int) -> RangeLocks:
    locks = RangeLocks(path)
    assert all(locks.take(byte) for byte in bytes_)
    return locks


# -- range locks ---------------------------------------------------------------------------------


def test_a_byte_belongs_to_one_process(path: Path) -> None:
    """What another process owns cannot be taken and is seen to be owned, byte by byte."""
    locks = RangeLocks(path)
    with Child(lambda: _taken(path, 3)) as other:
        assert [locks.owned(byte) for byte in (2, 3, 4)] == [False, True, False]
        assert [locks.take(byte) for byte in (2, 3, 4)] == [True, False, True]
        assert [other.call(RangeLocks.owned, byte) for byte in (2, 3, 4)] == [True, False, True]
    locks.close()


def test_what_lies_in_a_range_is_seen(path: Path) -> None:
    """One question tells whether anybody owns anything between two bytes."""
    locks = RangeLocks(path)
    with Child(lambda: _taken(path, 255)):
        assert locks.owned(0, 256)
        assert not locks.owned(0, 255)
    locks.close()


def test_ones_own_bytes_do_not_count(path: Path) -> None:
    """A process sees what others own; it may take what it has."""
    locks = _taken(path, 1)

    assert not locks.owned(1)
    assert locks.take(1)
    locks.close()
    assert not locks.owned(1)


def test_a_killed_process_owns_nothing(path: Path) -> None:
    """Its bytes are free as soon as it is dead, without any time-out."""
    locks = RangeLocks(path)
    with Child(lambda: _taken(path, 0, 7)) as other:
        assert locks.owned(0)
        other.kill()

    assert not locks.owned(0, 8)
    assert locks.take(7)
    locks.close()


def test_a_forked_child_owns_nothing_and_takes_nothing_away(path: Path) -> None:
    """A child that inherits the descriptor, and closes it, leaves the bytes with its parent."""
    locks = _taken(path, 5)

    def child() -> None:
        assert locks.owned(5)
        assert not locks.take(5)
        locks.close()

    assert forked(child) == 0
    with Child(lambda: RangeLocks(path)) as other:
        assert other.call(RangeLocks.owned, 5)
    locks.close()


def test_a_byte_that_was_given_back_can_be_taken(path: Path) -> None:
    """Given back, a byte is anybody's; the others stay."""
    locks = _taken(path, 1, 2)
    locks.give(1)

    with Child(lambda: RangeLocks(path)) as other:
        assert other.call(RangeLocks.take, 1)
        assert not other.call(RangeLocks.take, 2)
    locks.close()


def test_a_byte_is_held_for_the_length_of_a_block(path: Path) -> None:
    """Inside of the block it is ours, behind it anybody's, also if the block raised."""
    locks = RangeLocks(path)
    with Child(lambda: RangeLocks(path)) as other:
        with contextlib.suppress(KeyError), locks.held(0, seconds=0) as taken:
            assert taken
            assert other.call(RangeLocks.owned, 0)
            raise KeyError
        assert not other.call(RangeLocks.owned, 0)
    locks.close()


def test_the_wait_for_a_byte_has_an_end(path: Path) -> None:
    """Who cannot have it in time goes on without, and does not give back what is another's."""
    locks = RangeLocks(path)
    with Child(lambda: _taken(path, 0)) as other:
        began = time.monotonic()
        with locks.held(0, seconds=0.1) as taken:
            assert not taken
        assert time.monotonic() - began >= 0.1
        assert locks.owned(0)
        other.call(RangeLocks.give, 0)
        with locks.held(0, seconds=0.1) as taken:
            assert taken
    locks.close()


def test_a_waiter_gets_the_byte_when_its_holder_dies(path: Path) -> None:
    """A wait ends with the death of the holder and not with the deadline."""
    locks = RangeLocks(path)
    got: list[bool] = []

    def wait() -> None:
        with locks.held(0, seconds=30) as taken:
            got.append(taken)

    with Child(lambda: _taken(path, 0)) as other:
        waiter = threading.Thread(target=wait)
        waiter.start()
        other.kill()
        waiter.join(60)

    assert got == [True]
    locks.close()


def test_a_directory_is_locked_for_the_length_of_a_block(path: Path) -> None:
    """Inside of the block nobody else gets it, and a child forked there has it no longer."""
    with directory_lock(path, seconds=0) as locked, Child(lambda: path) as other:
        assert locked
        assert not other.call(_can_lock)
    with Child(lambda: path) as other:
        assert other.call(_can_lock)


def _can_lock(path: Path) -> bool:
    with directory_lock(path, seconds=0) as locked:
        return locked


# -- leases --------------------------------------------------------------------------------------


class _Holder(NamedTuple):
    """Holds a lease, and forks a child that lives until somebody writes to a pipe."""

    lease: Lease
    pipe: tuple[int, int]

    def fork(self, *, forget: bool) -> int:
        """Fork the child; return its pid."""
        assert self.lease.take()
        reader, writer = self.pipe
        pid = os.fork()
        if pid == 0:
            os.close(writer)
            if forget:
                self.lease.forget()
            os.read(reader, 1)
            os._exit(0)
        return pid


def _is_held(lease: Lease) -> bool:
    return lease.held


def test_one_process_has_the_duty_until_it_gives_it_up(path: Path) -> None:
    """The first takes it and keeps it, the others do not get it, and then one of them does."""
    ours = Lease(path)
    assert not _is_held(ours)

    with Child(lambda: Lease(path)) as other:
        assert ours.take()
        assert ours.take()
        assert _is_held(ours)
        assert not other.call(Lease.take)
        ours.give()
        ours.give()
        assert not _is_held(ours)
        assert other.call(Lease.take)
        assert not ours.take()


def test_a_killed_holders_duty_is_free(path: Path) -> None:
    """The next one gets it at its next try."""
    lease = Lease(path)
    with Child(lambda: Lease(path)) as other:
        assert other.call(Lease.take)
        assert not lease.take()
        other.kill()

    assert lease.take()
    lease.give()


@pytest.mark.parametrize("forget", [True, False])
def test_a_forked_child_keeps_the_duty_unless_it_forgets(path: Path, forget: bool) -> None:
    """A dead holder's duty is free although its child lives on, if that child has forgotten it."""
    lease, pipe = Lease(path), os.pipe()
    with Child(lambda: _Holder(Lease(path), pipe)) as holder:
        child = holder.call(_Holder.fork, forget=forget)
        assert not lease.take()
        holder.kill()

        # The child forgets after its pid was told.
        assert until(lease.take, 30 if forget else 0.2) is forget
    assert Path(f"/proc/{child}").exists()
    os.write(pipe[1], b"!")
    assert until(lambda: start_time(child) is None)
    assert until(lease.take)
    lease.give()
    for fd in pipe:
        os.close(fd)


def test_a_duty_that_is_taken_during_a_fork_is_left_and_taken_anew(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that shares the lock and cannot know of it does not keep the duty."""
    lease = Lease(path)
    with forks_during(fcntl.flock) as flock:
        monkeypatch.setattr(fcntl, "flock", flock)
        assert not lease.take()
        assert lease.take()
        lease.give()
        with Child(lambda: Lease(path)) as other:
            assert other.call(Lease.take)


def test_a_lease_whose_descriptor_was_closed_is_taken_anew(path: Path) -> None:
    """What has got its number since is the application's: neither unlocked nor closed."""
    lease = Lease(path)
    assert lease.take()
    assert lease._fd is not None
    with path.with_name("mine").open("w+b") as mine:
        # The lock is gone with the descriptor, and its number is another file's.
        os.dup2(mine.fileno(), lease._fd)
        number = lease._fd
        fcntl.flock(mine, fcntl.LOCK_EX)
        assert lease.take()
        assert os.path.samestat(os.fstat(number), os.fstat(mine.fileno()))
        with path.with_name("mine").open("rb") as theirs, pytest.raises(BlockingIOError):
            fcntl.flock(theirs, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(number)
    lease.give()


def test_forgetting_takes_the_duty_from_nobody(path: Path) -> None:
    """A child that forgets, or ends, leaves its parent the duty."""
    lease = Lease(path)
    assert lease.take()

    assert forked(lease.forget) == 0
    with Child(lambda: Lease(path)) as other:
        assert not other.call(Lease.take)
    lease.give()


def test_a_lease_whose_file_was_removed_is_taken_anew(path: Path) -> None:
    """Two holders of locks of one name are told apart: the one of the removed file lets go."""
    first = Lease(path)
    assert first.take()
    path.unlink()

    with Child(lambda: Lease(path)) as second:
        assert second.call(Lease.take)
        assert not first.take()
        assert not _is_held(first)
        path.unlink()
        assert first.take()
    first.give()


def test_a_holder_whose_file_was_removed_makes_another(path: Path) -> None:
    """Where nobody else was faster it has the duty again, by a lock that others see."""
    lease = Lease(path)
    assert lease.take()
    path.unlink()

    assert lease.take()
    with Child(lambda: Lease(path)) as other:
        assert not other.call(Lease.take)
    lease.give()
    lease.forget()


def test_a_lease_that_cannot_be_locked_leaks_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system without such locks each try fails, and leaves no descriptor open."""

    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", unsupported)
    before = set(Path("/proc/self/fd").iterdir())

    for _ in range(3):
        with pytest.raises(OSError, match="No locks"):
            Lease(path).take()

    # Of those that other tests left open, one may be closed meanwhile.
    assert set(Path("/proc/self/fd").iterdir()) <= before


def test_a_holder_leaves_a_word_for_the_others(path: Path) -> None:
    """The last word stands, also when its holder is gone; before the first there is none."""
    lease = Lease(path)
    assert lease.noted() == ""
    with Child(lambda: Lease(path)) as other:
        other.call(Lease.take)
        other.call(Lease.note, "a longer word")
        other.call(Lease.note, "9464")

        assert lease.noted() == "9464"
    assert lease.noted() == "9464"


def test_whatever_lies_in_place_of_a_lease_can_be_asked_for_a_word(path: Path) -> None:
    """Bytes that are no text are told as well as can be; of a FIFO nothing is, and at once."""
    path.write_bytes(b"\xff9464")
    assert Lease(path).noted() == "\N{REPLACEMENT CHARACTER}9464"

    path.unlink()
    os.mkfifo(path)
    assert Lease(path).noted() == ""
    with pytest.raises(LedgerError, match="not a regular file"):
        Lease(path).take()
