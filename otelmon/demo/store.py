"""What the shop keeps, in a file of SQLite that processes share, or in a PostgreSQL."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import (
    URL,
    BigInteger,
    Engine,
    ForeignKey,
    Integer,
    event,
    func,
    insert,
    make_url,
    select,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from otelmon import create_engine


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
_MAKING = 20_070_401  # names the lock of who makes the tables
# SQLite counts up by itself only what it calls INTEGER, which is as large there.
_Number = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    """All tables of the shop."""


class Product(Base):
    """Something to buy."""

    __tablename__ = "products"

    id: Mapped[int] = mapped_column(_Number, primary_key=True)
    name: Mapped[str]
    cents: Mapped[int]


class Order(Base):
    """A number of one product, at the price of the day."""

    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(_Number, primary_key=True)
    product_id: Mapped[int] = mapped_column(ForeignKey(Product.id), index=True)
    quantity: Mapped[int]
    cents: Mapped[int]


def open_store(where: Path | str) -> sessionmaker[Session]:
    """Return what makes sessions on the database at *where*, which is made and filled if need be.

    A path is a file of SQLite; a text is an address for SQLAlchemy. Safe for any number of
    processes that come at the same time.
    """
    url = make_url(where) if isinstance(where, str) else _url(where)
    if url.get_backend_name() == "sqlite":
        path = Path(str(url.database))
        if not path.exists():
            _make(path)
        return sessionmaker(_engine(path))
    engine = create_engine(url)
    _fill(engine)
    return sessionmaker(engine)


def _fill(engine: Engine) -> None:
    """Make what is missing in a database that is there, while no other process does."""
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(_MAKING)))
        Base.metadata.create_all(connection)
        if not connection.scalar(select(func.count()).select_from(Product)):
            connection.execute(insert(Product), list(_rows()))
    # A worker that is forked from here must not share what is connected.
    engine.dispose()


def _url(path: Path) -> URL:
    return URL.create("sqlite", database=str(path))


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
    engine = create_engine(_url(path), connect_args={"timeout": _PATIENCE})
    event.listen(engine, "connect", _set_up)
    return engine


def _set_up(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = NORMAL")  # safe with WAL, and spares most syncs


def _rows() -> Iterator[dict[str, int | str]]:
    for number, (name, cents) in enumerate(PRODUCTS.items(), start=1):
        yield {"id": number, "name": name, "cents": cents}
