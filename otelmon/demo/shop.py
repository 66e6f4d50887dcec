"""A small shop: Flask and SQLAlchemy, with a slow page and one that fails now and then, hardened.

All that otelmon needs of it stands in `create_app`.
"""

from __future__ import annotations

import time
from pathlib import Path
from random import Random, SystemRandom
from typing import TYPE_CHECKING, TypeGuard, TypeVar

from flask import Flask, Response, abort, json, request, url_for
from sqlalchemy import func, select
from werkzeug.exceptions import HTTPException, ServiceUnavailable

from otelmon import QueryCache, Settings, harden, monitor, static_url
from otelmon.demo.load import ADDRESS
from otelmon.demo.store import Order, Product, open_store


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from _typeshed.wsgi import WSGIApplication
    from sqlalchemy.orm import Session, sessionmaker
    from werkzeug.wrappers import Response as AnyResponse


Kept = TypeVar("Kept", Product, Order)
"""What the shop keeps under a number."""

CRASHES = 0.10
"""The part of all checkouts that raises an exception."""

REFUSALS = 0.04
"""The part of all checkouts that is answered 503."""

_LAST = 2**63 - 1  # the largest number the databases know; they raise on others
_MOST = 100  # pieces in one order

_INDEX = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>The otelmon demo shop</title>
<link rel="stylesheet" href="{style}">
<h1>The otelmon demo shop</h1>
<h2>The shop</h2>
<ul>
<li><a href="products">products</a>: all products
<li><a href="products/1">products/1</a>: one product
<li><a href="products/999">products/999</a>: no such product, 404
<li><a href="report">report</a>: the sales, 0.2 to 0.6 s slow
<li><a href="checkout">checkout</a>: fails one time in ten with an exception, sometimes with 503
<li>POST <code>{{"product": 1, "quantity": 2}}</code> to <code>orders</code>, read
<code>orders/1</code>
<li><a href="cart">cart</a>: what lies in yours; POST the same to it. It is kept in a session.
</ul>
<h2>Its figures, of all workers, from any of them</h2>
<ul>
<li><a href="health">health</a>: in short
<li><a href="api/metrics">api/metrics</a>: system, application and database
<li><a href="api/metrics/health">api/metrics/health</a>: with the alerts
<li><a href="api/metrics/alerts">api/metrics/alerts</a>: all alerts, and how they stand
<li><a href="api/metrics/recommendations">api/metrics/recommendations</a>: what to do
<li><a href="metrics">metrics</a>: for Prometheus, where ENABLE_PROMETHEUS is true
</ul>
</html>
"""


def create_app(database: str = "shop.sqlite3") -> WSGIApplication:
    """Return the monitored shop; *database* is a file, by default in the working directory.

    Where DATABASE_URL is set, the shop keeps everything there.
    """
    settings = Settings.from_env()
    where = settings.demo().database_url or Path(database).absolute()
    # Over plain http a browser would not send the cookie back.
    shop = harden(build_shop(where), settings, allow=[ADDRESS], secure=False)
    return monitor(shop, settings)


def build_shop(
    database: Path | str,
    *,
    chance: Random | None = None,
    pause: Callable[[float], object] | None = None,
) -> Flask:
    """Return the bare shop. *chance* rules failures and delays, *pause* spends the delays."""
    # By default chance comes from the system: a generator seeded before a fork would deal the same
    # fate to all workers.
    sessions = open_store(database)
    shop = Shop(sessions, chance or SystemRandom(), pause or _pause)
    app = Flask(__name__)
    app.extensions["shop"] = sessions
    app.get("/")(shop.index)
    app.get("/products")(shop.products)
    app.get("/products/<int:number>")(shop.product)
    app.post("/orders")(shop.place_order)
    app.get("/orders/<int:number>")(shop.order)
    app.get("/cart")(shop.cart)
    app.post("/cart")(shop.fill_cart)
    app.get("/report")(shop.report)
    app.route("/checkout", methods=["GET", "POST"])(shop.checkout)
    app.register_error_handler(HTTPException, _as_json)
    return app


class PaymentError(Exception):
    """The payment provider hung up."""


class Shop:
    """The shop's pages. Each opens a session of its own and closes it before it answers."""

    def __init__(
        self,
        sessions: sessionmaker[Session],
        chance: Random,
        pause: Callable[[float], object],
    ) -> None:
        """Take where the data is, and what rules failures and delays."""
        self._sessions = sessions
        self._cache = QueryCache("products")
        self._chance = chance
        self._pause = pause

    def index(self) -> str:
        """Show the addresses worth opening."""
        return _INDEX.format(style=static_url("shop.css", request.environ))

    def products(self) -> dict[str, object]:
        """List all products."""
        with self._sessions() as session:
            found = session.scalars(select(Product).order_by(Product.id))
            return {"products": [_product(product) for product in found]}

    def product(self, number: int) -> dict[str, object]:
        """Show one product."""
        return self._cache.get_or_create(str(number), lambda: self._product(number))

    def _product(self, number: int) -> dict[str, object]:
        with self._sessions() as session:
            return _product(_found(session, Product, number))

    def place_order(self) -> tuple[dict[str, object], int, dict[str, str]]:
        """Order a number of one product."""
        number, quantity = _wanted()
        with self._sessions.begin() as session:
            product = _found(session, Product, number)
            order = Order(product_id=number, quantity=quantity, cents=quantity * product.cents)
            session.add(order)
            session.flush()  # gives the order its number
            return _order(order), 201, {"Location": url_for("order", number=order.id)}

    def order(self, number: int) -> dict[str, object]:
        """Show one order."""
        with self._sessions() as session:
            return _order(_found(session, Order, number))

    def cart(self) -> dict[str, object]:
        """Show what lies in the visitor's cart."""
        return {"cart": _cart()}

    def fill_cart(self) -> dict[str, object]:
        """Lay a number of one product into it."""
        number, quantity = _wanted()
        with self._sessions() as session:
            _found(session, Product, number)
        cart = _cart()
        # The kept object itself, as the session notices.
        cart[str(number)] = min(cart.get(str(number), 0) + quantity, _MOST)
        return {"cart": cart}

    def report(self) -> Response:
        """Stream the sales of each product as CSV, slowly."""
        with self._sessions() as session:
            found = session.execute(
                select(
                    Product.name,
                    func.coalesce(func.sum(Order.quantity), 0),
                    func.coalesce(func.sum(Order.cents), 0),
                )
                .outerjoin(Order)
                .group_by(Product.id, Product.name)
                .order_by(Product.id)
            )
            sales = [(name, quantity, cents) for name, quantity, cents in found]
        return Response(self._lines(sales), mimetype="text/csv")

    def checkout(self) -> dict[str, object]:
        """Ask the payment provider, which is not always there. By GET too, for a browser."""
        luck = self._chance.random()
        if luck < CRASHES:
            raise PaymentError("The payment provider hung up.")
        if luck < CRASHES + REFUSALS:
            raise ServiceUnavailable("The payment provider is busy.", retry_after=2)
        return {"payment": "accepted"}

    def _lines(self, sales: Sequence[tuple[str, float, float]]) -> Iterator[str]:
        delay = self._chance.uniform(0.2, 0.6) / len(sales)
        yield "product,quantity,cents\n"
        for name, quantity, cents in sales:
            self._pause(delay)
            yield f"{name},{quantity:.0f},{cents:.0f}\n"


