"""Statements of SQL without their literals: what kind they are, and which are the same."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from otelmon.instruments.observing import OTHER


if TYPE_CHECKING:
    from collections.abc import Callable

    Record = Callable[[float], object]


OPERATIONS: Final = frozenset(
    (
        *("SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "MERGE", "REPLACE", "VALUES", "COPY"),
        *("CREATE", "ALTER", "DROP", "TRUNCATE", "GRANT", "REVOKE", "COMMENT"),
        *("BEGIN", "START", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "LOCK"),
        *("SET", "SHOW", "PRAGMA", "EXPLAIN", "ANALYZE", "VACUUM", "CALL", "EXEC", "DO"),
        *("DECLARE", "FETCH", "CLOSE", "LISTEN", "NOTIFY", "USE", "REFRESH"),
    )
)
"""The words that a statement is told by; whatever begins with another one is `_OTHER`"""

_READ: Final = 4000
_SHOWN: Final = 200
_COLUMNS: Final = 60
# Longer ones are rarely the same twice, and the cache would keep their text.
_LONGEST_KEPT: Final = 10_000
_MOST_KEPT: Final = 1000

# What ends nowhere goes to the end of the text: it may have been cut inside of a literal.
_PIECES: Final = re.compile(
    r"""
    (?P<space> (?: \s+ | --[^\n]* | /\*.*?(?:\*/|\Z) )+ )
    | (?P<literal>
        \b[a-zA-Z]?'(?:[^']|'')*(?:'|\Z) | '(?:[^']|'')*(?:'|\Z)
        | \$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|\Z)
        | %\(\w+\)s | %s | \?\d* | (?<!:):[A-Za-z_]\w* | \$\d+ | @\w+
        | \b\d[\w.]*
      )
    | (?P<quoted> "(?:[^"]|"")*(?:"|\Z) )
    """,
    re.VERBOSE | re.DOTALL,
)
_NAME: Final = re.compile(r'"[A-Za-z_][A-Za-z0-9_$]{0,62}"')
_LIST: Final = re.compile(r"\( ?\?(?: ?, ?\?)* ?\)")
_ROWS: Final = re.compile(r"\(\?\)(?: ?, ?\(\?\))+")
_WORD: Final = re.compile(r"[\s(]*([A-Za-z]+)")


class Words(NamedTuple):
    """What a statement says, whatever values it was sent with."""

    operation: str
    text: str
    """Without literals, comments and superfluous space: equal for statements that are the same"""
    shown: str
    """The same in at the most 200 characters, long lists of columns left out"""


def read(sql: str, *, quotes_texts: bool = False) -> Words:
    """Return what *sql* says; where *quotes_texts*, double quotes hold texts, as in MySQL.

    A text whose quotes cannot be told, because a backslash may or may not mean something in it,
    is shown by its operation alone.
    """
    head = sql[:_READ]
    bare = _PIECES.sub(lambda piece: _replaced(piece, quotes_texts=quotes_texts), head).strip()
    found = _WORD.match(bare)
    word = found[1].upper() if found else ""
    operation = word if word in OPERATIONS else OTHER
    if "\\" in head:
        return Words(operation, f"{operation} ...", f"{operation} ...")
    text = _ROWS.sub("(?)", _LIST.sub("(?)", bare))
    return Words(operation, text, _short(text))


def _replaced(piece: re.Match[str], *, quotes_texts: bool) -> str:
    if piece["space"]:
        return " "
    if piece["quoted"] and not quotes_texts and _NAME.fullmatch(piece[0]):
        return piece[0]
    return "?"


def _short(text: str) -> str:
    start = text.upper().find(" FROM ")
    if text[:6].upper() == "SELECT" and start > _COLUMNS:
        text = f"SELECT ...{text[start:]}"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


class Statement:
    """One statement, the same object for all texts that come to it."""

    __slots__ = ("operation", "record", "shown")

    def __init__(self, words: Words, record: Record) -> None:
        """Book its time, in seconds, by *record*."""
        self.operation = words.operation
        self.shown = words.shown
        self.record = record


class Statements(dict[object, Statement]):
    """What was read already, by the text that was sent; it never holds many."""

    def __init__(self, record: Callable[[str], Record], *, quotes_texts: bool = False) -> None:
        """Begin without any; *record* returns what books an operation. For the rest see `read`."""
        super().__init__()
        self._record = record
        self._quotes_texts = quotes_texts
        self._by_text: dict[str, Statement] = {}

    def __missing__(self, sql: object) -> Statement:
        """Read it, and keep it if it may come again."""
        text = sql if isinstance(sql, str) else str(sql)
        words = read(text, quotes_texts=self._quotes_texts)
        if len(self) >= _MOST_KEPT or len(self._by_text) >= _MOST_KEPT:
            self.clear()
            self._by_text.clear()
        found = self._by_text.get(words.text)
        if found is None:
            found = self._by_text[words.text] = Statement(words, self._record(words.operation))
        if isinstance(sql, str) and len(sql) <= _LONGEST_KEPT:
            self[sql] = found
        return found
