"""What the shop keeps, in SQLite, and how several processes share one file of it."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import URL, Engine, ForeignKey, create_engine, event, insert, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker


if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator


PRODUCTS = {
    "Pencil": 120,
    "Notebook": 450,
    "Eraser": 90,
    "Ruler": 210,
    "Fountain pen": 3900,
    "Ink": 780,
    "Envelope": 15,
    "Stamp": 95,
    "Stapler": 1250,
    "Scissors": 860,
    "Desk lamp": 5400,
    "Paper clip": 2,
}
"""Name and price in cents; their numbers in the shop are 1 to 12."""

_PATIENCE = 5.0  # seconds to wait for another process's write


class Base(DeclarativeBase):
    """All tables of the shop."""


class Product(Base):
    """Something to buy."""

    __tablename__ = "products"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    cents: Mapped[int]


class Order(Base):
    """A number of one product, at the price of the day."""

    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    product_id: Mapped[int] = mapped_column(ForeignKey(Product.id), index=True)
    quantity: Mapped[int]
    cents: Mapped[int]


def open_store(path: Path) -> sessionmaker[Session]:
    """Return what makes sessions on the database at *path*, which is made and filled if need be.

    Safe for any number of processes that come at the same time.
    """
    if not path.exists():
        _make(path)
    return sessionmaker(_engine(path))


def _make(path: Path) -> None:
    # Made aside, then given its name: others see nothing of it or all, and the first one wins.
    # On a shared file the switch to WAL would not wait for others, but fail as "locked".
    with tempfile.TemporaryDirectory(prefix=f"{path.name}-", dir=path.parent) as directory:
        draft = Path(directory, path.name)
        engine = _engine(draft)
        with engine.connect() as connection:
            # Readers and a writer then pass each other. The file remembers it.
            connection.execute(text("PRAGMA journal_mode = WAL"))
        Base.metadata.create_all(engine)
        with engine.begin() as connection:
            connection.execute(insert(Product), list(_rows()))
        engine.dispose()  # writes back the log, which else stays a file of its own
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(draft)


def _engine(path: Path) -> Engine:
    url = URL.create("sqlite", database=str(path))
    engine = create_engine(url, connect_args={"timeout": _PATIENCE})
    event.listen(engine, "connect", _set_up)
    return engine


def _set_up(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = NORMAL")  # safe with WAL, and spares most syncs


def _rows() -> Iterator[dict[str, int | str]]:
    for number, (name, cents) in enumerate(PRODUCTS.items(), start=1):
        yield {"id": number, "name": name, "cents": cents}
