"""The ledger's memory: a map of this process alone, or a mapped file that processes share."""

from __future__ import annotations

import contextlib
import mmap
import os
import stat
import sys
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from otelmon.errors import LedgerError
from otelmon.ledger import layout
from otelmon.ledger.files import close_own, is_open_on, keep_mapped, mapped, open_private
from otelmon.ledger.locks import RangeLocks


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


# Slots are mapped in blocks, because a map holds a file descriptor of its own.
_BLOCK: Final = 8
_KEYS_LOCK: Final = layout.SLOTS
_LIVE_LOCKS: Final = layout.SLOTS + 1
_PORT_LOCK: Final = 2 * layout.SLOTS + 1
LOCKS: Final = 2 * layout.SLOTS + 2
"""How many bytes of the file of the locks mean something"""
# New series are rare. Who holds the lock needs some 50 us, but on a busy machine it may wait for a
# processor meanwhile; whoever cannot get it even so uses the overflow series for now.
_KEYS_SECONDS: Final = 0.25
_CLOSED: Final = -1


class SlotView(NamedTuple):
    """The parts of a slot as arrays of words."""

    head: memoryview[int]
    counts: memoryview[int]
    sums: memoryview[float]
    values: memoryview[float]


class Segment:
    """The memory of one process that shares nothing: header, key table, boards, past and one slot.

    It is the whole of it on systems without shared memory, and the last resort where no file can
    be had.
    """

    def __init__(self) -> None:
        """Take the memory; its pages cost nothing until they are used."""
        # Not shared with forked children either, where that can be said.
        private = (
            {} if sys.platform == "win32" else {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS}
        )
        whole = memoryview(mmap.mmap(-1, layout.slot_at(1), **private))
        self.created = time.time_ns()
        """Unix ns at which the memory was made"""
        header = layout.encode_header(layout.Header(self.created, bytes(16), 0))
        whole[: len(header)] = header
        self._use(whole[: layout.SLOTS_AT])
        self._slots = {0: _view(whole[layout.SLOTS_AT :])}

    def _use(self, common: memoryview) -> None:
        self._common = common
        self.header = common[: layout.PAGE].cast("Q")
        self.board = common[layout.BOARD_AT : layout.PAST_AT]
        self.past = common[layout.PAST_AT :]

    @property
    def shared(self) -> bool:
        """Tell whether other processes see this memory."""
        return False

    def take_space(self, at: int, length: int) -> None:
        """Make sure that storing to these bytes cannot fail; ENOSPC is raised here instead."""

    def slot(self, number: int) -> SlotView:
        """Return the words of a slot. Touch only what its owner has taken space for."""
        return self._slots[number]

    def claim(self, number: int) -> bool:
        """Own a slot until this process ends, unless another process does.

        To readers its last owner stays dead until `enter`: so they see no moment at which what
        that one had in flight is neither its own nor counted as lost.
        """
        return number in self._slots

    def enter(self, number: int) -> None:
        """Be seen as the slot's live owner from now on."""

    def keep(self, number: int) -> bool:  # noqa: ARG002 - nobody else sees it
        """Make sure that an entered slot is this process's; False if another process owns it."""
        return True

    def owned_by_another(self, number: int) -> bool:  # noqa: ARG002 - nobody else sees it
        """Tell whether another process lives that owns the slot."""
        return False

    def claim_port(self) -> bool:
        """Be the process, beside the workers, that is there for the metrics port, if none is yet."""
        return False

    def port_claimed(self) -> bool:
        """Tell whether another process is there for the metrics port: workers leave it to that."""
        return False

    @contextlib.contextmanager
    def appending(self) -> Iterator[bool]:
        """Be the only process that appends keys; yield False if that cannot be had soon."""
        yield True

    def keys(self, start: int) -> bytes:
        """Return what is published of the key table from byte *start* on."""
        end = min(self.header[layout.HEADER_KEYS_END], layout.KEYS_BYTES)
        return bytes(self._common[layout.KEYS_AT + start : layout.KEYS_AT + end])

    def make_room(self, frame: bytes, *, share: float = 1) -> None:
        """Make sure that publishing *frame* cannot fail, the caller being alone.

        It may be in this first *share* of the key table only.

        Raises:
            LedgerError, OSError: there is no more space.
        """
        end = self.header[layout.HEADER_KEYS_END]
        if end + len(frame) > share * layout.KEYS_BYTES:
            raise LedgerError(f"The key table's {share * layout.KEYS_BYTES:.0f} bytes are used up.")
        self.take_space(layout.KEYS_AT + end, len(frame))

    def publish(self, frame: bytes) -> None:
        """Append a framed record to the key table, the caller being alone.

        Raises:
            LedgerError, OSError: there is no more space.
        """
        self.make_room(frame)
        end = self.header[layout.HEADER_KEYS_END]
        at = layout.KEYS_AT + end
        self._common[at : at + len(frame)] = frame
        self.header[layout.HEADER_KEYS_END] = end + len(frame)

    def replaced(self) -> bool:
        """Tell whether the memory's file was removed, or another lies in its place."""
        return False

    def has_locks_of(self, other: Segment) -> bool:  # noqa: ARG002 - it has none
        """Tell whether closing *other* would drop this one's locks: they are of one file."""
        return False

    def close(self) -> None:
        """Give the slots back; the memory can still be read, and goes with its last view."""


