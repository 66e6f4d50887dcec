"""What the program logs: records by level and logger, exceptions by class."""

from __future__ import annotations

import logging
import sys
import threading
from bisect import bisect_right
from functools import partial
from typing import TYPE_CHECKING, Final

from otelmon import faults
from otelmon.instruments.observing import OTHER, Few, Observing, turns
from otelmon.settings.arguments import listed, refuse
from otelmon.settings.rules import whole
from otelmon.settings.text import shown


if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.metrics import Meter


LEVEL: Final = "otelmon.log.level"
LOGGER: Final = "otelmon.log.logger"
ERROR: Final = "error.type"

_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_FLOORS: Final = (logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)
_MAX_LOGGERS: Final = 50
_MAX_ERROR_TYPES: Final = 100
# What a record is counted within: another one (a signal handler that logs while one is counted), or
# one that the counting itself logs. The latter would go on for ever.
_DEEPEST: Final = 4


_LEVEL: Final = whole("level", 0)


class _Depth(threading.local):
    """How many records this thread is counting now."""

    depth = 0


class LogMetrics(logging.Handler):
    """A handler that counts, writes nothing, takes no lock and never raises."""

    def __init__(
        self, meter: Meter, logger: logging.Logger, level: int | str, loggers: Iterable[str] | None
    ) -> None:
        """Create the counters on *meter*."""
        super().__init__(level)
        self.floor = self.level
        # Below its level a handler still keeps logging from writing a warning that none will see.
        self.setLevel(min(self.floor, logging.WARNING))
        self.logger = logger
        self._records = meter.create_counter(
            "otelmon.log.records", "{record}", "Records that were logged."
        )
        self._exceptions = meter.create_counter(
            "otelmon.log.exceptions", "{exception}", "Exceptions that were logged."
        )
        self._names = None if loggers is None else frozenset(loggers)
        self._shown = Few(_MAX_LOGGERS)
        self._errors = Few(_MAX_ERROR_TYPES)
        self._local = _Depth()

    def createLock(self) -> None:  # noqa: N802 - logging's name
        """Have no lock: a signal handler may log while its thread is counting, or at a fork."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool | logging.LogRecord:  # type: ignore[override]
        """Count a record that passes the filters."""
        passed: bool | logging.LogRecord = self.filter(record)
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return passed

    def emit(self, record: logging.LogRecord) -> None:
        """Count a record, and do for it what logging would do if this handler were not there."""
        local = self._local
        depth = local.depth
        if depth >= _DEEPEST:
            return
        local.depth = depth + 1
        try:
            if record.levelno >= self.floor and not _process.counted_below(self, record):
                self._count(record)
            if len(self.logger.handlers) == 1 and self._is_alone(record):
                _write_as_ever(record)
        except Exception as error:  # noqa: BLE001 - the record is logged; only the figure is lost
            faults.report("log_metrics", error)
        finally:
            local.depth = depth

    def _count(self, record: logging.LogRecord) -> None:
        logger = self._logger_shown(record.name)
        level = _LEVELS[bisect_right(_FLOORS, record.levelno)]
        self._records.add(1, {LEVEL: level, LOGGER: logger})
        # A record that was made by hand may have anything there.
        found = record.exc_info[0] if isinstance(record.exc_info, tuple) else None
        if found is not None:
            self._exceptions.add(1, {ERROR: self._errors(found.__qualname__), LOGGER: logger})

    def _logger_shown(self, name: str) -> str:
        """Return the label for a logger: of the names that are allowed, or of code that is loaded."""
        if self._names is not None:
            while name and name not in self._names:
                name = name.rpartition(".")[0]
            return name or OTHER
        package = name.partition(".")[0]
        # Loggers are named after modules; what is no module may be a name that a client made up.
        if package in sys.modules or package == self.logger.root.name:
            return self._shown(package)
        return OTHER

    def _is_alone(self, record: logging.LogRecord) -> bool:
        """Tell if no handler but ours will see the record, and none of ours after this one."""
        known = record.name and self.logger.manager.loggerDict.get(record.name)
        current: logging.Logger | None = known if isinstance(known, logging.Logger) else self.logger
        last: logging.Handler | None = None
        while current is not None:
            for handler in current.handlers:
                if not isinstance(handler, LogMetrics):
                    return False
                last = handler
            current = current.parent if current.propagate else None
        return last is self


def _write_as_ever(record: logging.LogRecord) -> None:
    """Write a record that no handler was set up for, as logging does: it asks only if it has none."""
    fallback = logging.lastResort
    if fallback is not None and record.levelno >= fallback.level:
        fallback.handle(record)


class _Process:
    """The handlers of this process: one for each logger, of the last call for it."""

    def __init__(self) -> None:
        self._asked: list[LogMetrics] = []
        self._installed: tuple[LogMetrics, ...] = ()

    def observe(self, handler: LogMetrics) -> Observing:
        """Add a handler to its logger."""
        with turns.lock:
            self._asked.append(handler)
            self._renew()
        return Observing(partial(self._end, handler))

    def _end(self, handler: LogMetrics) -> None:
        self._asked.remove(handler)
        self._renew()
        handler.close()

    def _renew(self) -> None:
        wanted = tuple({handler.logger: handler for handler in self._asked}.values())
        before, self._installed = self._installed, wanted
        for handler in before:
            if handler not in wanted:
                handler.logger.removeHandler(handler)
        for handler in wanted:
            if handler not in before:
                handler.logger.addHandler(handler)

    def counted_below(self, handler: LogMetrics, record: logging.LogRecord) -> bool:
        """Tell if a handler on the record's way up to this one has counted it already."""
        installed = self._installed
        if len(installed) == 1:
            return False
        return any(
            other is not handler
            and record.levelno >= other.floor
            and _is_within(other.logger, handler.logger)
            and f"{record.name}.".startswith(f"{other.logger.name}.")
            for other in installed
        )


def _is_within(logger: logging.Logger, other: logging.Logger) -> bool:
    return other is other.root or logger.name.startswith(f"{other.name}.")


_process = _Process()


def observe_log(
    *,
    meter: Meter,
    logger: logging.Logger | str | None = None,
    level: int | str = logging.WARNING,
    loggers: Iterable[str] | None = None,
) -> Observing:
    """Count what is logged from *level* on, on *meter*, until the result is closed.

    Observed is *logger* and all below it, else the root. A record is shown by the first part of its
    logger's name if that is a module, or, where *loggers* are named, by the nearest of these; all
    others are `_OTHER`. Of two calls for the same logger the last counts. Call it when logging is
    set up: `basicConfig` and `dictConfig` see a handler that is there already. ConfigError if there is
    no such level or logger.
    """
    refuse(_problems(logger, level))
    if loggers is not None:
        loggers = listed("loggers", loggers, example='loggers=["shop", "payments"]')
    if not isinstance(logger, logging.Logger):
        logger = logging.getLogger(logger)
    return _process.observe(LogMetrics(meter, logger, level, loggers))


def _problems(logger: object, level: object) -> Iterable[str]:
    if not isinstance(logger, logging.Logger | str | None):
        yield f"logger is {shown(logger)}: give a logger, its name, or None for the root."
    known = logging.getLevelNamesMapping()
    if level not in known if isinstance(level, str) else not _LEVEL.holds(level):
        yield f"level is {shown(level)}: give a number, or one of {', '.join(known)}."
