"""Where the frameworks' caches are seen: Django's, cachelib's, and Flask-Caching's on top of that.

A look-up is one of these classes' `get` and its like. What they do beside it (a counter's old
value, a file that counts the others) is none, and neither is what they ask of Redis below them.
"""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from otelmon import faults
from otelmon.instruments.lookups import aloud, inside, quietly
from otelmon.instruments.methods import Family, Methods, when_imported
from otelmon.instruments.observing import Observing, turns


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from otelmon.instruments.lookups import LookUps

    Original = Callable[..., Any]
    Book = Callable[[object, int, int], None]


DJANGO: Final = "django.core.cache.backends.base"
CACHELIB: Final = "cachelib.base"
# A backend class of the application may do anything in them.
_DJANGO_QUIET: Final = (
    *("add", "set", "set_many", "touch", "delete", "delete_many", "clear"),
    *("incr", "decr", "incr_version", "decr_version"),
)
# Flask-Caching asks `has` after a `get` that returned None, for one look-up.
_CACHELIB_QUIET: Final = (
    *("__init__", "has", "add", "set", "set_many", "delete", "delete_many", "clear"),
    *("inc", "dec"),
)
# What a cache has that is off by choice (Flask-Caching's NullCache, Django's DummyCache): it keeps
# nothing, so that what it does not find says nothing of how good it is.
_KEEPS_NOTHING: Final = frozenset(
    (module, f"{owner}.{method}")
    for module, owner in (
        ("cachelib.base", "BaseCache"),
        ("cachelib.base", "NullCache"),
        ("flask_caching.backends.nullcache", "NullCache"),
        ("django.core.cache.backends.dummy", "DummyCache"),
    )
    for method in ("get", "set")
)
_MISSING: Final = object()


class FrameworkCaches:
    """What this process observes of them."""

    def __init__(self) -> None:
        """Observe nothing, and import nothing."""
        self._lookups: LookUps | None = None
        self._methods = Methods()
        self._families: dict[str, Family] = {}
        self._followed = False
        self._aliases: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()

    def observe(self, lookups: LookUps) -> Observing:
        """Count the look-ups in all caches, from the import of their library on."""
        with turns.lock:
            self._lookups = lookups
            if not self._followed:
                self._followed = True
                when_imported(DJANGO, partial(self._begin, DJANGO))
                when_imported(CACHELIB, partial(self._begin, CACHELIB))
            else:
                for family in self._families.values():
                    family.wrap()
        return Observing(partial(self._end, lookups))

    def _end(self, lookups: LookUps) -> None:
        if self._lookups is lookups:
            self._lookups = None
            self._methods.remove()

    def _begin(self, library: str, module: Any) -> None:  # noqa: ANN401 - any version's
        arounds = self._django() if library == DJANGO else self._cachelib()
        self._families[library] = Family(self._methods, module.BaseCache, arounds)

    # -- how a look-up of each is told -----------------------------------------------------------

    def _django(self) -> dict[str, Callable[[Original], Original]]:
        counts: dict[str, Callable[[Original], Original]] = {
            "get": partial(_around_default, self._counting(self._alias)),
            "get_many": partial(_around_found, self._counting(self._alias)),
            "get_or_set": partial(_around_creator, self._counting(self._alias)),
            "has_key": partial(_around_flag, self._counting(self._alias)),
        }
        return dict.fromkeys(_DJANGO_QUIET, _around_quiet) | counts

    def _cachelib(self) -> dict[str, Callable[[Original], Original]]:
        counts: dict[str, Callable[[Original], Original]] = {
            "get": partial(_around_value, self._counting(_class_name)),
            "get_many": partial(_around_values, self._counting(_class_name)),
            "get_dict": partial(_around_values, self._counting(_class_name)),
        }
        return dict.fromkeys(_CACHELIB_QUIET, _around_quiet) | counts

    def _counting(self, name: Callable[[Any], str]) -> Book:
        def book(cache: object, hits: int, misses: int) -> None:
            lookups = self._lookups
            if lookups is None:
                return
            try:
                if not _is_off(type(cache)):
                    lookups.book(name(cache), hits, misses)
            except Exception as fault:  # noqa: BLE001 - the application has its answer
                faults.report("cache_lookup", fault)

        return book

    def _alias(self, cache: Any) -> str:  # noqa: ANN401 - any backend
        """Return Django's name for a cache, which the cache itself does not know."""
        known = self._aliases.get(cache)
        if known is None:
            known = self._aliases[cache] = f"django.{_find_alias(cache)}"
        return known


