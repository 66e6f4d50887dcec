"""Which checks there are in this process.

They are registered by the code of the application, before a fork or after it, so every process of
a server has the same ones, and whichever is the keeper asks.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otelmon.errors import ConfigError


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


MOST: Final = 64
"""Each may hold a thread while it hangs"""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_LONGEST: Final = 60.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that the application depends on."""

    name: str
    fn: Callable[[], object]
    critical: bool
    readiness: bool
    timeout: float | None
    """Seconds; None: HEALTH_CHECK_TIMEOUT"""


class Registry:
    """The checks by their names. Threads may add to it while another reads."""

    def __init__(self) -> None:
        """Have none."""
        self.checks: Mapping[str, Check] = {}

    def add(self, check: Check) -> None:
        """Add one, in place of an earlier one of its name.

        Raises:
            ConfigError: it cannot be used, or there are too many.
        """
        problems = _problems(check)
        if check.name not in self.checks and len(self.checks) >= MOST:
            problems.append(f"There are {MOST} health checks already: drop one for {check.name!r}.")
        if problems:
            raise ConfigError(*problems)
        # Anew, so that nobody sees a mapping that changes.
        self.checks = {**self.checks, check.name: check}


def _problems(check: Check) -> list[str]:
    # Of any type: callers need not be checked.
    name: object = check.name
    fn: object = check.fn
    timeout: object = check.timeout
    found = []
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        found.append(
            f"The name of a health check is {name!r}: "
            "give 1 to 64 of the characters A-Z a-z 0-9 . _ - that begin with a letter or digit."
        )
    if not callable(fn) or _is_async(fn):
        found.append(f"The health check {name!r} cannot be called: give a function, not async.")
    if timeout is not None and not _is_deadline(timeout):
        found.append(
            f"timeout of the health check {name!r} is {timeout!r}: "
            f"give seconds from 0.1 to {_LONGEST:g}, or None for HEALTH_CHECK_TIMEOUT."
        )
    return found


def _is_async(fn: object) -> bool:
    """Tell whether it is known to be; what a lambda returns is judged when it is asked."""
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(
        getattr(fn, "__call__", None)  # noqa: B004 - whether it is async, not whether it is there
    )


def _is_deadline(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return 0.1 <= value <= _LONGEST


REGISTRY: Final = Registry()
"""Those of this process; a forked child has what its parent had"""


def add_check(
    name: str,
    fn: Callable[[], object],
    *,
    critical: bool = False,
    readiness: bool = False,
    timeout: float | None = None,
) -> None:
    """Have *fn* asked every HEALTH_CHECK_INTERVAL seconds whether what it stands for is up.

    It is down if it raises, returns False or what is to be awaited, or has not come back after
    *timeout* seconds (HEALTH_CHECK_TIMEOUT unless given); anything else is up. It runs in a thread of its own, in
    one process of the server; no request waits for it. Down, it makes `/health` say `degraded`; with
    *critical* `unhealthy` and 503, with *readiness* `/readyz` 503. A name that is registered
    already is replaced. Call it where the application is made, so that all processes have it.

    Raises:
        ConfigError: name, function or timeout cannot be used.
    """
    REGISTRY.add(Check(name, fn, bool(critical), bool(readiness), timeout))
