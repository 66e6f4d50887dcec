"""One look-up in a query cache: the way from a key to its value.

Who makes a missing value is dogpile's to rule (`dogpile.Lock`); here is what it asks for: the value
that is kept, the creator, and the lock that only one of all processes gets.
"""

from __future__ import annotations

import secrets
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from dogpile import Lock, NeedRegenerationException

from otelmon import faults
from otelmon.caches import entries
from otelmon.caches.stores import Right, Seen
from otelmon.instruments.lookups import aloud, quietly


if TYPE_CHECKING:
    from collections.abc import Callable

    from otelmon.caches.entries import Entry, Place
    from otelmon.caches.measures import CacheMeasures
    from otelmon.caches.stores import Store


# How long a look-up asks a slow server, each answer of which still comes within its deadline.
_PATIENCE: Final = 0.2
_FIRST_PAUSE: Final = 0.005
_LONGEST_PAUSE: Final = 0.1
_PAUSE_GROWTH: Final = 1.5
_NOTHING: Final = Seen(None, "")


class LookUp:
    """What one look-up knows; it is used once."""

    def __init__(
        self,
        store: Store,
        place: Place,
        creator: Callable[[], Any],
        measures: CacheMeasures,
    ) -> None:
        """Look for nothing yet."""
        self._store = store
        self._place = place
        self._creator = creator
        self._measures = measures
        self._seen: Seen | None = None
        self._entry: Entry | None = None
        self._owner = ""
        self._owns_until = 0.0
        self._state = ""
        self._made = self._waited = self._lost = False
        self._spent = 0.0

    def run(self, seconds: float, *, keep: float, lock: float) -> Any:  # noqa: ANN401 - whatever JSON holds
        """Return the value, not older than *seconds* unless another makes a new one right now.

        It is kept for *keep* seconds, and made under a lock that lasts *lock* seconds.
        """
        self._keep_seconds, self._lock_seconds, self._fresh_seconds = keep, lock, seconds
        ruled: Any = Lock(self, self._create, self._value, seconds)  # type: ignore[no-untyped-call]
        with quietly(), ruled as value:
            self._guarded(self._count)
            return value

    def _count(self) -> None:
        if self._made:
            self._measures.misses(1)
            return
        self._measures.hits(1)
        entry = self._entry
        stale = entry is not None and not self._is_fresh(entry)
        if stale:
            self._measures.stale(1)
        if stale or self._waited:
            self._measures.prevented(1)

    def _is_fresh(self, entry: Entry) -> bool:
        return _now() - entry.at <= self._fresh_seconds

    # -- what dogpile asks for -------------------------------------------------------------------

    def _value(self) -> tuple[Any, float]:
        """Return the value and when it was made."""
        seen, self._seen = self._seen, None
        if seen is None:
            # After the lock was got, what was there then has been seen already.
            seen = self._ask(lambda: self._store.look(self._place), _NOTHING)
        self._entry = self._judged(seen)
        if self._entry is None:
            raise NeedRegenerationException
        return self._entry.value, self._entry.at

    def acquire(self, wait: bool = True) -> bool:
        """Get the right to make the value.

        Where *wait*, until somebody else has made it or its maker has had its time; who then still
        has none makes the value without.
        """
        owner, pause = secrets.token_hex(8), _FIRST_PAUSE
        until = time.monotonic() + self._lock_seconds
        while True:
            asked = time.monotonic()
            got, seen = self._ask(
                lambda: self._store.begin(self._place, owner, self._lock_seconds), (True, None)
            )
            if got and not self._lost:
                self._owner, self._owns_until = owner, asked + self._lock_seconds
            if got or not wait:
                self._seen = seen if got else None
                return bool(got)
            self._seen = seen
            entry = self._judged(seen)
            if entry is not None and self._is_fresh(entry):
                self._waited = True
                return False
            if self._lost or time.monotonic() >= until:
                return False
            # A wait that gevent can make its own, and a new one each time: nobody else knows it.
            threading.Event().wait(min(pause, max(0.0, until - time.monotonic())))
            pause = min(pause * _PAUSE_GROWTH, _LONGEST_PAUSE)
            # It was spent waiting for a creator, not for the server.
            self._spent = 0.0

    def release(self) -> None:
        """Leave the right to others, if it was got and is still there."""
        owner, self._owner = self._owner, ""
        if owner:
            self._ask(lambda: self._store.give_up(self._place, owner), None)

    def _create(self) -> tuple[Any, float]:
        """Make the value, and keep it; unless another has just done so."""
        entry = self._judged(self._seen)
        if entry is not None and self._is_fresh(entry):
            self._entry, self._waited = entry, True
            return entry.value, entry.at
        began, at = time.monotonic(), _now()
        try:
            with aloud():
                value = self._creator()
        except BaseException as error:
            self._made = True
            took = time.monotonic() - began
            self._guarded(partial(self._measures.load_failed, took, error))
            self._guarded(partial(self._measures.misses, 1))
            raise
        self._made = True
        self._guarded(partial(self._measures.loaded, time.monotonic() - began))
        return self._kept(value, at), at

    # -- the store, which may fail ---------------------------------------------------------------

    def _kept(self, value: Any, at: float) -> Any:  # noqa: ANN401 - as above
        """Keep a value; return what JSON makes of it."""
        try:
            text = entries.as_json(value)
            shown = entries.from_json(text)
        except (TypeError, ValueError, RecursionError) as error:
            self._measures.failed(error)
            faults.report("query_cache_value", error)
            return value
        seen_state = self._state
        right = Right(
            # Who had the right for as long as it lasts keeps the value if nobody else makes one.
            self._owner if time.monotonic() < self._owns_until else "",
            seen_state or secrets.token_hex(8),
            fresh=not seen_state,
        )
        data = entries.encode(text, at, right.state)
        self._owner = ""
        self._ask(
            lambda: self._store.keep(self._place, data, right, self._keep_seconds),
            None,
            patient=True,
        )
        return shown

    def _judged(self, seen: Seen | None) -> Entry | None:
        """Return the entry that was seen, if it is one and was not invalidated."""
        if seen is None:
            return None
        self._state = seen.state
        if seen.data is None:
            return None
        try:
            entry = entries.decode(seen.data, _now())
        except ValueError as error:
            self._measures.failed(error)
            return None
        return entry if entry.state == seen.state else None

    def _ask(self, what: Callable[[], Any], otherwise: Any, *, patient: bool = False) -> Any:  # noqa: ANN401 - any answer
        """Return the store's answer; after a failure, or where it is slow, ask it no more."""
        if self._lost or (self._spent > _PATIENCE and not patient):
            self._lost = True
            return otherwise
        began = time.monotonic()
        try:
            return what()
        except Exception as error:  # noqa: BLE001 - whatever the server made the library raise
            self._lost = True
            self._measures.failed(error)
            return otherwise
        finally:
            self._spent += time.monotonic() - began

    def _guarded(self, record: Callable[[], object]) -> None:
        try:
            record()
        except Exception as error:  # noqa: BLE001 - only the figure is lost
            faults.report("query_cache", error)


def _now() -> float:
    return time.time_ns() / 1e9
