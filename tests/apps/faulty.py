"""An application that does wrong what recommendations are about, or with $HEALTHY set does it right.

The paths are the same. What takes five minutes takes one second here. $CONTAINER names a
directory with a tree of control groups to be taken for the machine's.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil


# A machine of one CPU, so that few workers are many; before anybody remembers how it is asked.
psutil.cpu_count = lambda logical=True: 1

from opentelemetry import metrics  # noqa: E402 - see above
from sqlalchemy import StaticPool, create_engine, text  # noqa: E402

from otelmon import DiskCheck, add_check, cache_hit, cache_miss, monitor, set_route  # noqa: E402
from otelmon.instruments.cgroup import Cgroups  # noqa: E402
from otelmon.metrics import host  # noqa: E402
from otelmon.recommendations import evidence  # noqa: E402


if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment


_ENVIRON: Final = os.environ  # noqa: TID251 - a test's own
HEALTHY: Final = bool(_ENVIRON.get("HEALTHY"))
_LEAK: Final = 2_000_000
_SECONDS: Final = {"report": 0.2, "tail": 4.0}

evidence.PATIENCE_SECONDS = 1.0
if container := _ENVIRON.get("CONTAINER"):
    vars(host)["Cgroups"] = lambda: Cgroups(Path(container))


def _fail(*_: object, **__: object) -> Any:  # noqa: ANN401 - psutil's own type
    raise OSError("no such counters")


if HEALTHY:
    add_check("disk", DiskCheck(".", free_bytes=1))
else:
    psutil.net_io_counters = _fail

_held: list[bytes] = []
_users = 0

_meter: Final = metrics.get_meter("shop")
_used: Final = _meter.create_up_down_counter("db.client.connection.count", unit="{connection}")
_most: Final = _meter.create_up_down_counter("db.client.connection.max", unit="{connection}")
_seen: Final = _meter.create_counter("shop.seen")
_pooled = False
_database: Final = create_engine("sqlite://", poolclass=StaticPool)


def _pools() -> None:
    """Have a pool of one connection, which is in use, and one that may have many."""
    global _pooled  # noqa: PLW0603 - once in a process
    if _pooled or "CONTAINER" in _ENVIRON:
        return
    _pooled = True
    for name, most, used in (("orders", 1 if not HEALTHY else 4, 1), ("postgresql/stock", 20, 0)):
        pool = {"db.client.connection.pool.name": name}
        _most.add(most, pool)
        _used.add(used, {**pool, "db.client.connection.state": "used"})


def _list_orders() -> None:
    """Ask for the items of twelve orders at once, or of each by itself."""
    with _database.connect() as connection:
        for order in range(1 if HEALTHY else 12):
            connection.execute(text("SELECT :id AS item"), {"id": order})


def _slow(seconds: float) -> None:
    threading.Event().wait(0.0 if HEALTHY else seconds)


def _work(name: str) -> str:
    """Do what a path stands for; return the status."""
    global _users  # noqa: PLW0603 - it counts
    if name == "orders":
        _list_orders()
    elif name in _SECONDS:
        _slow(_SECONDS[name])
    elif name == "leak" and not HEALTHY:
        _held.append(b"x" * _LEAK)
    elif name == "cache":
        (cache_hit if HEALTHY else cache_miss)("pages")
    elif name == "user":
        _users += not HEALTHY
        # Each process has users of its own, so that there are soon many.
        _seen.add(1, {"user": f"{os.getpid()} {_users}"})
    elif name == "checkout" and not HEALTHY:
        raise KeyError(name)
    elif name == "broken-link" and not HEALTHY:
        return "404 Not Found"
    return "200 OK"


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer."""
    name = str(environ["PATH_INFO"])[1:]
    _pools()
    if HEALTHY or name not in {"nameless", "broken-link"}:
        set_route(environ, f"/{name}")
    start_response(_work(name), [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


app = monitor(application)
