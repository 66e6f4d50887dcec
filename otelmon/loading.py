"""Imports of otelmon's own, kept apart from the application's forks.

While a module is imported its lock is held, and CPython leaves it so in a forked child: whoever
imports that module there waits for a thread that the child does not have, for ever. Our threads import
beside the application, which cannot know when. So what they load late is loaded `apart_from_forks`, and
a fork waits until that is done; it takes some 10 to 300 ms, once in a process.
"""

from __future__ import annotations

import _thread
import encodings.idna  # noqa: F401 - else the first look-up of a host's name loads it, in any thread
import os
from typing import TYPE_CHECKING, Any, Final

from otelmon.threads import original


if TYPE_CHECKING:
    from contextlib import AbstractContextManager


# An import may itself wait, at the worst for the thread that forks.
_FORK_SECONDS: Final = 2.0


def _made() -> Any:  # noqa: ANN401 - a lock that knows its owner, which typeshed's does not
    return original(_thread, "RLock")()


_lock = _made()


def apart_from_forks() -> AbstractContextManager[object]:
    """Return what is held around an import: no other thread forks in the block, within 2 s."""
    lock: AbstractContextManager[object] = _lock
    return lock


def _wait() -> None:
    _lock.acquire(True, _FORK_SECONDS)


def _go_on() -> None:
    if _lock._is_owned():  # noqa: SLF001 - as threading.Condition asks; else the wait was in vain
        _lock.release()


def _begin_anew() -> None:
    global _lock  # noqa: PLW0603 - a thread that is not here may have it
    _lock = _made()


if hasattr(os, "register_at_fork"):  # Windows has no forks
    os.register_at_fork(before=_wait, after_in_parent=_go_on, after_in_child=_begin_anew)
