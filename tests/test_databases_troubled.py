"""Through a network that delays, cuts and swallows, figures stay true and nobody waits for us."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Engine, create_engine, exc, text
from sqlalchemy.ext.asyncio import create_async_engine

from otelmon import faults
from tests.databases import Databases
from tests.postgres_server import Postgres
from tests.tcp_proxy import TcpProxy
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with Postgres(max_connections=30) as server:
        server.make("shop")
        yield server


@pytest.fixture
def proxy(postgres: Postgres) -> Iterator[TcpProxy]:
    with TcpProxy(postgres.port) as between:
        yield between


@pytest.fixture
def seen() -> Iterator[Databases]:
    with Databases() as databases:
        yield databases


@pytest.fixture
def patience() -> int:
    """Return for how many seconds it is tried to connect."""
    return 30


@pytest.fixture
def shop(postgres: Postgres, proxy: TcpProxy, seen: Databases, patience: int) -> Iterator[Engine]:
    made = create_engine(
        postgres.url("shop", port=proxy.port, connect_timeout=patience),
        pool_size=1,
        max_overflow=0,
        pool_pre_ping=True,
    )
    yield made
    made.dispose()


NAME = "postgresql/shop"


def test_delays_are_told(seen: Databases, shop: Engine, proxy: TcpProxy) -> None:
    """What a query waits for the network is in its time, and in the connection's."""
    with shop.connect() as one:
        one.execute(text("SELECT 1"))
        before = slow_selects(seen)
        proxy.delay = 0.2
        for _ in range(3):
            one.execute(text("SELECT 2 AS two"))
        proxy.delay = 0.0
    assert slow_selects(seen) == before + 3


def slow_selects(seen: Databases) -> int:
    """Return how many took longer than a tenth of a second."""
    (row,) = [
        row
        for row in seen.rows("db.client.operation.duration")
        if dict(row.attributes)["db.operation.name"] == "SELECT"
    ]
    return sum(row.buckets[row.instrument.bounds.index(0.1) + 1 :])


def test_a_cut_connection_is_told_and_replaced(
    seen: Databases, shop: Engine, proxy: TcpProxy
) -> None:
    """A query on a connection that was cut is an error; one that was cut idle is a failed test."""
    with shop.connect() as one:
        one.execute(text("SELECT 1"))
        proxy.cut()
        with pytest.raises(exc.OperationalError):
            one.execute(text("SELECT 2"))
    with shop.connect() as one:
        assert one.scalar(text("SELECT 3")) == 3
    proxy.cut()
    with shop.connect() as one:
        assert one.scalar(text("SELECT 4")) == 4
    pool = seen.pool(NAME)
    assert pool["invalidations"] == {"error": 1, "pre_ping": 1}
    assert (pool["used"], pool["idle"], pool["create"]["count"]) == (0, 1, 3)
    assert seen.operations()["SELECT", "OperationalError"] == 1


def test_a_half_closed_connection_is_told_and_replaced(
    seen: Databases, shop: Engine, proxy: TcpProxy
) -> None:
    """A server's side that is closed, while ours stays open, is an error amid a query, or a failed test."""
    with shop.connect() as one:
        one.execute(text("SELECT 1"))
        proxy.half_close()
        with pytest.raises(exc.OperationalError):
            one.execute(text("SELECT 2"))
    with shop.connect() as one:
        assert one.scalar(text("SELECT 3")) == 3
    proxy.half_close()
    with shop.connect() as one:
        assert one.scalar(text("SELECT 4")) == 4
    pool = seen.pool(NAME)
    assert pool["invalidations"] == {"error": 1, "pre_ping": 1}
    assert (pool["used"], pool["idle"], pool["create"]["count"]) == (0, 1, 3)
    assert (pool["wait"]["count"], pool["use"]["count"], pool["errors"]) == (3, 3, 0)
    assert seen.operations()["SELECT", "OperationalError"] == 1


def test_a_server_that_refuses_is_told(seen: Databases, shop: Engine, proxy: TcpProxy) -> None:
    """Connections that cannot be had are errors, and the pool is whole when they can be had."""
    proxy.refuse()
    for _ in range(3):
        with pytest.raises(exc.OperationalError):
            shop.connect()
    assert seen.pool(NAME)["errors"] == 3
    proxy.behave()
    with shop.connect():
        assert seen.pool(NAME)["used"] == 1
    assert seen.pool(NAME)["used"] == 0


