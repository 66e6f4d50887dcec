"""What observing adds to a command to Redis: ours, OpenTelemetry's instrumentation, redis-py's own.

Each case is a process of its own, because the latter two stay where they are once they are on. All
ask one server over a unix socket, in turn. The methods that only read the clock and add tell what
no instrumentation that is written in Python can be below.
"""

from __future__ import annotations

import subprocess
import sys
from typing import IO, Final

from bench.interleaved import cost, in_turn
from bench.tables import show
from bench.valkey import valkey


CASES: Final = {
    "not observed": "",
    "a method around it that reads the clock": "around(timed)",
    "the same, adding to three figures": "around(added)",
    "otelmon": "import otelmon; otelmon.monitor(lambda e, s: []); own()",
    "opentelemetry-instrumentation-redis, no SDK": "instrument()",
    "opentelemetry-instrumentation-redis, recording": "sdk(); instrument()",
    "redis-py's own, its default groups": "native()",
    "redis-py's own, with commands": "native('COMMAND')",
}
_PROGRAM: Final = """
import mmap, sys, time, redis

command = redis.Redis.execute_command
memory = memoryview(mmap.mmap(-1, mmap.PAGESIZE))
counts, sums = memory.cast("Q"), memory.cast("d")

def around(method):
    redis.Redis.execute_command = method

def timed(self, *args, **options):
    began = time.perf_counter()
    reply = command(self, *args, **options)
    took = time.perf_counter() - began
    return reply

def added(self, *args, **options):
    began = time.perf_counter()
    reply = command(self, *args, **options)
    sums[0] += time.perf_counter() - began
    counts[1] += 1
    counts[2] += 1
    return reply

def own():
    from otelmon import stack
    stack._instance.ledger.serve_alone()

def sdk():
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    trace.set_tracer_provider(TracerProvider())

def instrument():
    from opentelemetry.instrumentation.redis import RedisInstrumentor
    RedisInstrumentor().instrument()

def native(*more):
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from redis.observability import MetricGroup, OTelConfig, get_observability_instance
    metrics.set_meter_provider(MeterProvider([InMemoryMetricReader()]))
    groups = [MetricGroup.RESILIENCY, MetricGroup.CONNECTION_BASIC]
    groups += [MetricGroup[name] for name in more]
    get_observability_instance().init(OTelConfig(metric_groups=groups))

client = redis.Redis(unix_socket_path=sys.argv[1])
exec(sys.argv[2])
client.set("a", "1")
for line in sys.stdin:
    began = time.process_time_ns()
    for _ in range(int(line)):
        client.get("a")
    print((time.process_time_ns() - began) / int(line), flush=True)
"""
_CALLS: Final = 1000
_ROUNDS: Final = 25


class Asking:
    """A process of one case."""

    def __init__(self, socket: str, case: str) -> None:
        """Start it."""
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, socket, case],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self()

    def __call__(self) -> float:
        """Return the CPU time of one GET in ns."""
        orders, answers = self._pipes()
        orders.write(f"{_CALLS}\n")
        orders.flush()
        return float(answers.readline())

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout

    def end(self) -> None:
        """End it."""
        self._process.communicate(timeout=20)


def main() -> None:
    """Print the table."""
    with valkey() as socket:
        asking = {name: Asking(socket, case) for name, case in CASES.items()}
        seen = in_turn(dict(asking), rounds=_ROUNDS)
        for each in asking.values():
            each.end()
    costs = {name: cost(each) for name, each in seen.items()}
    bare = costs["not observed"]
    rows = [
        (
            name,
            *(f"{value / 1e3:.2f}" for value in each),
            *(f"{(value - none) / 1e3:+.2f}" for value, none in zip(each, bare, strict=True)),
        )
        for name, each in costs.items()
    ]
    head = ("case", "min (us)", "median (us)", "added, min (us)", "added, median (us)")
    show("CPU time of a GET that finds something, over a unix socket.", head, rows)


if __name__ == "__main__":
    main()
