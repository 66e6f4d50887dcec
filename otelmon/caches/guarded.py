"""A client of redis-py behind a breaker. To import this imports redis-py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import redis
from redis.client import Pipeline

from otelmon import faults
from otelmon.caches.measures import measures


if TYPE_CHECKING:
    from collections.abc import Callable

    from otelmon.caches.breaker import Breaker


_FAILURES: Final = (redis.ConnectionError, redis.TimeoutError, OSError)
# The pool's own limit, which tells nothing of the server.
_LOCAL: Final = getattr(redis.exceptions, "MaxConnectionsError", ())


class BreakerOpenError(redis.ConnectionError):
    """Redis has failed several times in a row and is not asked for a while."""


class Guard:
    """A breaker, and the calls that go through it."""

    def __init__(self, breaker: Breaker) -> None:
        """Guard with *breaker*."""
        self.breaker = breaker
        self._reject: Callable[[], object] | None = None

    def call(self, make: Callable[..., Any], *args: Any, **options: Any) -> Any:  # noqa: ANN401 - any reply
        """Make a call if the breaker admits it, and tell it how that went.

        Raises:
            BreakerOpenError: it does not.
        """
        breaker = self.breaker
        if self._reject is None:
            self._follow()
        if not breaker.admit():
            assert self._reject is not None
            self._reject()
            raise BreakerOpenError(
                f"Redis at {breaker.name} has failed repeatedly and is not asked now: its breaker "
                "is open. Look after the server; the breaker closes by itself."
            )
        try:
            reply = make(*args, **options)
        except _FAILURES as error:
            if isinstance(error, _LOCAL):
                breaker.dropped()
            else:
                breaker.failed()
            raise
        except redis.RedisError:
            # It was refused, and so answered.
            breaker.passed()
            raise
        except BaseException:
            breaker.dropped()
            raise
        breaker.passed()
        return reply

    def _follow(self) -> None:
        try:
            self._reject = measures().follow(self.breaker)
        except Exception as error:  # noqa: BLE001 - the command is worth making without figures
            faults.report("breaker", error)
            self._reject = lambda: None


def _through(guard: Guard | None, make: Callable[..., Any], *args: Any, **options: Any) -> Any:  # noqa: ANN401 - any reply
    return make(*args, **options) if guard is None else guard.call(make, *args, **options)


class GuardedPipeline(Pipeline):
    """A pipeline whose round trips go through the client's breaker."""

    guard: Guard | None

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        if not self.command_stack and not self.watching:
            return super().execute(raise_on_error)
        found: list[Any] = _through(self.guard, super().execute, raise_on_error)
        return found

    def immediate_execute_command(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as redis-py's
        return _through(self.guard, super().immediate_execute_command, *args, **options)


class GuardedRedis(redis.Redis):
    """A client whose commands and pipelines go through the breaker of its pool, if that has one."""

    @classmethod
    def behind(cls, guard: Guard, pool: redis.ConnectionPool, *, single: bool) -> GuardedRedis:
        """Return a client that owns *pool*, and have all clients of it go through *guard*."""
        # The pool's, because redis-py makes further clients from nothing else: `client.client()`.
        pool.otelmon_guard = guard  # type: ignore[attr-defined]
        made = cls(connection_pool=pool, single_connection_client=single)
        made.auto_close_connection_pool = True
        return made

    @property
    def guard(self) -> Guard | None:
        """Return the guard of the pool."""
        return getattr(self.connection_pool, "otelmon_guard", None)

    def execute_command(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as redis-py's
        return _through(self.guard, super().execute_command, *args, **options)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> GuardedPipeline:
        """Return a pipeline, as redis-py does."""
        made = GuardedPipeline(
            self.connection_pool, self.response_callbacks, transaction, shard_hint
        )
        made.guard = self.guard
        return made