def _is_off(kind: Any) -> bool:  # noqa: ANN401 - any backend's class
    """Tell whether all that a cache could keep and find is left to a class that does neither."""
    return all(
        (getattr(each, "__module__", ""), getattr(each, "__qualname__", "")) in _KEEPS_NOTHING
        for each in (kind.get, kind.set)
    )


def _find_alias(cache: object) -> str:
    from django.core.cache import caches

    for alias in caches:
        # Not caches[alias], which would make it.
        if getattr(caches._connections, alias, None) is cache:  # noqa: SLF001 - no public way
            return str(alias)
    return type(cache).__name__


def _class_name(cache: object) -> str:
    return type(cache).__name__


# -- around the methods: each passes on what it does not know ---------------------------------------


def _around_quiet(original: Original) -> Original:
    def quiet(*args: Any, **options: Any) -> Any:  # noqa: ANN401 - any backend's
        with quietly():
            return original(*args, **options)

    return quiet


def _around_value(book: Book, original: Original) -> Original:
    def get(self: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as above
        if inside.get():
            return original(self, *args, **options)
        with quietly():
            value = original(self, *args, **options)
        book(self, *((0, 1) if value is None else (1, 0)))
        return value

    return get


def _around_values(book: Book, original: Original) -> Original:
    def get_many(self: Any, *keys: Any, **options: Any) -> Any:  # noqa: ANN401 - as above
        if inside.get():
            return original(self, *keys, **options)
        with quietly():
            found = original(self, *keys, **options)
        values: Iterable[Any] = found.values() if isinstance(found, dict) else found or ()
        hits = sum(value is not None for value in values)
        book(self, hits, max(0, len(keys) - hits))
        return found

    return get_many


def _around_default(book: Book, original: Original) -> Original:
    def get(self: Any, key: Any, default: Any = None, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as above
        if inside.get():
            return original(self, key, default, *args, **options)
        with quietly():
            # What is in the cache may equal the default.
            value = original(self, key, _MISSING, *args, **options)
        missing = value is _MISSING
        book(self, *((0, 1) if missing else (1, 0)))
        return default if missing else value

    return get


def _around_found(book: Book, original: Original) -> Original:
    def get_many(self: Any, keys: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as above
        if inside.get():
            return original(self, keys, *args, **options)
        keys = list(keys)
        with quietly():
            found = original(self, keys, *args, **options)
        hits = len(found)
        book(self, hits, max(0, len(set(keys)) - hits))
        return found

    return get_many


def _around_flag(book: Book, original: Original) -> Original:
    def has_key(self: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as above
        if inside.get():
            return original(self, *args, **options)
        with quietly():
            found = original(self, *args, **options)
        book(self, *((1, 0) if found else (0, 1)))
        return found

    return has_key


def _around_creator(book: Book, original: Original) -> Original:
    def get_or_set(self: Any, key: Any, default: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as above
        if inside.get():
            return original(self, key, default, *args, **options)
        made = False

        def make() -> Any:  # noqa: ANN401 - as above
            nonlocal made
            made = True
            with aloud():
                return default() if callable(default) else default

        with quietly():
            value = original(self, key, make, *args, **options)
        book(self, *((0, 1) if made else (1, 0)))
        return value

    return get_or_set


CACHES: Final = FrameworkCaches()