class SharedSegment(Segment):
    """A ledger file, mapped. Space is taken before it is written, never by writing."""

    access = mmap.ACCESS_DEFAULT

    def __init__(self, path: Path, *, header: layout.Header) -> None:
        """Open the ledger file at *path*, or create it with *header*.

        The caller holds the directory's lock.

        Raises:
            LedgerError: the file is not a ledger of this layout, boot and network namespace.
            OSError: it cannot be had: no space, no permission, a planted link.
        """
        self.path = path
        self._blocks: dict[int, memoryview] = {}
        self._slots = {}
        self._open(os.O_RDWR | os.O_CREAT)
        try:
            self._prepare(header)
            self._use(self._mapped(layout.SLOTS_AT, at=0))
            self._locks = self._bound_locks()
        except BaseException:
            os.close(self._fd)
            raise

    def _open(self, flags: int) -> None:
        self._fd = open_private(self.path, flags)
        self._file = os.fstat(self._fd)

    def _prepare(self, header: layout.Header) -> None:
        if os.fstat(self._fd).st_size == 0:
            self.take_space(0, layout.KEYS_AT)
            # The header last: a file whose maker was killed half-way is refused, and made anew.
            os.ftruncate(self._fd, layout.FILE_BYTES)
            os.pwrite(self._fd, layout.encode_header(header), 0)
        if (size := os.fstat(self._fd).st_size) != layout.FILE_BYTES:
            raise LedgerError(
                f"The ledger {self.path} has {size} bytes where {layout.FILE_BYTES} belong."
            )
        found = layout.decode_header(os.pread(self._fd, layout.PAGE, 0))
        self.created = found.created
        if (found.boot, found.network) != (header.boot, header.network):
            raise LedgerError(f"The ledger {self.path} is of another boot or network namespace.")

    def _bound_locks(self) -> RangeLocks:
        """Open the locks that the slots' owners hold: by others, a slot would get a second one."""
        locks = RangeLocks(self.path.with_suffix(".slots"))
        bound = self.header[layout.HEADER_LOCKS] or locks.inode
        if bound != locks.inode:
            locks.close()
            raise LedgerError(f"The locks beside the ledger {self.path} are not its owners'.")
        self.header[layout.HEADER_LOCKS] = bound
        return locks

    @property
    def shared(self) -> bool:
        """Tell that other processes see this memory."""
        return True

    def take_space(self, at: int, length: int) -> None:
        """Take file space now: a store to a page that a full tmpfs cannot give kills by SIGBUS."""
        self._must_be_open()
        os.posix_fallocate(self._fd, at, length)

    def slot(self, number: int) -> SlotView:
        """Return the words of a slot, mapped at the first call."""
        if number not in self._slots:
            at = number % _BLOCK * layout.SLOT_BYTES
            self._slots[number] = _view(self._block(number // _BLOCK)[at : at + layout.SLOT_BYTES])
        return self._slots[number]

    def _block(self, number: int) -> memoryview:
        if number not in self._blocks:
            self._must_be_open()
            length = _BLOCK * layout.SLOT_BYTES
            at = layout.SLOTS_AT + number * length
            self._blocks[number] = self._mapped(length, at=at)
        return self._blocks[number]

    def _mapped(self, length: int, *, at: int) -> memoryview:
        return memoryview(mapped(self._fd, length, at=at, access=self.access))

    def _must_be_open(self) -> None:
        if not is_open_on(self._fd, self._file):
            raise LedgerError(f"The ledger {self.path} was closed by this process.")

    @property
    def _intact(self) -> bool:
        """Tell whether both files are open here, and nobody has closed their descriptors."""
        return is_open_on(self._fd, self._file) and self._locks.intact

    def claim(self, number: int) -> bool:
        """Take the slot's first lock, which keeps others from claiming it."""
        return self._locks.take(number)

    def enter(self, number: int) -> None:
        """Take the slot's second lock, which tells readers of a live owner."""
        self._locks.take(_LIVE_LOCKS + number)

    def keep(self, number: int) -> bool:
        """Take both locks again, for they are gone if anybody here has closed the locks' file.

        Another process may have come and gone meanwhile; the slot tells who was its last owner. Nor
        is it kept if the application has closed the descriptors themselves.
        """
        if not self._intact:
            return False
        taken = self._locks.take(number) and self._locks.take(_LIVE_LOCKS + number)
        return taken and self.slot(number).head[layout.HEAD_PID] == os.getpid()

    def owned_by_another(self, number: int) -> bool:
        """Ask the kernel whether another process has entered the slot."""
        return self._locks.owned(_LIVE_LOCKS + number)

    def claim_port(self) -> bool:
        """Take the lock that says so; it goes with this process."""
        return self._locks.take(_PORT_LOCK)

    def port_claimed(self) -> bool:
        """Ask the kernel."""
        return self._locks.owned(_PORT_LOCK)

    @contextlib.contextmanager
    def appending(self) -> Iterator[bool]:
        """Hold the key table's lock."""
        if not self._intact:
            yield False
            return
        with self._locks.held(_KEYS_LOCK, seconds=_KEYS_SECONDS) as taken:
            yield taken

    def replaced(self) -> bool:
        """Compare the file that is mapped with the one that bears its name now."""
        if self._fd == _CLOSED:
            return True
        try:
            found = self.path.lstat()
        except OSError:
            return True
        return not (stat.S_ISREG(found.st_mode) and os.path.samestat(found, self._file))

    def has_locks_of(self, other: Segment) -> bool:
        """Compare the files of the locks."""
        return isinstance(other, SharedSegment) and other.locks_inode == self.locks_inode

    @property
    def locks_inode(self) -> int:
        """Return what tells the file of the locks from another one of its name."""
        return self._locks.inode

    def close(self) -> None:
        """Let go of every lock; slots that were used can be read on, if there are descriptors for it."""
        if self._fd != _CLOSED:
            with contextlib.suppress(OSError, LedgerError):
                for number in range(min(self.header[layout.HEADER_SLOTS_USED], layout.SLOTS)):
                    self.slot(number)
            # The number first: once closed it may belong to a file of the application's.
            fd, self._fd = self._fd, _CLOSED
            self._locks.close()
            if not close_own(fd, self._file):
                keep_mapped(self._common, *self._blocks.values())


def _view(slot: memoryview) -> SlotView:
    return SlotView(
        slot[: layout.COUNTS_AT].cast("Q"),
        slot[layout.COUNTS_AT : layout.SUMS_AT].cast("Q"),
        slot[layout.SUMS_AT : layout.VALUES_AT].cast("d"),
        slot[layout.VALUES_AT :].cast("d"),
    )
