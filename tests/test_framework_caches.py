"""The caches of Django, cachelib and Flask-Caching: each look-up is one, at the outermost of them."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import pytest
from cachelib import FileSystemCache, RedisCache, SimpleCache
from django.core.cache import caches as django_caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from flask import Flask
from flask_caching import Cache

from otelmon import faults
from otelmon.instruments.caches import CACHES
from otelmon.instruments.lookups import NAME, OPERATIONS, RESULT
from otelmon.instruments.redis_commands import DURATION, OPERATION
from tests.apps import django_shop
from tests.counting import Counting, counting
from tests.redis_server import RedisServer


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


BACKENDS = ("locmem", "redis", "files", "own")


_NONE = object()


class Own(LocMemCache):  # type: ignore[misc]
    """A backend of an application, which asks itself."""

    def get(self, key: str, default: object = None, version: int | None = None) -> object:
        """Ask two generations."""
        found = super().get(key, _NONE, version)
        return super().get(f"old-{key}", default, version) if found is _NONE else found


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: Any) -> Iterator[RedisServer]:  # noqa: ANN401 - pytest's
    directory = tmp_path_factory.mktemp("redis")
    with RedisServer(directory) as server:
        known = {
            "locmem": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
            "redis": {
                "BACKEND": "django.core.cache.backends.redis.RedisCache",
                "LOCATION": server.url,
            },
            "files": {
                "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
                "LOCATION": str(directory / "files"),
            },
            "own": {"BACKEND": f"{__name__}.Own", "LOCATION": "own"},
        }
        # Django can be set up once in a process, and other tests want its pages.
        django_shop.create_app()
        before = django_caches.settings
        django_caches.settings = known
        yield server
        django_caches.settings = before


@pytest.fixture(name="count")
def _count(server: RedisServer) -> Iterator[Counting]:
    server.reset()
    for name in BACKENDS:
        django_caches[name].clear()
    with counting() as count:
        yield count


def looked_up(count: Counting) -> dict[str, tuple[float, float]]:
    """Return hits and misses by cache."""
    found = count.by(OPERATIONS, NAME, RESULT)
    names = {name for name, _ in found}
    return {name: (found.get((name, "hit"), 0), found.get((name, "miss"), 0)) for name in names}


# -- Django ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BACKENDS)
def test_djangos_look_ups_are_counted_by_alias(count: Counting, name: str) -> None:
    """Of every backend, an application's own too: get, get_many, `in`; nothing else is one."""
    cache = django_caches[name]
    assert cache.get("a") is None
    cache.set("a", 1)
    assert cache.get("a") == 1
    assert cache.get_many(iter(["a", "b", "c"])) == {"a": 1}
    assert "a" in cache
    assert "b" not in cache
    cache.incr("a")
    assert not cache.add("a", 7)
    cache.touch("a")
    cache.set_many({"d": 1})
    cache.delete_many(["d"])
    cache.delete("a")

    assert looked_up(count) == {f"django.{name}": (3, 4)}


@pytest.mark.parametrize("name", BACKENDS)
def test_a_hit_of_get_or_set_made_nothing(count: Counting, name: str) -> None:
    """It is one look-up: a miss if the default was taken, which may look up something itself."""
    cache = django_caches[name]
    made = []

    def make() -> str:
        made.append(cache.get("other"))
        return "made"

    assert [cache.get_or_set("k", make) for _ in range(3)] == ["made"] * 3
    assert cache.get_or_set("plain", "value") == "value"
    assert cache.get_or_set("plain", "another") == "value"

    assert len(made) == 1
    assert looked_up(count) == {f"django.{name}": (2 + 1, 1 + 1 + 1)}


@pytest.mark.parametrize("name", BACKENDS)
def test_a_value_that_is_the_default_is_a_hit(count: Counting, name: str) -> None:
    """What is in the cache counts, also if it is None or equal to what is asked for instead."""
    cache, default = django_caches[name], object()
    cache.set("none", None)
    cache.set("seven", 7)
    assert cache.get("none", 5) is None
    assert cache.get("seven", 7) == 7
    assert cache.get("gone", default) is default
    assert cache.get("gone", default=default) is default

    assert looked_up(count) == {f"django.{name}": (2, 2)}


# -- cachelib -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["simple", "files", "redis", "own"])
def test_cachelibs_look_ups_are_counted_by_class(
    server: RedisServer, count: Counting, tmp_path: Path, kind: str
) -> None:
    """Of every class, also one that is made after: get, get_many and get_dict."""

    class Later(SimpleCache):
        """A class of an application."""

        def get(self, key: str) -> object:
            """Ask twice."""
            return super().get(key) or super().get(f"old {key}")

    kinds: dict[str, Any] = {
        "simple": SimpleCache,
        "files": lambda: FileSystemCache(str(tmp_path / "files"), threshold=3),
        "redis": lambda: RedisCache("127.0.0.1", server.port),
        "own": Later,
    }
    cache = kinds[kind]()
    assert cache.get("a") is None
    for key in "axyzw":
        cache.set(key, 1)
    cache.set("a", 1)
    assert cache.get("a") == 1
    assert cache.get_many("a", "b") == [1, None]
    assert cache.get_dict("a", "b") == {"a": 1, "b": None}
    assert cache.has("a")
    cache.inc("a")
    cache.add("a", 2)
    cache.delete("a")

    assert looked_up(count) == {type(cache).__name__: (3, 3)}


