"""Functions that a `QueryCache` keeps: by which arguments, and whose values are whose."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from otelmon import ConfigError, QueryCache, faults
from otelmon.settings.variables import warn_once
from tests.counting import counted_caches  # noqa: F401 - a fixture
from tests.redis_server import empty_redis, running_redis  # noqa: F401 - fixtures
from tests.test_query_cache import patient


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.redis_server import RedisServer


@pytest.fixture(name="make", params=["redis", "memory"])
def _make(request: pytest.FixtureRequest, server: RedisServer) -> Callable[..., QueryCache]:
    return partial(patient, server) if request.param == "redis" else partial(QueryCache, "tests")


def test_a_function_is_kept_by_its_arguments(make: Callable[..., QueryCache]) -> None:
    """However they are written; 1, 1.0, True and "1" are four of them."""
    calls = []
    cache = make()

    @cache.cached(ttl=60, namespace="sums", name="add")
    def add(a: Any, b: int = 2, **more: int) -> str:  # noqa: ANN401 - anything
        """Add."""
        calls.append((a, b, more))
        return f"{a!r}+{b}{more}"

    assert add(1) == add(1, 2) == add(b=2, a=1) == "1+2{}"
    assert len(calls) == 1
    assert [add(value) for value in (1.0, True, "1", None)] == [
        "1.0+2{}",
        "True+2{}",
        "'1'+2{}",
        "None+2{}",
    ]
    assert add(1, c=3) != add(1, c=4)
    assert (add.__name__, add.__doc__) == ("add", "Add.")
    count = len(calls)
    assert add.invalidate(1)  # type: ignore[attr-defined]
    add(1)
    assert len(calls) == count + 1


def test_arguments_without_a_key_call_the_function(make: Callable[..., QueryCache]) -> None:
    """What JSON cannot hold makes no key, unless the caller says how; wrong calls are the function's."""
    cache, calls = make(), []

    @cache.cached(name="plain")
    def plain(a: object) -> int:
        calls.append(a)
        return len(calls)

    @cache.cached(name="told", key=lambda thing: type(thing).__name__)
    def told(thing: object) -> int:
        calls.append(thing)
        return len(calls)

    one = object()
    assert [plain(one), plain(one)] == [1, 2]
    assert set(faults.seen()) == {"query_cache_key"}
    assert [told(one), told(one)] == [3, 3]
    with pytest.raises(TypeError, match="plain"):
        plain()  # type: ignore[call-arg]
    faults.forget()


def of_table(cache: QueryCache, table: str, **options: Any) -> Callable[[int], str]:  # noqa: ANN401 - as `cached`
    """Return what looks for a row, as a factory of applications makes it."""

    @cache.cached(**options)
    def row(number: int) -> str:
        return f"{table} {number}"

    return row


@pytest.mark.parametrize("options", [{}, {"namespace": "rows"}, {"key": str}], ids=str)
def test_no_function_is_given_anothers_value(
    make: Callable[..., QueryCache], options: dict[str, Any]
) -> None:
    """What has no name of its own is refused at its decoration, before two of them share values."""
    cache = make()
    with pytest.raises(ConfigError, match=r"'of_table.<locals>.row'.*name='product'"):
        of_table(cache, "users", **options)
    for nameless in (lambda: 1, partial(int, "1")):
        with pytest.raises(ConfigError, match="no name of its own"):
            cache.cached(**options)(nameless)

    users = of_table(cache, "users", name="users", **options)
    secrets = of_table(cache, "secrets", name="secrets", **options)
    assert [users(1), secrets(1), users(1), secrets(1)] == ["users 1", "secrets 1"] * 2


def test_two_services_share_a_redis_and_no_value(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys hold the service's name; whoever wants to share gives both one prefix."""

    def looked_up(service: str, **options: Any) -> str:  # noqa: ANN401 - as `QueryCache`
        monkeypatch.setenv("OTEL_SERVICE_NAME", service)
        cache = QueryCache("tests", url=server.patient_url, **options)
        return cache.get_or_create("k", lambda: service)

    assert [looked_up("shop"), looked_up("mail"), looked_up("shop")] == ["shop", "mail", "shop"]
    shared = [looked_up(service, prefix="both:") for service in ("shop", "mail")]
    assert shared == ["shop", "shop"]
    with server.client() as client:
        begins = {key.rpartition(b":")[0] for key in client.scan_iter()}
    services = ("otelmon:cache:shop:", "otelmon:cache:mail:", "both:")
    assert begins == {f"{each}tests:{kind}".encode() for each in services for kind in "vn"}


def test_who_has_no_name_in_redis_is_told_so_once(
    server: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not one with a prefix or a name, nor one that keeps its values in memory."""
    warn_once.cache_clear()
    QueryCache("tests")
    patient(server, prefix="mine:")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    patient(server)
    assert caplog.messages == []
    monkeypatch.delenv("OTEL_SERVICE_NAME")
    for _ in range(2):
        patient(server)
    (said,) = caplog.messages
    assert "set OTEL_SERVICE_NAME" in said


@pytest.mark.parametrize("ttl", ["5", 0, -1, True, float("inf"), float("nan"), 1e300])
def test_a_time_that_is_none_is_refused(make: Callable[..., QueryCache], ttl: Any) -> None:  # noqa: ANN401 - what is wrong
    """Of a cache, a function and a call: with the value, and before anything is made."""
    cache, calls = make(), []
    for use in (
        lambda: QueryCache("tests", ttl=ttl),
        lambda: QueryCache("tests", lock_timeout=ttl),
        lambda: cache.cached(ttl),
        lambda: cache.get_or_create("k", lambda: calls.append(1), ttl=ttl),
    ):
        with pytest.raises(ConfigError, match=f"is {re.escape(repr(ttl))}: give a number of sec"):
            use()
    assert calls == []


def test_a_function_is_kept_without_parentheses_too(make: Callable[..., QueryCache]) -> None:
    """As by `cached()`."""
    cache = make()
    assert cache.cached(numbered)(3) == "3"
    assert cache.cached()(numbered)(3) == "3"
    assert numbers == [3]
    numbers.clear()


@pytest.mark.parametrize("options", [{"namespace": 5}, {"name": b"row"}], ids=str)
def test_a_name_that_is_no_text_is_refused(options: dict[str, Any]) -> None:
    """At the decoration, not at each call."""
    with pytest.raises(ConfigError, match=r"A name or namespace is .*: give a text"):
        QueryCache("tests").cached(**options)


numbers: list[int] = []


def numbered(number: int) -> str:
    """Return a number as text, and remember it."""
    numbers.append(number)
    return str(number)


async def later() -> int:
    """Return later."""
    return 1


def many() -> Iterator[int]:
    """Return one after the other."""
    yield 1


@pytest.mark.parametrize(("function", "kind"), [(later, "async def"), (many, "a generator")])
def test_what_returns_no_value_is_refused(function: Callable[[], object], kind: str) -> None:
    """A coroutine or generator cannot be kept: that is said at the decoration, not at each call."""
    with pytest.raises(ConfigError, match=f"'{function.__name__}', which is {kind}"):
        QueryCache("tests").cached(function)
