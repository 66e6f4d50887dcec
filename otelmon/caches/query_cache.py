"""`QueryCache`: results that are expensive to get, kept in Redis for all processes."""

from __future__ import annotations

import functools
import importlib.util
import re
import secrets
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, overload

from otelmon import faults
from otelmon.caches import entries
from otelmon.caches.clients import redis_client
from otelmon.caches.functions import Calls, name_of, refuse_makers
from otelmon.caches.measures import CacheMeasures, measures
from otelmon.caches.stores import MemoryStore, RedisStore
from otelmon.errors import ConfigError
from otelmon.instruments.lookups import quietly
from otelmon.settings import UNNAMED
from otelmon.settings.arguments import wrong_server
from otelmon.settings.rules import number, whole
from otelmon.settings.text import shown
from otelmon.settings.variables import warn_once
from otelmon.stack import settings_for, settings_in_use


if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

    from otelmon.caches.stores import Store

P = ParamSpec("P")
T = TypeVar("T")

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
PREFIX: Final = "otelmon:cache:"
"""What keys in Redis begin with; the service's name follows, so that two may share one"""
# No clock or server has trouble with ten years.
_SECONDS: Final = replace(
    number("seconds", sys.float_info.min, 10 * 365 * 86_400),
    says="a number of seconds above 0, ten years at the most",
)
_BYTES: Final = whole("bytes", 1)
LOCK_SECONDS: Final = 10.0
MAX_BYTES: Final = 16 * 1024 * 1024
# So much longer than it is fresh a value is kept, to be shown while a new one is made.
_STALE: Final = 2


