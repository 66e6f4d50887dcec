"""Where entries lie: in Redis for all processes, or in the memory of one."""

from __future__ import annotations

import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol


if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

    from otelmon.caches.entries import Place


class Seen(NamedTuple):
    """What lies at a place."""

    data: str | bytes | None
    state: str
    """Of the namespace; empty if it has none yet"""


class Right(NamedTuple):
    """With what right a value is kept."""

    owner: str
    """Who makes it; empty for one who makes it without having got the right to"""
    state: str
    """Of the namespace when it was looked up"""
    fresh: bool
    """The namespace had no state then, and this is to be its first"""


class Store(Protocol):
    """What keeps entries. Its methods may raise what the server makes them raise."""

    def look(self, place: Place) -> Seen:
        """Return what is there."""

    def begin(self, place: Place, owner: str, seconds: float) -> tuple[bool, Seen]:
        """Try to get the right to make a value; return whether that worked, and what is there."""

    def keep(self, place: Place, data: str, right: Right, seconds: float) -> None:
        """Keep a value for *seconds*, unless it was forgotten while it was made."""

    def give_up(self, place: Place, owner: str) -> None:
        """Leave the right to make a value to others."""

    def drop(self, place: Place) -> None:
        """Forget a value, and what is being made of it now."""

    def renew(self, state_key: str, state: str, seconds: float) -> None:
        """Give a namespace another state, so that all that is in it is forgotten."""


# What is looked up, made and kept is of one state and one owner, or it is not kept.
_KEEP: Final = """
local state = redis.call('GET', KEYS[2])
if not state and ARGV[5] == '1' then
  state = ARGV[3]
  redis.call('SET', KEYS[2], state)
end
local owner = redis.call('GET', KEYS[3])
local mine = owner == ARGV[4]
if state and redis.call('PTTL', KEYS[2]) < tonumber(ARGV[2]) then
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
end
if state == ARGV[3] and (mine or (ARGV[4] == '' and not owner)) then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
if mine then redis.call('DEL', KEYS[3]) end
"""
_GIVE_UP: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""


class RedisStore:
    """Entries in Redis."""

    def __init__(self, client: redis.Redis) -> None:
        """Keep them by *client*."""
        self._client = client

    def look(self, place: Place) -> Seen:
        """Ask once for both."""
        data, state = self._client.mget(place.value, place.namespace)
        return Seen(data, _text(state))

    def begin(self, place: Place, owner: str, seconds: float) -> tuple[bool, Seen]:
        """Ask once for all."""
        with self._client.pipeline(transaction=True) as pipeline:
            pipeline.set(place.lock, owner, nx=True, px=_ms(seconds))
            pipeline.mget(place.value, place.namespace)
            got, (data, state) = pipeline.execute()
        return bool(got), Seen(data, _text(state))

    def keep(self, place: Place, data: str, right: Right, seconds: float) -> None:
        """Keep it by one script, which nothing can come between."""
        owner, state, fresh = right
        self._client.eval(_KEEP, 3, *place, data, _ms(seconds), state, owner, int(fresh))

    def give_up(self, place: Place, owner: str) -> None:
        """Delete the lock if it is the owner's."""
        self._client.eval(_GIVE_UP, 1, place.lock, owner)

    def drop(self, place: Place) -> None:
        """Delete the lock too, so that a value that is being made is not kept."""
        self._client.delete(place.value, place.lock)

    def renew(self, state_key: str, state: str, seconds: float) -> None:
        """Keep the state for as long as what it forgets may live."""
        self._client.set(state_key, state, px=_ms(seconds))


def _text(state: bytes | str | None) -> str:
    """Return a state; one that is no text is none that an entry could have."""
    return state.decode("ascii", "replace") if isinstance(state, bytes) else state or ""


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


class MemoryStore:
    """Entries in the memory of this process; those that were not asked for longest make room."""

    def __init__(self, max_bytes: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Keep so many bytes of JSON and keys."""
        self._max_bytes = max_bytes
        self._clock = clock
        self.forget()
        _memories.add(self)

    def forget(self) -> None:
        """Begin empty, as a forked child: its parent's thread may have held the lock."""
        from cachetools import LRUCache

        self._lock = threading.RLock()
        self._kept: LRUCache[str, tuple[str, float]] = LRUCache(self._max_bytes, _size)
        # Not among the entries: what holds a lock must not be thrown out for room.
        self._owners: dict[str, tuple[str, float]] = {}

    def __len__(self) -> int:
        """Return how many entries and states are kept."""
        return len(self._kept)

    def look(self, place: Place) -> Seen:
        """Return what has not expired."""
        with self._lock:
            return Seen(self._get(place.value), self._get(place.namespace) or "")

    def begin(self, place: Place, owner: str, seconds: float) -> tuple[bool, Seen]:
        """Take the lock if nobody holds it any more."""
        with self._lock:
            now = self._clock()
            if self._owner(place.lock) is not None:
                return False, self.look(place)
            if len(self._owners) >= _MOST_OWNERS:
                self._owners = {k: each for k, each in self._owners.items() if each[1] > now}
            self._owners[place.lock] = (owner, now + seconds)
            return True, self.look(place)

    def keep(self, place: Place, data: str, right: Right, seconds: float) -> None:
        """Keep it, as the script for Redis does."""
        with self._lock:
            now = self._get(place.namespace)
            known = right.fresh if now is None else now == right.state
            if known and self._owner(place.lock) == (right.owner or None):
                self._set(place.namespace, right.state, seconds)
                self._set(place.value, data, seconds)
            self.give_up(place, right.owner)

    def give_up(self, place: Place, owner: str) -> None:
        """Delete the lock if it is the owner's."""
        with self._lock:
            if self._owner(place.lock) == owner:
                del self._owners[place.lock]

    def drop(self, place: Place) -> None:
        """Delete the lock too."""
        with self._lock:
            self._kept.pop(place.value, None)
            self._owners.pop(place.lock, None)

    def renew(self, state_key: str, state: str, seconds: float) -> None:
        """Keep the state."""
        with self._lock:
            self._set(state_key, state, seconds)

    def _get(self, key: str) -> str | None:
        found = self._kept.get(key)
        if found is None:
            return None
        if found[1] <= self._clock():
            del self._kept[key]
            return None
        return found[0]

    def _set(self, key: str, data: str, seconds: float) -> None:
        until = self._clock() + seconds
        before = self._kept.get(key)
        if before is not None:
            until = max(until, before[1]) if before[0] == data else until
        if _size((data, until)) <= self._max_bytes:
            self._kept[key] = (data, until)

    def _owner(self, lock: str) -> str | None:
        held = self._owners.get(lock)
        if held is not None and held[1] <= self._clock():
            del self._owners[lock]
            return None
        return None if held is None else held[0]


# More are there only if threads died while they made values.
_MOST_OWNERS: Final = 1000
# An entry's key, tuple and place in the dictionary.
_OVERHEAD: Final = 300


def _size(kept: tuple[str, float]) -> int:
    return len(kept[0]) + _OVERHEAD


_memories: weakref.WeakSet[MemoryStore] = weakref.WeakSet()


def _forget_all() -> None:
    for each in tuple(_memories):
        each.forget()


if hasattr(os, "register_at_fork"):  # Windows has no forks
    os.register_at_fork(after_in_child=_forget_all)