# -- Flask-Caching --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["SimpleCache", "RedisCache"])
def test_flask_cachings_functions_and_pages_are_look_ups(
    server: RedisServer, count: Counting, kind: str
) -> None:
    """A page or function is a miss when it ran and a hit when not, whatever stands below."""
    app = Flask(__name__)
    cache = Cache(app, config={"CACHE_TYPE": kind, "CACHE_REDIS_URL": server.url})
    calls = []

    @app.get("/page")
    @cache.cached(timeout=60)
    def page() -> str:
        calls.append("page")
        return "page"

    client = app.test_client()
    assert [client.get("/page").text for _ in range(4)] == ["page"] * 4

    assert calls == ["page"]
    assert looked_up(count) == {kind: (3, 1)}
    redis_commands = count.by(DURATION, OPERATION)
    assert (redis_commands.get("GET", 0) >= 4) == (kind == "RedisCache")


@pytest.mark.parametrize("kind", ["NullCache", "SimpleCache"])
def test_a_cache_that_is_off_by_choice_has_no_hit_rate(
    server: RedisServer, count: Counting, kind: str
) -> None:
    """Flask-Caching's NullCache and what stands on it is asked, and that says nothing of a cache."""
    cache = Cache(Flask(__name__), config={"CACHE_TYPE": kind, "CACHE_NO_NULL_WARNING": True})
    calls = []

    @cache.memoize()
    def ask() -> None:
        calls.append(cache.get("k"))

    for _ in range(5):
        ask()

    assert bool(looked_up(count)) == (kind == "SimpleCache")


def test_djangos_dummy_has_no_hit_rate(count: Counting) -> None:
    """It is asked in all ways; what an application makes of it is a cache as any other."""

    class Kept(DummyCache):  # type: ignore[misc]
        """Finds what it has."""

        def get(self, key: str, default: object = None, version: int | None = None) -> object:
            """Find nothing yet."""
            return default

    dummy = DummyCache("", {})
    for _ in range(5):
        assert dummy.get("k") is None
        assert dummy.get_many(["k"]) == {}
        assert dummy.get_or_set("k", 1) == 1
        assert "k" not in dummy
    assert looked_up(count) == {}

    Kept("", {}).get("k")
    assert looked_up(count) == {"django.Kept": (0, 1)}


# -- together -------------------------------------------------------------------------------------


def test_redis_itself_counts_what_no_cache_asks(server: RedisServer, count: Counting) -> None:
    """A GET below Django's cache is no second look-up; one beside it is one of `redis`."""
    django_caches["redis"].get("k")
    with server.client() as client:
        client.get("k")

    assert looked_up(count) == {"django.redis": (0, 1), "redis": (0, 1)}


def test_what_a_cache_raises_is_the_applications(count: Counting) -> None:
    """A backend that fails raises what it raised, and that is no look-up and no fault of ours."""

    class Broken(BaseCache):  # type: ignore[misc]
        """Always fails."""

        def get(self, key: str, default: object = None, version: int | None = None) -> object:
            """Fail."""
            raise OSError(key)

    cache = Broken({})
    for ask in (cache.get, cache.get_or_set):
        with pytest.raises(OSError, match="k"):
            ask("k", 1)
    with pytest.raises(TypeError):
        cache.get()  # type: ignore[call-arg]
    assert looked_up(count) == {}


def test_all_is_as_it_was_afterwards() -> None:
    """When nobody observes any more the classes have their own methods, and go on."""
    before = {owner: dict(vars(owner)) for owner in (LocMemCache, SimpleCache, RedisCache)}
    with counting():
        assert vars(LocMemCache)["get"] is not before[LocMemCache]["get"]
    after = {owner: dict(vars(owner)) for owner in before}

    assert after == before
    cache = SimpleCache()
    cache.set("a", 1)
    assert cache.get("a") == 1


def test_caches_of_threads_are_held_by_nobody(count: Counting) -> None:
    """Django makes a cache for each thread: when it is gone, it is not kept for its name."""
    cache: Any = LocMemCache("gone", {})
    cache.get("k")
    del cache
    gc.collect()

    assert [each for each in CACHES._aliases if each not in list(django_caches.all())] == []
    assert looked_up(count) == {"django.LocMemCache": (0, 1)}
    assert faults.seen() == {}
