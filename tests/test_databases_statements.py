"""Statements are told apart by what they do, and shown without what they were sent with."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelmon.instruments.databases.statements import OPERATIONS, Statements, read
from otelmon.instruments.observing import OTHER


@pytest.mark.parametrize(
    ("sql", "operation", "text"),
    [
        ("SELECT a FROM t WHERE b = 'x'", "SELECT", "SELECT a FROM t WHERE b = ?"),
        ("select a  from t\n where b = 1.5e3", "SELECT", "select a from t where b = ?"),
        ("INSERT INTO t (a, b) VALUES (%s, %(b)s)", "INSERT", "INSERT INTO t (a, b) VALUES (?)"),
        ("INSERT INTO t VALUES (1, 2), (3, 'x')", "INSERT", "INSERT INTO t VALUES (?)"),
        ("UPDATE t SET a = $1 WHERE b = ?", "UPDATE", "UPDATE t SET a = ? WHERE b = ?"),
        ("DELETE FROM t WHERE a IN (1, 2 , 3)", "DELETE", "DELETE FROM t WHERE a IN (?)"),
        ("SELECT :a::int, b::text FROM t2", "SELECT", "SELECT ?::int, b::text FROM t2"),
        ('SELECT "a"."b" FROM "a"', "SELECT", 'SELECT "a"."b" FROM "a"'),
        ('SELECT "it is me" FROM a', "SELECT", "SELECT ? FROM a"),
        ("/* user=ann */ SELECT 1 -- x", "SELECT", "SELECT ?"),
        ("SELECT $q$it's$q$, E'x', 'it''s'", "SELECT", "SELECT ?, ?, ?"),
        ("SELECT 'open", "SELECT", "SELECT ?"),
        ("SELECT 'a\\' , secret", "SELECT", "SELECT ..."),
        ("(SELECT 1) UNION (SELECT 2)", "SELECT", "(SELECT ?) UNION (SELECT ?)"),
        ("frobnicate the database", OTHER, "frobnicate the database"),
        ("", OTHER, ""),
    ],
)
def test_statements_are_read(sql: str, operation: str, text: str) -> None:
    """A statement is known by its operation, and by its text without literals and comments."""
    assert read(sql)[:2] == (operation, text)


def test_double_quotes_may_hold_texts() -> None:
    """Where double quotes hold texts, as in MySQL, none of them is shown."""
    assert read('SELECT `a` FROM t WHERE b = "secret"', quotes_texts=True).text == (
        "SELECT `a` FROM t WHERE b = ?"
    )


def test_long_lists_of_columns_are_left_out() -> None:
    """Of a long statement it is shown what it reads from, in 200 characters at the most."""
    columns = ", ".join(f"orders.column_{n}" for n in range(40))
    sql = f"SELECT {columns} FROM orders WHERE orders.id = %(id)s"
    assert read(sql).shown == "SELECT ... FROM orders WHERE orders.id = ?"
    assert read(sql).text != read(sql.replace("column_3,", "column_99,")).text
    assert len(read(f"UPDATE t SET {columns.replace(',', ' = ?,')} = ?").shown) == 200


SECRET = st.text(string.ascii_letters + "'\"$-/*% \n", max_size=30)


@given(SECRET, st.sampled_from(["'", "$$", "$tag$"]), st.integers(0, 5000))
def test_no_literal_is_shown(secret: str, quote: str, padding: int) -> None:
    """Whatever stands in a literal, and wherever the text is cut, nothing of it is shown."""
    quoted = secret.replace("'", "''") if quote == "'" else secret.replace("$", "")
    literal = f"{quote}q7x{quoted}q7x{quote}"
    sql = f"SELECT {'a' * padding} FROM t WHERE b = {literal} AND c = 1"
    assert "q7x" not in read(sql).text
    assert "q7x" not in read(sql).shown


@given(st.text(max_size=200))
def test_any_text_is_read(sql: str) -> None:
    """No text is refused, and each has one of the known operations."""
    words = read(sql)
    assert words.operation in {*OPERATIONS, OTHER}
    assert len(words.shown) <= 200


def test_few_statements_are_kept() -> None:
    """Statements with ever new literals are one, and do not fill the memory."""
    known = Statements(lambda _: lambda _: None)
    first = known["SELECT 1"]
    assert {known[f"SELECT {n}"] for n in range(100)} == {first}
    for number in range(5000):
        assert known[f"SELECT a{number}"].operation == "SELECT"
    assert len(known) <= 1000
    assert known["SELECT " + "a" * 20_000].operation == "SELECT"
    assert all(len(str(sql)) < 20_000 for sql in known)
