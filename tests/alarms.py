"""Alerts in miniature: a rule that is fed one value after the other, under a clock of its own."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from otelmon.alerts.moment import Measured, Moment
from otelmon.alerts.reading import judged
from otelmon.alerts.rules import Rule
from otelmon.alerts.state import Clock, ended, step
from otelmon.alerts.transitions import transition
from otelmon.board import AlertState
from tests.sources import HOST, Counts


if TYPE_CHECKING:
    from collections.abc import Iterable

    from otelmon.alerts.moment import Figure
    from otelmon.alerts.state import Step
    from otelmon.alerts.transitions import Transition
    from otelmon.ledger.reader import Reading


SECOND = 1_000_000_000
START = 1_000 * SECOND


def rule(**changes: Any) -> Rule:  # noqa: ANN401 - fields of Rule
    """Return a rule like that of the CPU: above 80 and 95, for 30 s, clear for 180 s."""
    fields: dict[str, Any] = {
        "id": "cpu",
        "warning": 80.0,
        "critical": 95.0,
        "unit": "%",
        "subject": "CPU usage",
        "window_seconds": 0.0,
    }
    return Rule(**(fields | changes))


@dataclass
class Alarm:
    """One alert and its history; `see` judges it once and moves the clock on."""

    rule: Rule = field(default_factory=rule)
    every: float = 10.0
    state: AlertState = field(default_factory=lambda: AlertState("cpu"))
    monotonic: int = START
    found: list[Transition] = field(default_factory=list)

    def see(self, *values: Figure) -> str:
        """Judge these values one after the other; return how the alert stands then."""
        for value in values:
            found, memory = judged(
                self.rule, value, tuple(map(tuple, self.state.memory)), self.monotonic
            )
            self.take(step(self.rule, self.state, found, self.clock))
            object.__setattr__(self.state, "memory", memory)
            self.monotonic += round(self.every * SECOND)
        return self.stands

    def hold(self, value: Figure, seconds: float) -> str:
        """Judge one value for so long."""
        return self.see(*[value] * round(seconds / self.every))

    def end(self) -> str:
        """Take the rule away."""
        self.take(ended(self.state, self.clock))
        return self.stands

    @property
    def clock(self) -> Clock:
        """Return the time."""
        return Clock(self.monotonic, self.monotonic / SECOND)

    def take(self, found: Step) -> None:
        """Go on to the next state."""
        if found.reason is not None:
            self.found.append(transition(len(self.found) + 1, self.state, found, self.clock))
        self.state = found.state

    @property
    def stands(self) -> str:
        """Return the state, with the level if there is one."""
        return f"{self.state.state}({self.state.level})" if self.state.level else self.state.state

    @property
    def news(self) -> list[tuple[str, str, str]]:
        """Return all changes of level so far, and why."""
        return [(each.before, each.after, each.reason) for each in self.found]


def errors(count: int, bad: int) -> Measured:
    """Return the error rate of so many requests."""
    return Measured(100 * bad / count, count, bad)


def moment(reading: Reading | None = None, **changes: Any) -> Moment:  # noqa: ANN401 - of Moment
    """Return a moment at which nothing is known but the host."""
    fields: dict[str, Any] = {
        "at": 1_768_204_800.25,
        "monotonic": time.monotonic_ns(),
        "interval": 10.0,
        "reading": Counts().read() if reading is None else reading,
        "host": HOST,
        "figures": {},
    }
    return Moment(**(fields | changes))


def raised(news: Iterable[tuple[str, str, str]]) -> int:
    """Return how often an alert began to fire."""
    return sum(before == "ok" for before, _, _ in news)