def _pause(seconds: float) -> None:
    # Looked up at the time of the call: gevent replaces it.
    time.sleep(seconds)  # noqa: TID251 - to be slow is what the report is for


def _cart() -> dict[str, int]:
    session = request.environ.get("otelmon.session")
    if session is None:
        raise ServiceUnavailable("There are no carts, because SESSION_SECRET is not set.")
    cart: dict[str, int] = session.setdefault("cart", {})
    return cart


def _wanted() -> tuple[int, int]:
    body = request.get_json(silent=True)
    wanted = body if isinstance(body, dict) else {}
    product, quantity = wanted.get("product"), wanted.get("quantity")
    if not _is_whole(product, _LAST) or not _is_whole(quantity, _MOST):
        abort(400, f"An order is a JSON object with a product and a quantity of 1 to {_MOST}.")
    return product, quantity


def _is_whole(value: object, most: int) -> TypeGuard[int]:
    return type(value) is int and 1 <= value <= most  # True is an int as well, but no quantity


def _found(session: Session, kind: type[Kept], number: int) -> Kept:
    found = session.get(kind, number) if number <= _LAST else None
    return found or abort(404, f"There is no {kind.__name__.lower()} {number}.")


def _product(product: Product) -> dict[str, object]:
    return {"product": product.id, "name": product.name, "cents": product.cents}


def _order(order: Order) -> dict[str, object]:
    return {
        "order": order.id,
        "product": order.product_id,
        "quantity": order.quantity,
        "cents": order.cents,
    }


def _as_json(error: HTTPException) -> AnyResponse:
    response = error.get_response()  # keeps its headers, such as Allow and Retry-After
    response.set_data(json.dumps({"error": error.description}))
    response.content_type = "application/json"
    return response
