"""The text of a variable: what of it is the value, and how much of it may be shown.

A `.env` file may carry a comment after a value. Shells and dotenv readers drop it; docker's
`--env-file` and systemd's `EnvironmentFile` hand it over as part of the value. The rule here is the
one of dotenv readers: a `#` begins a comment where whitespace stands before it, outside quotes. So
`redis://h/0#x` and `pa#ss` are whole values, and `"a #b"` in quotes is one too.

A secret is never cut: unquoted, with a `#` after whitespace in it, it could be a short secret with
a comment or a long one without, and a wrong guess would weaken it in silence. It is refused.
"""

from __future__ import annotations

import re


_ONLY_COMMENT = re.compile(r"\s+#.*|#(?:\s.*)?", re.DOTALL)
_COMMENT = re.compile(r"(?<=\s)#.*", re.DOTALL)
_QUOTED = re.compile(
    r"(?P<quote>[\"'])(?P<value>(?:(?!(?P=quote)).)*)(?P=quote)(?:\s+#.*)?", re.DOTALL
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SHOWN_CHARACTERS = 80


def value_in(text: str, *, secret: bool = False) -> str:
    """Return *text* without comment, outer quotes and space; ValueError for an ambiguous secret."""
    if _ONLY_COMMENT.fullmatch(text):
        return ""
    text = text.strip()
    quoted = _QUOTED.fullmatch(text)
    if quoted:
        return quoted["value"]
    if secret and _COMMENT.search(text):
        raise ValueError
    return _COMMENT.sub("", text).rstrip()


def is_blank(text: str) -> bool:
    """Return whether nothing is left of *text*: a variable set to this counts as unset."""
    return not value_in(text).strip()


def shown(value: object) -> str:
    """Return *value* for a message, shortened, and cut where an address may hold credentials."""
    text = repr(value)
    if "://" in text or "@" in text:
        return shown_scheme(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def shown_scheme(value: object) -> str:
    """Return the scheme of an address: the rest of it may be a credential, its path too."""
    scheme = _SCHEME.match(str(value))
    return f"'{scheme[0]}...'" if scheme else hidden(value)


def hidden(_value: object) -> str:
    """Return what stands for a value that no message may show."""
    return "unusable (the value is not shown, it may be secret)"
