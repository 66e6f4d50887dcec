"""A stock application of Flask-SQLAlchemy: nothing in it but `monitor` knows that it is observed."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from flask import Flask, render_template_string
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from otelmon import monitor
from otelmon.recommendations import evidence


if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


class Base(DeclarativeBase):
    """The tables."""


db = SQLAlchemy(model_class=Base)


class Order(Base):
    """An order."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    lines: Mapped[list[Line]] = relationship(back_populates="order")


class Line(Base):
    """A line of an order."""

    __tablename__ = "lines"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey(Order.id))
    order: Mapped[Order] = relationship(back_populates="lines")


PAGE = "<ul>{% for order in orders %}<li>{{ order.id }}: {{ order.lines|length }}{% endfor %}</ul>"


def create_app() -> Flask:
    """Return the application, on the database that DATABASE_URL names."""
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]  # noqa: TID251 - as such applications do
    options = os.environ.get("ENGINE_OPTIONS", "{}")  # noqa: TID251 - as above
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = json.loads(options)
    db.init_app(app)
    app.get("/orders")(orders)
    app.get("/orders/<int:number>")(order)
    app.post("/orders")(place)
    app.get("/hold")(hold)
    app.get("/pid")(pid)
    return app


def orders() -> str:
    """Show all orders in a page; each asks for its lines by itself."""
    return render_template_string(PAGE, orders=db.session.scalars(select(Order)).all())


def order(number: int) -> str:
    """Show one order."""
    return str(db.session.get_one(Order, number).id)


def place() -> str:
    """Take an order of two lines."""
    made = Order(lines=[Line(), Line()])
    db.session.add(made)
    db.session.commit()
    return "placed"


def hold() -> str:
    """Hold a connection until the test lets go of a lock."""
    if db.engine.name == "postgresql":
        db.session.execute(select(func.pg_advisory_xact_lock_shared(1)))
    else:
        db.session.execute(select(func.get_lock("hold", 120)))
        db.session.execute(select(func.release_lock("hold")))
    return "held"


def pid() -> str:
    """Tell who answers, without any query."""
    return str(os.getpid())


def fill(times: int) -> None:
    """Make the tables, and so many orders."""
    with create_app().app_context():
        Base.metadata.create_all(db.engine)
        db.session.add_all(Order(lines=[Line()]) for _ in range(times))
        db.session.commit()
        db.engine.dispose()


def observed() -> WSGIApplication:
    """Return the application as a server gets it."""
    return monitor(create_app())


def hurried() -> WSGIApplication:
    """Return it with advice each moment, which else takes half a minute."""
    evidence.PATIENCE_SECONDS = 1.0
    return observed()
