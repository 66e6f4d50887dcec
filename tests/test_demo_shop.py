"""The demo's shop and the SQLite file that its processes share."""

from __future__ import annotations

import runpy
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final

import pytest
from gunicorn.config import Config
from sqlalchemy import text

from otelmon import Monitor, harden
from otelmon.demo import gunicorn_conf, load, shop, store


if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask.testing import FlaskClient


ROOT: Final = Path(__file__).resolve().parent.parent
PROCESSES: Final = 4
ROUNDS: Final = 10

OPENER: Final = """
import sys
from pathlib import Path
from sqlalchemy import func, select
from otelmon.demo.store import Order, Product, open_store

print("ready", flush=True)
for line in sys.stdin:
    sessions = open_store(Path(line.strip()))
    with sessions.begin() as session:
        session.add(Order(product_id=1, quantity=1, cents=1))
    with sessions() as session:
        print(session.scalar(select(func.count()).select_from(Product)), flush=True)
    sessions.kw["bind"].dispose()
"""


class Pauses(list[float]):
    """What the report has waited, without waiting."""


@pytest.fixture(name="pauses")
def _pauses() -> Pauses:
    return Pauses()


@pytest.fixture(name="client")
def _client(tmp_path: Path, pauses: Pauses) -> Iterator[FlaskClient]:
    app = shop.build_shop(tmp_path / "shop.sqlite3", chance=Random(7), pause=pauses.append)
    app.logger.disabled = True  # a hundred tracebacks say no more than one
    with app.test_client() as client:
        yield client
    app.extensions["shop"].kw["bind"].dispose()


def test_index_leads_to_pages_that_are_there(client: FlaskClient) -> None:
    """All links of the index to the shop itself are answered, one of them with 404 on purpose."""
    links = [link.split('"')[0] for link in client.get("/").text.split('href="')[1:]]
    own = [link for link in links if not link.startswith(("health", "api/", "metrics", "/static"))]

    statuses = {link: client.get(f"/{link}").status_code for link in own if link != "checkout"}

    # Without sessions there are no carts.
    assert statuses == {
        "products": 200,
        "products/1": 200,
        "products/999": 404,
        "cart": 503,
        "report": 200,
    }
    assert "checkout" in own


def test_a_cart_is_a_visitor_s_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is laid into it is there in the next request, and nobody else sees it."""
    monkeypatch.setenv("SESSION_SECRET", "a secret of the test")
    app = shop.build_shop(tmp_path / "shop.sqlite3")
    app.wsgi_app = harden(app.wsgi_app, secure=False)  # type: ignore[assignment, method-assign]
    one, other = app.test_client(), app.test_client()
    assert one.post("/cart", json={"product": 2, "quantity": 3}).status_code == 200
    assert one.post("/cart", json={"product": 2, "quantity": 1}).get_json() == {"cart": {"2": 4}}
    assert one.post("/cart", json={"product": 999, "quantity": 1}).status_code == 404
    assert one.get("/cart").get_json() == {"cart": {"2": 4}}
    assert other.get("/cart").get_json() == {"cart": {}}
    app.extensions["shop"].kw["bind"].dispose()


def test_products_are_listed(client: FlaskClient) -> None:
    """The list has all products, in the order of their numbers, as their own pages show them."""
    products = client.get("/products").get_json()["products"]

    assert list(range(1, len(store.PRODUCTS) + 1)) == [item["product"] for item in products]
    assert products[0] == client.get("/products/1").get_json()
    assert products[0] == {"product": 1, "name": "Pencil", "cents": 120}


@pytest.mark.parametrize(
    "path",
    ["/products/0", "/products/999", "/products/9999999999999999999", "/orders/1", "/nowhere"],
)
def test_what_is_not_there_is_404(client: FlaskClient, path: str) -> None:
    """A number that does not exist, even one that SQLite cannot hold, is answered 404 in JSON."""
    answer = client.get(path)

    assert answer.status_code == 404
    assert answer.get_json().keys() == {"error"}


def test_an_order_is_kept(client: FlaskClient) -> None:
    """An order is answered 201 with the place where it can be read, at the product's price."""
    placed = client.post("/orders", json={"product": 2, "quantity": 3})

    assert placed.status_code == 201
    assert placed.get_json() == {"order": 1, "product": 2, "quantity": 3, "cents": 1350}
    assert client.get(placed.headers["Location"]).get_json() == placed.get_json()


@pytest.mark.parametrize(
    "body",
    [
        "",
        "no json",
        "[1, 2]",
        '{"product": 1}',
        '{"product": "1", "quantity": 1}',
        '{"product": true, "quantity": 1}',
        '{"product": 1, "quantity": 0}',
        '{"product": 1, "quantity": 101}',
        '{"product": 99999999999999999999, "quantity": 1}',
    ],
)
def test_a_bad_order_is_refused(client: FlaskClient, body: str) -> None:
    """What is no order is answered 400 with the rule, and nothing is kept."""
    answer = client.post("/orders", data=body, content_type="application/json")

    assert answer.status_code == 400
    assert "quantity of 1 to 100" in answer.get_json()["error"]
    assert client.get("/orders/1").status_code == 404


def test_an_order_of_an_unknown_product_is_404(client: FlaskClient) -> None:
    """Nothing can be ordered that is not there."""
    answer = client.post("/orders", json={"product": 999, "quantity": 1})

    assert answer.status_code == 404


def test_a_wrong_method_is_told_the_right_ones(client: FlaskClient) -> None:
    """A 405 keeps its Allow header, though its body is ours."""
    answer = client.delete("/orders/1")

    assert answer.status_code == 405
    assert "GET" in answer.headers["Allow"]


