"""What a rate limit costs a request: shared memory, beside `limits` in memory and in Redis.

A client far from its limit, in a process that is alone with its counts. `limits` in memory counts for
one process only, so it is no answer for several; it is here for the comparison. Redis is asked over
a unix socket. CPU time of this process: what the server does and the waiting for it come on top.
"""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Any, Final

from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from bench.interleaved import Cost, measure
from bench.tables import show
from bench.valkey import valkey
from otelmon import RateLimit, Settings, monitor, stack
from otelmon.hardening import limit_memory
from otelmon.hardening.limit_memory import LimitMemory
from otelmon.hardening.limit_redis import LimitRedis
from otelmon.hardening.policies import Policy, ruled
from otelmon.ledger.identity import Identity, Process, boot_id, network_namespace, start_time


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from limits.storage import Storage


_MANY: Final = 1_000_000_000
_CALLS: Final = 500
_ROUNDS: Final = 40


def _app(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]


def _calling(app: Any) -> Callable[[], object]:  # noqa: ANN401 - any application
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "REMOTE_ADDR": "192.0.2.1"}
    return lambda: app(dict(environ), lambda *_: None)


def _counting(hit: Callable[[], object]) -> WSGIApplication:
    """Return the application behind the least that counts and shows: no client, figures or texts."""
    ours = [("RateLimit-Policy", '"default";q=1;w=60'), ("RateLimit", '"default";r=1;t=60')]

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        hit()

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:  # noqa: ANN401 - as WSGI has it
            return start_response(status, headers + ours, *rest)

        return _app(environ, start)

    return app


def _identity() -> Identity:
    own = Process(os.getpid(), start_time(os.getpid()) or 0)
    return Identity("bench", own, boot_id(), network_namespace())


def _of_limits(storage: Storage, *, told: bool) -> Callable[[], object]:
    limiter = SlidingWindowCounterRateLimiter(storage)
    item = RateLimitItemPerSecond(_MANY, 60)

    def hit() -> object:
        passed = limiter.hit(item, "192.0.2.1")
        return limiter.get_window_stats(item, "192.0.2.1") if told else passed

    return hit


def _measured(socket: str, directory: str) -> dict[str, Cost]:
    settings = Settings.from_env({"OTELMON_DIR": directory})
    # Nothing listens here that would name an instance.
    vars(limit_memory)["identity_in_use"] = lambda *_, **__: _identity()
    memory = LimitMemory()
    (ruling,) = ruled([Policy("default", f"{_MANY}/minute")])
    # Figures are recorded as in a worker.
    bare = monitor(_app, settings)
    assert stack._instance is not None  # noqa: SLF001 - nobody serves here
    stack._instance.ledger.serve_alone()  # noqa: SLF001 - as above
    redis = RedisStorage(f"redis+unix://{socket}")
    in_redis = LimitRedis(f"unix://{socket}", "bench")
    several = ruled([Policy(name, f"{_MANY}/minute") for name in ("one", "two", "three")])
    three = [quota for each in several for quota in each.quotas]

    def counted() -> object:
        return memory.hit(ruling.quotas, "192.0.2.1", settings)

    return measure(
        {
            "otelmon, shared memory": counted,
            "otelmon, Redis": lambda: in_redis.hit(ruling.quotas, "192.0.2.1"),
            "otelmon, Redis, three policies": lambda: in_redis.hit(three, "192.0.2.1"),
            "limits, memory of one process": _of_limits(MemoryStorage(), told=False),
            "limits, memory, with what is left": _of_limits(MemoryStorage(), told=True),
            "limits, Redis": _of_limits(redis, told=False),
            "limits, Redis, with what is left": _of_limits(redis, told=True),
            "an application that does nothing": _calling(_app),
            "the same, counting, with headers that are ready": _calling(_counting(counted)),
            "the same behind RateLimit": _calling(
                RateLimit(_app, limit=f"{_MANY}/minute", settings=settings)
            ),
            "the same behind monitor": _calling(bare),
        },
        calls=_CALLS,
        rounds=_ROUNDS,
    )


def main() -> None:
    """Print the table."""
    with valkey() as socket, tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        costs = _measured(socket, directory)
    ours = costs["otelmon, shared memory"]
    rows = [
        (
            name,
            *(f"{value / 1e3:.2f}" for value in each),
            f"{each.median / ours.median:.1f}",
        )
        for name, each in costs.items()
    ]
    show(
        "CPU time of a request that is counted and passes.",
        ("case", "min (us)", "median (us)", "of ours"),
        rows,
    )


if __name__ == "__main__":
    main()
