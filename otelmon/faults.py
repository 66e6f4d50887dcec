"""What went wrong inside otelmon: a log line per kind and class, a count, a place in `/health`.

The application comes first, so nothing of ours raises into it; this is where such failures go
instead. Kinds are a small fixed vocabulary of snake_case words, chosen by the code that reports.
"""

from __future__ import annotations

import logging
import os
import re
import time
import traceback
from _thread import RLock
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from otelmon.errors import OtelmonError


if TYPE_CHECKING:
    from collections.abc import Mapping


log = logging.getLogger("otelmon")


class Fault(NamedTuple):
    """How often one kind of failure was seen in this process, and what it was last."""

    times: int
    error: str  # class name only: messages may hold addresses and secrets
    at: float  # Unix seconds
    each: Mapping[str, Fault] = MappingProxyType({})
    """By what it was that failed, where there are several of a kind"""


OTHERS: Final = "_OTHER"
"""Stands for all that failed after the first MOST_NAMES of a kind"""
MOST_NAMES: Final = 20

_SAID_CHARACTERS: Final = 200
_CREDENTIALS: Final = {
    re.compile(r"\S*@"): "...@",
    re.compile(r"\?\S+"): "?...",
    # As libpq's addresses and dictionaries of options have them.
    re.compile(
        r"""(?i)((?:password|passwd|pwd|secret|token|api_?key)['"]?\s*[=:]\s*)('[^']*'|"[^"]*"|\S+)"""
    ): r"\1...",
}
# An error that was raised because of another one, which was because of another one, ...
_MOST_CAUSES: Final = 5

_faults: dict[str, Fault] = {}
_logged: dict[str, frozenset[tuple[str, str]]] = {}
"""Of which parts, and which classes of errors, there was a line, by kind"""
_booked: dict[str, int] = {}
"""How many of each kind are in the ledger, whichever monitors have come and gone"""
# Re-entrant: a GC callback may report while a report is being written.
_lock = RLock()


def report(kind: str, error: BaseException, *, of: str = "") -> None:
    """Count a failure of *kind*; log it, with where it was raised, the first time of its class.

    Where several parts can fail in one way, *of* names the one: each of the first MOST_NAMES is
    counted and logged for itself. It is a name that code has given, as that of an instrument. A
    kind has a bounded number of lines, whatever fails.
    """
    with _lock:
        before = _faults.get(kind)
        fault = _one_more(before, error)
        if of:
            each = dict(fault.each)
            of = of if of in each or len(each) < MOST_NAMES else OTHERS
            each[of] = _one_more(each.get(of), error)
            fault = fault._replace(each=each)
        _faults[kind] = fault
        new = _is_new(kind, of, type(error).__name__)
    if new:
        log.error(
            "%s failed: %s. The application goes on; further failures of this kind and class are "
            "only counted, see /health.\n%s",
            f"{kind} {of}" if of else kind,
            _told(error),
            _raised(error),
        )


def _is_new(kind: str, of: str, error: str) -> bool:
    """Tell whether there is to be a line, which is noted."""
    logged = _logged.get(kind, frozenset())
    parts = {part for part, _ in logged}
    # Beside the first of each part, MOST_NAMES for classes that came later.
    if (of, error) in logged or (of in parts and len(logged) - len(parts) >= MOST_NAMES):
        return False
    _logged[kind] = logged | {(of, error)}
    return True


def _told(error: BaseException) -> str:
    """Return the error's message and class; of a message that is not ours only what `said` leaves."""
    name = type(error).__name__
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - an application's error may fail at that, too
        return name
    message = _without_credentials(message) if isinstance(error, OtelmonError) else said(message)
    return f"{message.rstrip('.')} ({name})" if message else name


def _raised(error: BaseException) -> str:
    """Return where the error and its causes were raised, without what any of them says."""
    lines: list[str] = []
    causes: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in causes and len(causes) < _MOST_CAUSES:
        causes.add(id(cause))
        because = "Because of " if len(causes) > 1 else ""
        lines.append(f"{because}{type(cause).__name__}. Traceback (most recent call last):\n")
        lines += traceback.format_tb(cause.__traceback__)
        hidden = None if cause.__suppress_context__ else cause.__context__
        cause = cause.__cause__ or hidden
    return "".join(lines).rstrip()


def _one_more(before: Fault | None, error: BaseException) -> Fault:
    times, each = (0, {}) if before is None else (before.times, before.each)
    return Fault(times + 1, type(error).__name__, time.time_ns() / 1e9, each)


def said(message: str) -> str:
    """Return a message's first line for the log, without what may be credentials in an address.

    All up to the last `@` of a word goes: a password may hold any character, a slash and an `@` too.
    """
    line = _without_credentials(message.strip().partition("\n")[0])
    return line if len(line) <= _SAID_CHARACTERS else f"{line[:_SAID_CHARACTERS]}..."


def _without_credentials(message: str) -> str:
    for pattern, instead in _CREDENTIALS.items():
        message = pattern.sub(instead, message)
    return message


def seen() -> dict[str, Fault]:
    """Return what this process has seen, by kind."""
    with _lock:
        return dict(_faults)


def unbooked() -> dict[str, int]:
    """Return how many of each kind are in this process's counts only, where there are any."""
    grown = {kind: fault.times - _booked.get(kind, 0) for kind, fault in seen().items()}
    return {kind: times for kind, times in grown.items() if times > 0}


def book(kind: str, times: int) -> None:
    """Note that so many more of a kind are in the ledger; for one thread at a time."""
    _booked[kind] = _booked.get(kind, 0) + times


def forget() -> None:
    """Start anew, as a forked child does: what its parent saw is its parent's to tell."""
    global _lock  # noqa: PLW0603 - the parent's lock may have been held by a thread that is gone
    _lock = RLock()
    _faults.clear()
    _logged.clear()
    _booked.clear()


if hasattr(os, "register_at_fork"):  # Windows has no forks
    os.register_at_fork(after_in_child=forget)