class QueryCache:
    """Keeps what JSON can hold for *ttl* seconds (QUERY_CACHE_TTL, 300), one creator at a time.

    Unless *ttl* is given it is that of `monitor`'s settings, else of the environment.

    In Redis at *url* (REDIS_URL unless given) for all processes of all machines that have the same
    *prefix* of its keys (`otelmon:cache:` and OTEL_SERVICE_NAME unless given); without one in
    *max_bytes* of each process's own memory. Where Redis fails, a look-up is a miss and the
    creator's value is returned: nothing is raised but what the creator raises. Of several that look
    for the same missing value one makes it and the others wait, *lock_timeout* seconds at the most;
    if it dies, another takes over within that time. So it should be longer than any creator takes.

    What comes back is what JSON makes of it, on a miss too: a tuple is a list, keys are texts. What
    JSON cannot hold is returned as it is, not kept, and reported once. None can be kept.

    Raises:
        ConfigError: the name, a number or the URL cannot be used, or a library is not installed.
    """

    def __init__(  # noqa: PLR0913 - each is optional and named
        self,
        name: str = "queries",
        *,
        url: str | None = None,
        client: redis.Redis | None = None,
        ttl: float | None = None,
        lock_timeout: float = LOCK_SECONDS,
        max_bytes: int = MAX_BYTES,
        prefix: str | None = None,
    ) -> None:
        """Connect to nothing yet; *client* goes before *url*, and should have short deadlines."""
        self.name = name
        self._ttl = ttl
        self._settings = settings = settings_for()
        self.lock_timeout = lock_timeout
        self._judge(name, max_bytes, prefix, url, client)
        if client is None and (url or settings.redis().url):
            # No word but the questions themselves, so that there is one time-out at the most.
            client = redis_client(url, protocol=2)
        service = settings.service_name
        if client is not None and prefix is None and service == UNNAMED:
            warn_once(
                f"Query caches in Redis keep their values for {UNNAMED}, as do those of all other "
                "applications there that have no name, which would be given them: set "
                "OTEL_SERVICE_NAME to what this one is called on all its machines, or give a prefix."
            )
        self._begin = f"{f'{PREFIX}{service}:' if prefix is None else prefix}{name}"
        self._store: Store = MemoryStore(max_bytes) if client is None else RedisStore(client)
        self._measures: CacheMeasures | None = None
        # Here, because only who keeps something is to pay for the import.
        from otelmon.caches.look_up import LookUp

        self._look_up = LookUp

    @property
    def ttl(self) -> float:
        """Seconds that a value is kept unless a call says otherwise."""
        if self._ttl is not None:
            return self._ttl
        # A cache is often made before `monitor` is called, whose settings hold.
        return (settings_in_use() or self._settings).query_cache_ttl

    def _judge(
        self, name: object, max_bytes: object, prefix: object, url: object, client: object
    ) -> None:
        problems = [*wrong_server(url, client)]
        if not (isinstance(name, str) and _NAME.fullmatch(name)):
            problems.append(
                f"name is {shown(name)}: give up to 64 of the characters A-Z a-z 0-9 _ . -"
            )
        if not isinstance(prefix, str | None):
            problems.append(
                f"prefix is {shown(prefix)}: give what keys in Redis are to begin with."
            )
        for what, rule, value in (
            ("ttl", _SECONDS, self.ttl),
            ("lock_timeout", _SECONDS, self.lock_timeout),
            ("max_bytes", _BYTES, max_bytes),
        ):
            if not rule.holds(value):
                problems.append(f"{what} is {shown(value)}: give {rule.says}.")
        missing = [each for each in ("cachetools", "dogpile") if not importlib.util.find_spec(each)]
        if missing:
            problems.append(
                f"QueryCache needs {' and '.join(missing)}: pip install 'otelmon[cache]'."
            )
        if problems:
            raise ConfigError(*problems)

    def get_or_create(
        self, key: str, creator: Callable[[], T], *, ttl: float | None = None, namespace: str = ""
    ) -> T:
        """Return the value of *key*, made by *creator* if there is none that is young enough.

        Raises what *creator* raises, which is not kept, and nothing else but:
            ConfigError: *ttl* is no time that a value could be kept, or *namespace* no text.
        """
        _judge_use(ttl, namespace)
        place = entries.place(self._begin, namespace, key)
        seconds = self.ttl if ttl is None else ttl
        measured = self._measured()
        if measured is None:
            return creator()
        look_up = self._look_up(self._store, place, creator, measured)
        found: T = look_up.run(seconds, keep=_STALE * seconds, lock=self.lock_timeout)
        return found

    @overload
    def cached(self, ttl: Callable[P, T], /) -> Callable[P, T]: ...

    @overload
    def cached(
        self,
        ttl: float | None = None,
        *,
        namespace: str = "",
        name: str | None = None,
        key: Callable[..., str] | None = None,
    ) -> Callable[[Callable[P, T]], Callable[P, T]]: ...

    def cached(
        self,
        ttl: float | Callable[P, T] | None = None,
        *,
        namespace: str = "",
        name: str | None = None,
        key: Callable[..., str] | None = None,
    ) -> Callable[P, T] | Callable[[Callable[P, T]], Callable[P, T]]:
        """Keep what a function returns, by its arguments; also without parentheses.

        These must be what JSON can hold; for others *key* makes a text of them. A call whose
        arguments make no key calls the function, and is reported once. The function gets
        `invalidate(...)`, which takes the same arguments.

        A function's values are kept under its module and qualified name, or under *name*: all that
        have one name in one namespace share them. What is made within a function, and a lambda,
        has no name of its own and takes a *name*.

        Raises:
            ConfigError: it takes a name and has none, returns no value but what makes values (a
                coroutine, a generator), or *ttl* is no time that a value could be kept, or a name no text.
        """
        if callable(ttl):
            return self.cached()(ttl)
        _judge_use(ttl, namespace, name or "")

        def decorate(function: Callable[P, T]) -> Callable[P, T]:
            refuse_makers(function)
            named = Calls(function, name or name_of(function), key).key

            @functools.wraps(function)
            def cached(*args: P.args, **kwargs: P.kwargs) -> T:
                text = named(args, kwargs)
                if text is None:
                    return function(*args, **kwargs)
                creator = functools.partial(function, *args, **kwargs)
                return self.get_or_create(text, creator, ttl=ttl, namespace=namespace)

            def invalidate(*args: Any, **kwargs: Any) -> bool:  # noqa: ANN401 - as the function's
                text = named(args, kwargs)
                return text is not None and self.invalidate(text, namespace=namespace)

            cached.invalidate = invalidate  # type: ignore[attr-defined]
            return cached

        return decorate

    def invalidate(self, key: str, *, namespace: str = "") -> bool:
        """Forget the value of *key*, and what is being made of it now; False if Redis fails."""
        place = entries.place(self._begin, namespace, key)
        return self._tell(lambda: self._store.drop(place))

    def invalidate_namespace(self, namespace: str = "") -> bool:
        """Forget all values of a namespace, however many; False if Redis fails."""
        state_key = entries.state_key(self._begin, namespace)
        # Longer than anything in it can live: 2 h, or what this cache's own values live.
        seconds = max(7200.0, 2 * _STALE * self.ttl)
        return self._tell(lambda: self._store.renew(state_key, secrets.token_hex(8), seconds))

    def _tell(self, what: Callable[[], object]) -> bool:
        try:
            with quietly():
                what()
        except Exception as error:  # noqa: BLE001 - whatever the server made the library raise
            measured = self._measured()
            if measured is not None:
                measured.failed(error)
            faults.report("query_cache", error)
            return False
        return True

    def _measured(self) -> CacheMeasures | None:
        if self._measures is None:
            try:
                self._measures = CacheMeasures(self.name, measures())
            except Exception as error:  # noqa: BLE001 - no figures, no cache: the application goes on
                faults.report("query_cache", error)
        return self._measures


def _judge_use(ttl: object, *names: object) -> None:
    """Raise ConfigError if nothing could be kept for so long, or under these names."""
    if ttl is not None and not _SECONDS.holds(ttl):
        raise ConfigError(f"ttl is {shown(ttl)}: give {_SECONDS.says}, or leave it out.")
    for name in names:
        if not isinstance(name, str):
            raise ConfigError(f"A name or namespace is {shown(name)}: give a text.")
