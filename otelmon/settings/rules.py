"""What a value may be: one rule reads it from text, judges it, and says itself in a message."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from otelmon.settings.text import hidden, shown, shown_scheme


if TYPE_CHECKING:
    from collections.abc import Callable


Off = Literal["off"]
OFF: Off = "off"


class Rate(NamedTuple):
    """So many requests in so many seconds."""

    requests: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of value."""

    says: str  # what to give, as in "give a number of seconds from 1 to 60"
    read: Callable[[str], object]  # a ValueError or LookupError refuses the text
    holds: Callable[[Any], bool]  # asked of every value, also of those given in code, of any type
    show: Callable[[object], str] = shown
    secret: bool = False


def number(unit: str, low: float, high: float = sys.float_info.max) -> Rule:
    """Return the rule of a finite number; the comparison refuses NaN and infinity."""
    return Rule(
        f"a number of {unit} {_span(low, high, sys.float_info.max)}",
        float,
        lambda value: _is_a(value, int, float) and low <= value <= high,
    )


def whole(unit: str, low: int, high: int = sys.maxsize) -> Rule:
    """Return the rule of a whole number."""
    return Rule(
        f"a whole number of {unit} {_span(low, high, sys.maxsize)}",
        int,
        lambda value: _is_a(value, int) and low <= value <= high,
    )


def _is_a(value: object, *types: type) -> bool:
    return isinstance(value, types) and not isinstance(value, bool)


def _span(low: float, high: float, most: float) -> str:
    return f"from {low:.10g} up" if high == most else f"from {low:.10g} to {high:.10g}"


def matching(pattern: str, says: str) -> Rule:
    """Return the rule of a text that matches *pattern* as a whole."""
    fits = re.compile(pattern).fullmatch
    return Rule(says, str, lambda value: isinstance(value, str) and fits(value) is not None)


def choice(*words: str) -> Rule:
    """Return the rule of one word of several, in any case."""
    return Rule(f"one of {', '.join(words)}", str.lower, words.__contains__)


def each(rule: Rule, says: str) -> Rule:
    """Return the rule of a comma separated list of what *rule* accepts, kept as a tuple."""
    return replace(
        rule,
        says=says,
        read=lambda text: tuple(item for item in map(str.strip, text.split(",")) if item),
        holds=lambda value: isinstance(value, tuple) and all(map(rule.holds, value)),
    )


def or_off(rule: Rule) -> Rule:
    """Return *rule* with the word `off` beside it."""
    return replace(
        rule,
        says=f"{rule.says}, or off",
        read=lambda text: OFF if text.lower() == OFF else rule.read(text),
        holds=lambda value: value == OFF or rule.holds(value),
    )


def url(*schemes: str) -> Rule:
    """Return the rule of an address with one of *schemes*."""
    starts = [f"{scheme}://" for scheme in schemes]
    says = f"an address that begins with {' or '.join(starts)}"
    return Rule(says, str, lambda value: _is_url(value, schemes), shown_scheme)


def _is_url(value: object, schemes: tuple[str, ...]) -> bool:
    if not isinstance(value, str) or not value.isprintable() or " " in value:
        return False
    try:
        parts = urlsplit(value)
        names_a_place = parts.path if parts.scheme == "unix" else parts.hostname
        return parts.scheme in schemes and bool(names_a_place) and parts.port != 0
    except ValueError:
        return False


_SWITCH = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}
SWITCH = Rule(
    "true or false (also 1 or 0, yes or no, on or off)",
    lambda text: _SWITCH[text.lower()],
    lambda value: isinstance(value, bool),
)
# The OpenTelemetry specification: nothing but "true" switches on.
STANDARD_SWITCH = replace(
    SWITCH, says="true or false", read=lambda text: {"true": True, "false": False}[text.lower()]
)
PERCENT = replace(number("", 0, 100), says="a percentage from 0 to 100")
FRACTION = replace(number("", 0, 1), says="a fraction from 0 to 1")
PORT = replace(whole("", 0, 65535), says="a port from 0 (any free one) to 65535")
TEXT = matching(r"(?s).*\S.*", "some text")
DIRECTORY = Rule(
    "an absolute path", str, lambda value: isinstance(value, str) and Path(value).is_absolute()
)
TOKEN = replace(
    matching(r"[!-~]+", "visible ASCII characters without a space or a comment behind them"),
    show=hidden,
    secret=True,
)
SECRET = replace(
    TEXT, says="some text, in quotes if a # follows a space in it", show=hidden, secret=True
)


def _compiles(value: object) -> bool:
    try:
        return isinstance(value, tuple) and re.compile("|".join(value)) is not None
    except (re.error, TypeError):
        return False


REGEXES = replace(
    each(TEXT, "regular expressions separated by commas, valid when joined by |"), holds=_compiles
)


UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_RATE = re.compile(rf"(\d+)\s*(?:/|per)\s*({'|'.join(UNITS)})", re.ASCII | re.IGNORECASE)


def _rate(text: str) -> Rate:
    found = _RATE.fullmatch(text)
    if found is None:
        raise ValueError
    return Rate(int(found[1]), UNITS[found[2].lower()])


RATE = Rule(
    "a count from 1 up per second, minute, hour or day like 100/minute",
    _rate,
    lambda value: isinstance(value, Rate) and value.requests >= 1 and value.seconds >= 1,
)
