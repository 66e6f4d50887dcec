"""Commands to Redis: how long, how they ended, and which of them found what they looked for.

Names, attributes and bounds are those of the semantic conventions for database clients,
https://opentelemetry.io/docs/specs/semconv/database/database-metrics/ and .../redis/.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from otelmon import faults
from otelmon.instruments.lookups import adder, inside, recorder
from otelmon.instruments.observing import OTHER, Few


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.metrics import Meter

    from otelmon.instruments.lookups import LookUps

    Found = Callable[[Sequence[Any], Any], tuple[int, int]]


DURATION: Final = "db.client.operation.duration"
SYSTEM: Final = "db.system.name"
OPERATION: Final = "db.operation.name"
ERROR: Final = "error.type"
REDIS: Final = "redis"
BOUNDS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
PIPELINE: Final = "PIPELINE"
TRANSACTION: Final = "MULTI"
CACHE: Final = "redis"
"""The name of the cache whose look-ups are those that the application makes by itself"""

# Redis has some 250 commands and its modules as many; an application uses a few dozen.
_MAX_NAMES: Final = 100
_MAX_ERROR_TYPES: Final = 30
_NAME: Final = re.compile(r"[A-Z][A-Z0-9._-]{0,31}")


def _one(_: Sequence[Any], reply: Any) -> tuple[int, int]:  # noqa: ANN401 - whatever a callback makes of it
    return (0, 1) if reply is None else (1, 0)


def _many(_: Sequence[Any], reply: Any) -> tuple[int, int]:  # noqa: ANN401 - as above
    if not isinstance(reply, (list, tuple)):
        return 0, 0
    misses = sum(each is None for each in reply)
    return len(reply) - misses, misses


def _how_many(args: Sequence[Any], reply: Any) -> tuple[int, int]:  # noqa: ANN401 - as above
    if not isinstance(reply, int):
        return 0, 0
    return int(reply), max(0, len(args) - 1 - int(reply))


FOUND: Final[dict[str, Found]] = {
    "EXISTS": _how_many,
    "GET": _one,
    "GETEX": _one,
    "HGET": _one,
    "HMGET": _many,
    "MGET": _many,
}
"""The commands that look something up, and how many hits and misses a reply is"""


@dataclass(slots=True)  # to be read at half the cost of a named tuple
class Known:
    """What is done with a reply to one command."""

    record: Callable[[float], object]
    """Takes seconds"""
    batched: Callable[[int], object]
    found: Found | None
    single: bool
    """It looks one thing up, and None is a miss"""


class Commands:
    """The instruments, and what a command is booked with."""

    def __init__(self, meter: Meter, lookups: LookUps) -> None:
        """Create the instruments on *meter*."""
        self._duration = meter.create_histogram(
            DURATION,
            unit="s",
            description="Duration of database client operations.",
            explicit_bucket_boundaries_advisory=BOUNDS,
        )
        self._batched = meter.create_counter(
            "otelmon.redis.pipeline.commands",
            "{command}",
            "Commands that were answered as a part of a pipeline or transaction.",
        )
        self._names = Few(_MAX_NAMES)
        self._errors = Few(_MAX_ERROR_TYPES)
        self.known: dict[object, Known] = {}
        """By the name as the caller wrote it; what is no name has no entry"""
        self._fast: dict[object, Known] = {}
        self.fast = self._fast.get
        """Asked for what needs no look at the whole reply"""
        self._failures: dict[tuple[str, str], Callable[[float], object]] = {}
        self.hit, self.miss = lookups.of(CACHE)

    def replied(self, took: float, args: Sequence[Any], reply: Any) -> None:  # noqa: ANN401 - as above
        """Book a command that took *took* seconds; whatever fails here is ours."""
        try:
            known = self.known.get(args[0]) or self._know(args[0])
            known.record(took)
            if known.found is not None and not inside.get():
                self._look(*known.found(args, reply))
        except Exception as fault:  # noqa: BLE001 - the application has its reply; only the figure is lost
            faults.report("redis_command", fault)

    def failed(self, took: float, args: Sequence[Any], error: BaseException) -> None:
        """Book a command that raised."""
        if not args:
            return
        try:
            known = args[0] in self.known
            # A name that no server knows is none, and must not take the place of one.
            made_up = not known and str(error).startswith("unknown command")
            self._fail(took, OTHER if made_up else self._name(args[0]), error)
        except Exception as fault:  # noqa: BLE001 - as above
            faults.report("redis_command", fault)

    def batch_replied(self, took: float, name: str, commands: Sequence[Any], replies: Any) -> None:  # noqa: ANN401 - as above
        """Book a pipeline or transaction: *commands* are the arguments of each."""
        try:
            (self.known.get(name) or self._know(name)).record(took)
            looking = not inside.get()
            if not isinstance(replies, (list, tuple)) or len(replies) != len(commands):
                replies, looking = [None] * len(commands), False
            for args, reply in zip(commands, replies, strict=True):
                known = self.known.get(args[0]) or self._know(args[0])
                known.batched(1)
                if looking and known.found is not None and not isinstance(reply, Exception):
                    self._look(*known.found(args, reply))
        except Exception as fault:  # noqa: BLE001 - as above
            faults.report("redis_command", fault)

    def batch_failed(
        self, took: float, name: str, commands: Sequence[Any], error: BaseException
    ) -> None:
        """Book a pipeline or transaction that raised."""
        try:
            self._fail(took, name, error)
            # One of them was refused, the server has done the others; unless it refused all.
            if type(error).__name__ == "ResponseError":
                for args in commands:
                    (self.known.get(args[0]) or self._know(args[0])).batched(1)
        except Exception as fault:  # noqa: BLE001 - as above
            faults.report("redis_command", fault)

    def _look(self, hits: int, misses: int) -> None:
        if hits:
            self.hit(hits)
        if misses:
            self.miss(misses)

    def _fail(self, took: float, name: str, error: BaseException) -> None:
        kind = self._errors(type(error).__qualname__)
        record = self._failures.get((name, kind))
        if record is None:
            attributes = {SYSTEM: REDIS, OPERATION: name, ERROR: kind}
            record = self._failures[name, kind] = recorder(self._duration, attributes)
        record(took)

    def _know(self, word: object) -> Known:
        name = self._name(word)
        attributes = {SYSTEM: REDIS, OPERATION: name}
        found = FOUND.get(_upper(word))
        known = Known(
            recorder(self._duration, attributes),
            adder(self._batched, attributes),
            found,
            single=found is _one,
        )
        # Few ways to write a few names; what is none may come in any number.
        if name is not OTHER and len(self.known) < 4 * _MAX_NAMES:
            self.known[word] = known
            if found is None or found is _one:
                self._fast[word] = known
        return known

    def _name(self, word: object) -> str:
        name = _upper(word)
        return self._names(name) if _NAME.fullmatch(name) else OTHER


def _upper(word: object) -> str:
    """Return the command's name; of `CONFIG GET`, which redis-py writes as one, the first word."""
    if isinstance(word, bytes):
        word = word.decode("ascii", "replace")
    return str(word).partition(" ")[0].upper()
