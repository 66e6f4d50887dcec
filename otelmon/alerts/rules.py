"""What an alert is about: one figure, two thresholds, and how long it must be past them.

Those that are there without any code stand in `built_in`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, get_args

from otelmon.errors import ConfigError


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otelmon.alerts.moment import Figure, Moment


Comparator = Literal[">", "<"]
Level = Literal["warning", "critical"]
Aggregation = Literal["sum", "mean", "min", "max", "rate", "average"]

LEVELS: Final[tuple[Level, ...]] = ("warning", "critical")

_ID: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
# They go to the board and into every notification.
_LONGEST: Final = {
    "metric": 255,
    "unit": 63,
    "subject": 200,
    "summary": 300,
    "description": 1000,
    "runbook_url": 2000,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One alert: which figure it looks at, when it fires and when it resolves.

    Give either *value*, a function that returns the figure, or *metric*, the name of a series of
    `/api/metrics/history` or of an instrument made through the OpenTelemetry API. Of an instrument,
    *aggregation* makes one figure: `sum`, `mean`, `min` or `max` of what all series and processes
    say now, `rate` of a counter or of a histogram's records per second, `average` of a histogram's
    amounts, both over the window.

    The figure breaches a level while it is strictly past its threshold. The alert fires when that
    has lasted for *for_seconds*, and resolves when the figure has been clear of the warning for
    *resolve_seconds*.

    Raises:
        ConfigError: something of it cannot be; the message names every field that is wrong.
    """

    id: str
    """Lower-case letters, digits and _: what the JSON and the metrics call it"""
    warning: float
    """In *unit*"""
    critical: float | None = None
    """Worse than the warning; None: there is no such level"""
    comparator: Comparator = ">"
    """Which side of a threshold is bad"""
    metric: str = ""
    value: Callable[[Moment], Figure] | None = None
    """Gives a number, a `Measured` or a `Growing`; None if there is nothing to judge by"""
    aggregation: Aggregation = "sum"
    where: Mapping[str, object] = field(default_factory=dict)
    """Attributes that a series of *metric* must have"""
    window_seconds: float = 60.0
    """Numbers are averaged over so long; 0 judges by the last one alone"""

    for_seconds: float = 30.0
    resolve_seconds: float = 180.0
    no_data_seconds: float = 300.0
    """A firing alert outlives its data by so long"""
    hysteresis: float = 0.10
    """Part of a threshold between firing and clearing"""
    margin: float | None = None
    """The same in *unit*, instead"""
    best: float | None = None
    """The best value that there is: an alert never clears nearer to it than half-way"""
    min_samples: int = 1
    """With fewer there is no data: collections, requests, look-ups, as the figure counts them"""
    min_bad: int = 0
    """With fewer of them bad nothing is breached"""

    alertname: str = ""
    """What Alertmanager calls it; CamelCase, made of the id if it is not given"""
    unit: str = ""
    """%, ms, or any other; shown behind the value"""
    subject: str = ""
    """What the figure is, as in "CPU usage"; begins the message"""
    summary: str = ""
    """One sentence that is the same for every instance"""
    description: str = ""
    """What it means and what to do first"""
    runbook_url: str | None = None

    def __post_init__(self) -> None:
        """Fill in what follows from the rest, and judge it all."""
        subject = self.subject or self.metric or self.id
        side = "high" if self.comparator == ">" else "low"
        for name, default in (
            ("alertname", "".join(map(str.capitalize, self.id.split("_")))),
            ("metric", self.id),
            ("subject", subject),
            ("summary", f"{subject[:1].upper()}{subject[1:]} is too {side}."),
        ):
            object.__setattr__(self, name, getattr(self, name) or default)
        problems = [*_problems(self)]
        if problems:
            raise ConfigError(*problems)

    def threshold(self, level: Level) -> float | None:
        """Return where *level* begins, None if there is none."""
        return self.warning if level == "warning" else self.critical

    def clear(self, level: Level) -> float | None:
        """Return the value at which, and on the safe side of which, *level* is over."""
        threshold = self.threshold(level)
        if threshold is None:
            return None
        distance = self.hysteresis * abs(threshold) if self.margin is None else self.margin
        if self.best is not None:
            distance = min(distance, abs(self.best - threshold) / 2)
        # 0.77, not 0.7699999999999999
        if self.comparator == ">":
            return min(threshold, round(threshold - distance, 9))
        return max(threshold, round(threshold + distance, 9))

    def breaches(self, value: float, level: Level) -> bool:
        """Tell whether *value* is strictly past the threshold of *level*."""
        threshold = self.threshold(level)
        if threshold is None:
            return False
        return value > threshold if self.comparator == ">" else value < threshold

    def is_clear(self, value: float, level: Level) -> bool:
        """Tell whether *value* has left *level*, with the distance that keeps it from flapping."""
        clear = self.clear(level)
        if clear is None:
            return True
        return value <= clear if self.comparator == ">" else value >= clear

    def worse(self, one: float | None, other: float) -> float:
        """Return the worse one of two values."""
        if one is None:
            return other
        return max(one, other) if self.comparator == ">" else min(one, other)