def test_the_limit_is_asked_once(seen: Databases, shop: Engine, proxy: TcpProxy) -> None:
    """The server's limit is asked on the beat, over one connection that is closed at once."""
    assert seen.provider.observe()
    assert proxy.accepted == 0
    with shop.connect() as one:
        one.execute(text("SELECT 1"))
        for _ in range(3):
            assert seen.provider.observe()
        assert proxy.accepted == 2
        pool = seen.pool(NAME)
        assert (pool["server_limit"], pool["max"], pool["server_share"]) == (27, 1, 0.037)
        assert (pool["used"], pool["idle"], pool["create"]["count"]) == (1, 0, 1)


@pytest.mark.parametrize("what", ["DATABASE shop", "ROLE postgres"])
def test_a_limit_of_the_database_or_the_role_is_the_limit(
    seen: Databases, shop: Engine, postgres: Postgres, what: str
) -> None:
    """Where the server allows fewer connections to these than to all, that is what is told."""
    postgres.execute(f"ALTER {what} CONNECTION LIMIT 9")
    try:
        with shop.connect() as one:
            one.execute(text("SELECT 1"))
            assert seen.provider.observe()
        assert seen.pool(NAME)["server_limit"] == 9
    finally:
        postgres.execute(f"ALTER {what} CONNECTION LIMIT -1")


@pytest.mark.parametrize("patience", [6])
def test_nobody_waits_for_the_limit(seen: Databases, shop: Engine, proxy: TcpProxy) -> None:
    """While the server does not answer our question, queries run, and the beat goes on in time."""
    with shop.connect() as one:
        one.execute(text("SELECT 1"))
    proxy.delay = 3600.0
    assert not seen.provider.observe(seconds=0.1)
    # What the network still holds back is the answer to the question, which may come late.
    assert until(lambda: proxy.held == 1)
    proxy.delay = 0.0
    with shop.connect() as one:
        assert one.scalar(text("SELECT 2")) == 2
        assert not seen.provider.observe(seconds=0.1)
    pool = seen.pool(NAME)
    assert (pool["server_limit"], pool["used"], pool["idle"]) == (None, 0, 1)
    assert faults.seen()["observable"].times == 2
    assert until(lambda: "database_limit" in faults.seen(), 30)


def test_a_refused_question_is_a_fault_of_ours(
    seen: Databases, shop: Engine, proxy: TcpProxy
) -> None:
    """Where the question cannot be asked the limit is not known, and the log is not filled."""
    with shop.connect() as one:
        one.execute(text("SELECT 1"))
        proxy.refuse()
        for _ in range(3):
            assert seen.provider.observe()
        assert faults.seen()["database_limit"].times == 1
        assert seen.pool(NAME)["server_limit"] is None
        assert one.scalar(text("SELECT 2")) == 2


def test_engines_of_asyncio_are_counted(postgres: Postgres, seen: Databases) -> None:
    """Connections and queries of an asynchronous engine are counted as all others."""

    async def work() -> None:
        shop = create_async_engine(postgres.url("shop"), pool_size=1, max_overflow=1)
        # Whoever is quick could give one connection to all others before there is a second.
        both, taken = asyncio.Event(), []

        async def ask() -> None:
            async with shop.connect() as one:
                await one.execute(text("SELECT 1"))
                taken.append(one)
                if len(taken) == 2:
                    both.set()
                await both.wait()
                used.append(seen.pool(NAME)["used"])

        await asyncio.gather(*(ask() for _ in range(6)))
        await shop.dispose()

    used: list[int] = []
    asyncio.run(work())
    pool = seen.pool(NAME)
    assert (pool["used"], pool["wait"]["count"], pool["use"]["count"]) == (0, 6, 6)
    assert max(used) == 2
    assert seen.provider.observe()
    # Nobody asks on such a connection, so nothing is known.
    assert seen.pool(NAME)["server_limit"] is None
    assert seen.operations()["SELECT", None] >= 6
