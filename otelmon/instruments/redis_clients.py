"""Where redis-py is seen: the methods through which every command of a client goes.

- `Redis.execute_command`, which pipelines override to queue what they get; so what comes here goes
  to a server. Sentinel's and locks' commands and scripts come here too.
- `Pipeline.execute`, and `immediate_execute_command` for what comes before a transaction's MULTI.
- `RedisCluster.execute_command` and `ClusterPipeline.execute`.
- `ConnectionPool.__init__`, for the pools.

They are methods of classes, so clients that are there already are seen as well. The asynchronous
classes are others, and not observed; nor is what a subscriber waits for (`PubSub`).
"""

from __future__ import annotations

import weakref
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from otelmon import faults
from otelmon.instruments import redis_traces
from otelmon.instruments.lookups import inside
from otelmon.instruments.methods import Methods, when_imported
from otelmon.instruments.observing import Observing, turns
from otelmon.instruments.redis_commands import PIPELINE, TRANSACTION, Commands
from otelmon.instruments.redis_pools import Connections, Pools


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.metrics import Meter

    from otelmon.instruments.lookups import LookUps

    Original = Callable[..., Any]


class RedisClients:
    """What this process observes of redis-py."""

    def __init__(self) -> None:
        """Observe nothing, and import nothing."""
        self.commands: Commands | None = None
        self.pools = Pools()
        self._methods = Methods()
        self._followed = False
        self._asked: weakref.WeakSet[Meter] = weakref.WeakSet()

    def observe(self, meter: Meter, lookups: LookUps) -> Observing:
        """Measure all clients on *meter*, from the import of redis-py on, until it is closed."""
        commands = Commands(meter, lookups)
        with turns.lock:
            self.commands = commands
            if not self._followed:
                self._followed = True
                when_imported("redis", self._begin)
            else:
                self._begin()
        if meter not in self._asked:
            # Once: what is observed again on the same meter is asked for there already.
            self._asked.add(meter)
            Connections(meter, self.pools, first=redis_traces.attach)
        return Observing(partial(self._end, commands))

    def _end(self, commands: Commands) -> None:
        if self.commands is commands:
            self.commands = None
            self._methods.remove()

    def _begin(self, _: object = None) -> None:
        import sys

        redis = sys.modules.get("redis")
        if redis is None or self.commands is None:
            return
        from redis import client, connection

        wrap = self._methods.wrap
        wrap(client.Redis, "execute_command", self._around_command)
        wrap(client.Pipeline, "execute", self._around_batch)
        wrap(client.Pipeline, "immediate_execute_command", self._around_command)
        wrap(connection.ConnectionPool, "__init__", self._around_pool)
        self.pools.find(connection.ConnectionPool)
        cluster = sys.modules.get("redis.cluster")
        if cluster is not None:
            wrap(cluster.RedisCluster, "execute_command", self._around_command)
            wrap(cluster.ClusterPipeline, "execute", self._around_batch)
        redis_traces.attach()

    # -- around the methods ----------------------------------------------------------------------

    def _around_command(self, original: Original) -> Original:
        clients, out = self, inside.get

        def execute_command(self: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - any version's
            commands = clients.commands
            if commands is None:
                return original(self, *args, **options)
            began = perf_counter()
            try:
                reply = original(self, *args, **options)
            except BaseException as error:
                commands.failed(perf_counter() - began, args, error)
                raise
            took = perf_counter() - began
            # The common cases are spelled out: a call more would cost a tenth of all.
            try:
                known = commands.fast(args[0])
                if known is None:
                    commands.replied(took, args, reply)
                else:
                    known.record(took)
                    if known.single and not out():
                        (commands.miss if reply is None else commands.hit)(1)
            except Exception as fault:  # noqa: BLE001 - the application has its reply
                faults.report("redis_command", fault)
            return reply

        return execute_command

    def _around_batch(self, original: Original) -> Original:
        clients = self

        def execute(self: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as above
            commands = clients.commands
            batch = _batch(self) if commands is not None else ()
            if commands is None or not batch:
                return original(self, *args, **options)
            name = TRANSACTION if _is_transaction(self) else PIPELINE
            began = perf_counter()
            try:
                replies = original(self, *args, **options)
            except BaseException as error:
                commands.batch_failed(perf_counter() - began, name, batch, error)
                raise
            commands.batch_replied(perf_counter() - began, name, batch, replies)
            return replies

        return execute

    def _around_pool(self, original: Original) -> Original:
        clients = self

        def __init__(self: Any, *args: Any, **options: Any) -> None:  # noqa: ANN401, N807 - as above
            original(self, *args, **options)
            clients.pools.add(self)

        return __init__


def _batch(pipeline: Any) -> Sequence[Sequence[Any]]:  # noqa: ANN401 - as above
    """Return the arguments of each command that waits in a pipeline."""
    strategy = getattr(pipeline, "_execution_strategy", None)
    waiting = pipeline.command_stack if strategy is None else strategy.command_queue
    return [each[0] if isinstance(each, tuple) else each.args for each in waiting]


def _is_transaction(pipeline: Any) -> bool:  # noqa: ANN401 - as above
    strategy = getattr(pipeline, "_execution_strategy", None)
    if strategy is not None:
        return type(strategy).__name__.startswith("Transaction")
    return bool(getattr(pipeline, "transaction", False) or pipeline.explicit_transaction)


CLIENTS = RedisClients()