def test_report_adds_up_the_orders_slowly(client: FlaskClient, pauses: Pauses) -> None:
    """The report has a line for each product, with what was sold, and takes 0.2 to 0.6 s."""
    for quantity in (2, 5):
        client.post("/orders", json={"product": 4, "quantity": quantity})

    answer = client.get("/report")

    lines = answer.text.splitlines()
    assert answer.mimetype == "text/csv"
    assert lines[0] == "product,quantity,cents"
    assert lines[4] == "Ruler,7,1470"
    assert lines[1] == "Pencil,0,0"
    assert len(lines) == 1 + len(pauses) == 1 + len(store.PRODUCTS)
    assert 0.2 <= sum(pauses) <= 0.6


def test_checkout_fails_at_its_rates(client: FlaskClient) -> None:
    """Of 2,000 checkouts about 10 % raise, about 4 % are answered 503, the others succeed."""
    statuses = Counter(client.post("/checkout").status_code for _ in range(2000))

    assert statuses.keys() == {200, 500, 503}
    assert statuses[500] / 2000 == pytest.approx(shop.CRASHES, abs=0.02)
    assert statuses[503] / 2000 == pytest.approx(shop.REFUSALS, abs=0.015)


def test_a_busy_checkout_says_when_to_come_back(client: FlaskClient) -> None:
    """A 503 has a Retry-After header."""
    answers = (client.get("/checkout") for _ in range(1000))

    busy = next(answer for answer in answers if answer.status_code == 503)

    assert busy.headers["Retry-After"] == "2"


def test_the_report_really_takes_its_time(tmp_path: Path) -> None:
    """Without a fake the report sleeps, and chance comes from the system."""
    app = shop.build_shop(tmp_path / "shop.sqlite3")

    with app.test_client() as client:
        answer = client.get("/report")

    app.extensions["shop"].kw["bind"].dispose()
    assert len(answer.text.splitlines()) == 1 + len(store.PRODUCTS)


def test_visitors_know_the_shop(client: FlaskClient) -> None:
    """Of all that visitors ask for, only the two pages that are not there are unknown."""
    client.post("/orders", json={"product": 1, "quantity": 1})
    habits = load.Habits(Random(3))

    asked = {(page.method, page.path): page for page in (habits.page() for _ in range(3000))}
    statuses = {
        what: client.open(page.path, method=page.method, json=page.order).status_code
        for what, page in asked.items()
    }

    absent = {("GET", "/products/999"), ("GET", "/wp-login.php")}
    assert {what for what, status in statuses.items() if status == 404} == absent
    assert {("GET", f"/products/{number}") for number in range(1, 13)} < statuses.keys()
    assert set(statuses.values()) <= {200, 201, 404, 500, 503}
    assert sum(load.SHARES.values()) == 100
    assert len(store.PRODUCTS) == load.PRODUCTS


def test_create_app_is_monitored(tmp_path: Path) -> None:
    """What gunicorn serves is the shop, with its figures."""
    app = shop.create_app(str(tmp_path / "shop.sqlite3"))

    assert isinstance(app, Monitor)
    app.close()


def test_the_store_survives_being_opened_again(tmp_path: Path) -> None:
    """A database that is there is left as it is, in WAL mode and with its foreign keys kept."""
    first = store.open_store(tmp_path / "shop.sqlite3")
    with first.begin() as session:
        session.add(store.Order(product_id=1, quantity=1, cents=1))

    second = store.open_store(tmp_path / "shop.sqlite3")

    with second() as session:
        assert session.get(store.Order, 1) is not None
        assert session.scalar(text("PRAGMA journal_mode")) == "wal"
        assert session.scalar(text("PRAGMA foreign_keys")) == 1
    for sessions in (first, second):
        sessions.kw["bind"].dispose()
    assert [path.name for path in tmp_path.iterdir()] == ["shop.sqlite3"]


def test_processes_that_come_at_once_share_one_store(tmp_path: Path) -> None:
    """Four processes that open a new database at the same time all find every product once."""
    command = [sys.executable, "-c", OPENER]
    with ExitStack() as stack:
        openers = [
            stack.enter_context(
                subprocess.Popen(
                    command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            for _ in range(PROCESSES)
        ]
        counts = [_ask(openers, "")]
        counts += [_ask(openers, f"{tmp_path}/{number}.sqlite3\n") for number in range(ROUNDS)]

    assert counts[0] == ["ready\n"] * PROCESSES
    assert counts[1:] == [[f"{len(store.PRODUCTS)}\n"] * PROCESSES] * ROUNDS
    # Beside each lies what SQLite has open until the last process has ended.
    assert len(list(tmp_path.glob("*.sqlite3"))) == ROUNDS


def _ask(openers: list[subprocess.Popen[str]], line: str) -> list[str]:
    for opener in openers:
        assert opener.stdin is not None
        opener.stdin.write(line)
        opener.stdin.flush()
    return [opener.stdout.readline() for opener in openers if opener.stdout is not None]


def test_a_plain_gunicorn_in_a_checkout_serves_the_shop() -> None:
    """The checkout's gunicorn.conf.py has the demo's settings, all of them known to gunicorn."""
    known = Config().settings
    ours = {name: value for name, value in vars(gunicorn_conf).items() if name in known}

    top = runpy.run_path(str(ROOT / "gunicorn.conf.py"))

    assert {name: value for name, value in top.items() if name in known} == ours
    assert set(top["__all__"]) == set(ours)
    assert ours["wsgi_app"] == "otelmon.demo.shop:create_app()"
