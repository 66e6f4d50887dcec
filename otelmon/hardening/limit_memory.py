"""Counts of clients in the memory that all processes of the server share.

There is one for each process, whatever applications are in it: the kernel's locks are a process's.
"""

from __future__ import annotations

import _thread
import functools
import logging
import os
import time
from typing import TYPE_CHECKING, Final

from otelmon import faults, threads
from otelmon.errors import LedgerError
from otelmon.ledger.opening import opened_quotas
from otelmon.ledger.quota_file import private_quotas
from otelmon.ledger.quotas import Asked
from otelmon.serving import place_of
from otelmon.stack import identity_in_use


if TYPE_CHECKING:
    from collections.abc import Sequence

    from otelmon.hardening.policies import Quota
    from otelmon.ledger.quota_file import QuotaFile
    from otelmon.ledger.quotas import Answer, Quotas
    from otelmon.settings import Settings


log = logging.getLogger("otelmon")

_SECOND: Final = 1_000_000_000
# Clients whose keys are at hand; a key is a hash and takes a while.
_REMEMBERED: Final = 2048
# How often it is seen to that the file is still the one that the others have.
_LOOK_SECONDS: Final = 5.0
# How often a process that counts for itself tries to join the others.
_JOIN_SECONDS: Final = 10.0
# How soon it is seen that the file could be opened.
_SOON_SECONDS: Final = 0.05
# For the first request, which opens the file, and those beside it.
_OPEN_SECONDS: Final = 3.0


class LimitMemory:
    """This process's way to the counts."""

    def __init__(self) -> None:
        """Open nothing yet."""
        self._forker: int | None = None
        self._file: QuotaFile | None = None
        self._begin()

    def _begin(self) -> None:
        self._file = None
        self._joining: threads.Errand[QuotaFile | None] | None = None
        self._quotas: Quotas | None = None
        self._look_at = 0.0
        self._lock = threads.original(_thread, "allocate_lock")()
        self._asks = functools.lru_cache(_REMEMBERED)(_asks)

    def forget(self) -> None:
        """Be as new in a forked child."""
        if self._file is not None:
            self._file.close()
        self._begin()
        self._forker = os.getppid()

    def hit(self, quotas: Sequence[Quota], client: str, settings: Settings) -> Answer:
        """Count a client's request under each quota if all admit it, else under none.

        Raises:
            TimeoutError: the counts could not be had in time.
            OSError: the kernel has no locks to give.
        """
        # First: with another memory there are other keys.
        memory = self._memory(settings)
        asks = self._asks
        return memory.hit([asks(memory, quota, client) for quota in quotas])

    def _memory(self, settings: Settings) -> Quotas:
        memory = self._quotas
        if memory is not None and time.monotonic() < self._look_at:
            return memory
        lock = self._lock
        # Nobody waits for who only looks whether the file is still there, nor may a greenlet wait
        # for another one of its thread, which could not go on.
        waits = memory is None and not threads.is_green()
        if not lock.acquire(True, _OPEN_SECONDS if waits else 0):
            if memory is None:
                raise TimeoutError("The memory of the rate limits was not opened in time.")
            return memory
        try:
            return self._looked(settings)
        finally:
            lock.release()

    def _looked(self, settings: Settings) -> Quotas:
        memory = self._quotas
        now = time.monotonic()
        if memory is not None and now < self._look_at:
            return memory
        if self._file is not None and not self._file.replaced():
            self._look_at = now + _LOOK_SECONDS
            return self._file.quotas
        if memory is not None and self._is_joining(settings):
            self._look_at = now + _SOON_SECONDS
            return memory
        return self._taken_up(self._opened(settings) if memory is None else self._joined())

    def _taken_up(self, shared: QuotaFile | None) -> Quotas:
        """Count in the file from now on, or alone if there is none."""
        memory = self._quotas
        if shared is None:
            memory, seconds = memory or private_quotas(), _JOIN_SECONDS
        else:
            if memory is not None:
                log.warning(
                    "This process counts rate limits together with the other workers again; what it "
                    "had counted alone is dropped."
                )
            self._file, memory, seconds = shared, shared.quotas, _LOOK_SECONDS
        if memory is not self._quotas:
            self._asks.cache_clear()
        self._quotas, self._look_at = memory, time.monotonic() + seconds
        return memory

    def _is_joining(self, settings: Settings) -> bool:
        """Have the file opened beside the requests; return whether that is still under way.

        It waits for others who open or tidy up, seconds if one of them was stopped, and with counts
        at hand no request needs to.
        """
        if self._joining is None:
            joining = threads.Errand(functools.partial(self._opened, settings))
            try:
                joining.start()
            except RuntimeError as error:  # no thread can be had
                faults.report("rate_limit_memory", error)
                return False
            self._joining = joining
        return not self._joining.idle

    def _joined(self) -> QuotaFile | None:
        joining, self._joining = self._joining, None
        return None if joining is None else joining.run(0.0, old=True)

    def _opened(self, settings: Settings) -> QuotaFile | None:
        """Return the instance's file, None if there can be none."""
        try:
            identity = identity_in_use(settings, forker=self._forker)
            if identity is None:
                return None
            return opened_quotas(place_of(settings), identity)
        except (LedgerError, OSError) as error:
            # Each process allows the whole limit now, which the server's operator must know.
            faults.report("rate_limit_memory", error)
            return None


def _asks(memory: Quotas, quota: Quota, client: str) -> Asked:
    key = memory.key(quota.name, str(quota.requests), str(quota.seconds), client)
    return Asked(key, quota.requests, quota.seconds * _SECOND)


MEMORY: Final = LimitMemory()
if hasattr(os, "register_at_fork"):  # Windows has no forks
    os.register_at_fork(after_in_child=MEMORY.forget)
