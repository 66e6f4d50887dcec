"""Workers that are forked beside connections count their own, and what is killed holds nothing."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection, Engine, create_engine, text

from otelmon.instruments.databases import observing
from tests.databases import Databases
from tests.forks import Child
from tests.recorder import this_instance
from tests.waiting import until


if TYPE_CHECKING:
    from pathlib import Path


class Worker(NamedTuple):
    """A forked process with the engine that it inherited, emptied as SQLAlchemy asks."""

    seen: Databases
    shop: Engine
    held: list[Connection]


def _worker(seen: Databases, shop: Engine, place: Path) -> Worker:
    seen.ledger.forget()
    seen.ledger.serve(place, this_instance())
    shop.dispose(close=False)
    return Worker(seen, shop, [])


def _take(worker: Worker) -> None:
    worker.held.append(worker.shop.connect())
    worker.held[-1].execute(text("SELECT 1"))


def _give_back(worker: Worker) -> None:
    worker.held.pop().close()


def test_each_process_counts_its_own(tmp_path: Path) -> None:
    """In use is what all live processes have out, whatever their parent had when they were forked."""
    seen = Databases()
    seen.ledger.serve(tmp_path, this_instance())
    observing.observe_databases(seen.provider, seen.ledger)
    shop = create_engine(f"sqlite:///{tmp_path}/shop.db", pool_size=2, max_overflow=1)
    with shop.connect():
        make = partial(_worker, seen, shop, tmp_path)
        with Child(make) as one, Child(make) as other:
            for child in (one, one, other):
                child.call(_take)
            assert seen.in_use() == 4
            assert seen.pool("sqlite/shop.db")["max"] == 9
            one.call(_give_back)
            assert seen.in_use() == 3
            other.kill()
            assert until(lambda: seen.in_use() == 2)
            assert seen.pool("sqlite/shop.db")["idle"] == 1
            one.call(_give_back)
        assert until(lambda: seen.in_use() == 1)
    assert seen.in_use() == 0
    assert seen.operations() == {("SELECT", None): 3}
    assert seen.pool("sqlite/shop.db")["wait"]["count"] == 4
    shop.dispose()
    observing.rest()
    seen.ledger.close()
