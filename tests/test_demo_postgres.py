"""The demo's shop keeps its orders in a PostgreSQL where DATABASE_URL names one."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from flask import Flask
from werkzeug.test import Client

from otelmon.demo import shop, store
from otelmon.middleware.routes.places import inside
from tests.postgres_server import Postgres


if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with Postgres() as server:
        server.make("shop")
        yield server.url("shop")


COUNT = """
import sys
from sqlalchemy import func, select
from otelmon.demo import store
with store.open_store(sys.argv[1])() as session:
    print(session.scalar(select(func.count()).select_from(store.Product)))
"""


def test_four_processes_fill_it_once(url: str) -> None:
    """Processes that come to a new database at the same time find every product once."""
    command = [sys.executable, "-c", COUNT, url]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    told = [process.communicate(timeout=100)[0] for process in started]
    assert [text.strip() for text in told] == [str(len(store.PRODUCTS))] * 4


def test_the_shop_works_on_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders are placed, found and reported, and large numbers are no product."""
    monkeypatch.setattr(shop, "_pause", lambda _: None)
    app = shop.build_shop(url)
    client = Client(app)
    placed = client.post("/orders", json={"product": 1, "quantity": 3})
    assert placed.status_code == 201
    assert client.get(placed.headers["Location"]).json == placed.json
    assert "Pencil,3,360\n" in client.get("/report").text
    assert client.get(f"/products/{2**62}").status_code == 404
    app.extensions["shop"].kw["bind"].dispose()


def test_the_variable_names_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """DATABASE_URL goes before the file, and is in no text that is shown."""
    monkeypatch.setenv("DATABASE_URL", url)
    app = shop.create_app("not-made.sqlite3")
    (inner,) = {found for found, _ in inside(app) if isinstance(found, Flask)}
    assert inner.extensions["shop"].kw["bind"].dialect.name == "postgresql"
    inner.extensions["shop"].kw["bind"].dispose()
    app.close()  # type: ignore[attr-defined]