_NUMBERS: Final = ("warning", "critical", "margin", "best")
_SPANS: Final = (
    "window_seconds",
    "for_seconds",
    "resolve_seconds",
    "no_data_seconds",
    "hysteresis",
    "min_samples",
    "min_bad",
)


def _problems(rule: Rule) -> list[str]:
    """Return a sentence for each field that cannot be."""
    found = [*_wrong_words(rule), *_wrong_numbers(rule)]
    if not found and rule.critical is not None and not _is_worse(rule):
        found.append(
            f"critical of the rule {rule.id!r} is {rule.critical:g}, not worse than its warning "
            f"({rule.warning:g}): give one {'above' if rule.comparator == '>' else 'below'} that, "
            "or None."
        )
    return found


def _wrong_words(rule: Rule) -> list[str]:
    label = f"of the rule {rule.id!r}"
    found = []
    if not _ID.fullmatch(rule.id):
        found.append(
            f"id {label} cannot be: give 1 to 64 of a-z, 0-9 and _, beginning with a letter."
        )
    elif not _NAME.fullmatch(rule.alertname):
        found.append(f"alertname {label} is {rule.alertname!r}: give letters, digits and _.")
    for name, choices in (("comparator", Comparator), ("aggregation", Aggregation)):
        if getattr(rule, name) not in get_args(choices):
            said = " or ".join(get_args(choices))
            found.append(f"{name} {label} is {getattr(rule, name)!r}: give {said}.")
    return [*found, *_long_words(rule)]


def _long_words(rule: Rule) -> list[str]:
    label = f"of the rule {rule.id!r}"
    found = []
    for name, longest in _LONGEST.items():
        word = getattr(rule, name)
        if word is None and name == "runbook_url":
            continue
        if not isinstance(word, str):
            found.append(f"{name} {label} is no text: give a str.")
        elif len(word) > longest:
            found.append(f"{name} {label} is longer than {longest} characters: shorten it.")
    return found


def _wrong_numbers(rule: Rule) -> list[str]:
    label = f"of the rule {rule.id!r}"
    found = []
    for name in (*_NUMBERS, *_SPANS):
        value = getattr(rule, name)
        if value is None and name in ("critical", "margin", "best"):
            continue
        if not _is_finite(value):
            found.append(f"{name} {label} is {value!r}: give a finite number.")
        elif value < 0 and (name in _SPANS or name == "margin"):
            found.append(f"{name} {label} is {value:g}: give a number from 0 up.")
    return found


def _is_finite(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_worse(rule: Rule) -> bool:
    assert rule.critical is not None
    return rule.breaches(rule.critical, "warning")
