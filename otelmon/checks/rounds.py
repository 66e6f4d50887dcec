"""The keeper asks the checks: all at once, each in a thread, none waited for.

The keeper looks in at each beat. What has not come back by its deadline is down, and is left
behind: it is not asked again before it comes back.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Coroutine
from functools import partial
from inspect import isasyncgen, isawaitable, isgenerator
from typing import TYPE_CHECKING, NamedTuple

from otelmon import faults, threads
from otelmon.checks import results
from otelmon.checks.results import TIMEOUT, Result, Results, unasked


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from otelmon.checks.registry import Check, Registry
    from otelmon.ledger.segment import Segment
    from otelmon.settings import Settings


log = logging.getLogger("otelmon")


class CheckFailedError(Exception):
    """A check has returned False."""


class CheckNotRunError(Exception):
    """A check has returned what would have to be awaited or looped over: nothing was asked."""


class _Outcome(NamedTuple):
    error: BaseException | None
    seconds: float


class _Run:
    """One call of a check, in a thread of its own."""

    def __init__(self, check: Check, timeout: float) -> None:
        self.timeout = timeout
        self.began = time.monotonic()
        self.outcome: _Outcome | None = None
        threads.start(partial(self._call, check))

    def _call(self, check: Check) -> None:
        error: BaseException | None = None
        try:
            error = _error_of(check.fn())
        except BaseException as raised:  # noqa: BLE001 - whatever it raises says that it is down
            error = raised
        self.outcome = _Outcome(error, time.monotonic() - self.began)

    @property
    def is_late(self) -> bool:
        """Tell whether it has not come back, or not in time."""
        seconds = time.monotonic() - self.began if self.outcome is None else self.outcome.seconds
        return seconds > self.timeout


def _error_of(answer: object) -> Exception | None:
    """Return what is wrong where a check has *answer*, whatever it is but False and what did not run."""
    if answer is False:
        return CheckFailedError("It returned False.")
    if not (isawaitable(answer) or isgenerator(answer) or isasyncgen(answer)):
        return None
    if isinstance(answer, Coroutine):
        # Else Python warns of it too.
        answer.close()
    return CheckNotRunError(
        f"It returned a {type(answer).__name__}, which has asked nothing: give a function that is "
        "done when it returns, as asyncio.run would make it."
    )


class Rounds:
    """One process's asking; for one thread."""

    def __init__(self, registry: Registry, settings: Settings) -> None:
        """Ask nothing yet."""
        self._registry = registry
        self._interval = settings.health_check_interval
        self._timeout = settings.health_check_timeout
        self._running: dict[str, _Run] = {}
        self._waiting: set[str] = set()
        """Those of this round that are not judged yet"""
        self._checks: Mapping[str, Check] = {}
        self._last: dict[str, Result] | None = None
        self._due = 0.0

    def rest(self) -> None:
        """Leave it to another process: what that one finds out is not known here."""
        self._last = None

    def forget(self) -> None:
        """Be as new in a forked child, which has none of its parent's threads."""
        self._running, self._last, self._due = {}, None, 0.0

    def tick(self, segment: Segment) -> None:
        """Begin what is due, judge what has come back or is late, and publish it if it is new.

        Raises:
            LedgerError, OSError: there is no space for it.
        """
        before = self._last
        if before is None:
            # Another keeper's: what it had found goes on.
            before = self._known_to(segment)
        checks = self._registry.checks
        last = {name: before.get(name, unasked(each)) for name, each in checks.items()}
        if time.monotonic() >= self._due or checks is not self._checks:
            self._begin(checks)
        last |= {each.name: each for each in self._judged(checks, last)}
        if last != before:
            results.publish(segment, Results(self._interval, tuple(last.values())))
        self._last = last

    def _known_to(self, segment: Segment) -> dict[str, Result]:
        found = results.read(segment)
        return {} if found is None else {each.name: each for each in found.checks}

    def _begin(self, checks: Mapping[str, Check]) -> None:
        self._due = time.monotonic() + self._interval
        self._checks = checks
        self._waiting = set(checks)
        for name, check in checks.items():
            if name not in self._running:
                timeout = self._timeout if check.timeout is None else check.timeout
                try:
                    self._running[name] = _Run(check, timeout)
                except RuntimeError as error:  # the system has no thread left
                    faults.report("health_check", error)
                    self._waiting.discard(name)

    def _judged(self, checks: Mapping[str, Check], last: Mapping[str, Result]) -> Iterable[Result]:
        for name, run in list(self._running.items()):
            back, late = run.outcome is not None, run.is_late
            if back:
                del self._running[name]
            if name in checks and name in self._waiting and (back or late):
                self._waiting.discard(name)
                yield _judge(checks[name], run, last[name])


def _judge(check: Check, run: _Run, before: Result) -> Result:
    outcome = run.outcome
    error = _error(run, outcome)
    status: results.Status = "up" if error is None else "down"
    at = time.time_ns() / 1e9
    changed = status != before.status
    if changed:
        _tell(check, status, error, outcome, first=before.monotonic is None)
    return Result(
        name=check.name,
        critical=check.critical,
        readiness=check.readiness,
        status=status,
        error=error,
        latency_ms=None if outcome is None else outcome.seconds * 1e3,
        at=at,
        monotonic=time.monotonic_ns(),
        since=at if changed else before.since,
    )


def _error(run: _Run, outcome: _Outcome | None) -> str | None:
    if run.is_late or outcome is None:
        return TIMEOUT
    return None if outcome.error is None else type(outcome.error).__name__


def _tell(
    check: Check, status: str, error: str | None, outcome: _Outcome | None, *, first: bool
) -> None:
    """Log one line for a change; that a check is up from the beginning is none."""
    if status == "up":
        if not first:
            log.info("The health check %s is up again.", check.name)
        return
    raised = None if outcome is None else outcome.error
    why = f": {faults.said(str(raised))}" if raised is not None and error != TIMEOUT else ""
    level = logging.ERROR if check.critical else logging.WARNING
    log.log(level, "The health check %s is down (%s)%s", check.name, error, why)
