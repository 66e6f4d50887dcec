"""What the observations of outgoing requests, pools and logs add to what they observe.

On a meter that does nothing, so that the figures are ours alone; on the SDK's beside it.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import TYPE_CHECKING, Final

import httpx
import urllib3
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from bench.interleaved import measure
from bench.tables import show
from otelmon.instruments.http_client import HttpClients, observe_http_client
from otelmon.instruments.http_hooks import Hook, attempt
from otelmon.instruments.logs import observe_log
from otelmon.instruments.observing import Observing
from otelmon.instruments.queues import observe_queue


if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.metrics import Meter

    from bench.interleaved import Cost

    Observe = Callable[[Meter], Observing]


METERS: Final[dict[str, Meter]] = {
    "a meter that does nothing": NoOpMeterProvider().get_meter("bench"),
    "the SDK's meter": MeterProvider([InMemoryMetricReader()]).get_meter("bench"),
}
_BARE: Final = "not observed"


class _Handler(BaseHTTPRequestHandler):
    """Answers with two bytes, on a connection that stays."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing."""


def costs(call: Callable[[], object], observe: Observe, *, calls: int) -> dict[str, Cost]:
    """Return the CPU time of a call: observed on no meter, and on each."""

    def observed(meter: Meter) -> Callable[[], object]:
        def many() -> None:
            with observe(meter):
                for _ in range(calls):
                    call()

        return many

    def bare() -> None:
        for _ in range(calls):
            call()

    cases = {_BARE: bare} | {name: observed(meter) for name, meter in METERS.items()}
    return measure(cases, calls=1, rounds=13)


class Pool:
    """A pool of urllib3 whose requests are answered at once."""

    scheme, host, port = "http", "api.example.org", 80
    answer = SimpleNamespace(status=200, version=11)

    def _make_request(self, _conn: object, _method: str, _url: str) -> SimpleNamespace:
        return self.answer


def hooked() -> dict[str, dict[str, Cost]]:
    """Measure our part of a request alone, which is more exact."""
    hook = Hook(__name__, "Pool", "_make_request", attempt)
    pool = Pool()

    def observe(meter: Meter) -> Observing:
        hook.install(HttpClients({"*.example.org"}, meter).book)
        return Observing(hook.remove)

    ask = partial(_ask, pool)
    return {"a request that takes no time": costs(ask, observe, calls=CALLS)}


def _ask(pool: Pool) -> None:
    pool._make_request(None, "GET", "/")  # noqa: SLF001 - urllib3's name for it


def outgoing() -> dict[str, dict[str, Cost]]:
    """Measure requests of urllib3 and httpx; server and client share the CPU time."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/"

        def observe(meter: Meter) -> Observing:
            return observe_http_client(hosts={"127.0.0.1"}, meter=meter)

        with urllib3.PoolManager() as pools, httpx.Client(trust_env=False) as client:
            found = {
                "a request of urllib3": costs(
                    lambda: pools.request("GET", url), observe, calls=CALLS
                ),
                "a request of httpx": costs(lambda: client.get(url), observe, calls=CALLS),
            }
            # The pools close their connections only when they go.
            pools.clear()
        server.shutdown()
        thread.join()
    return found


def pooled() -> dict[str, dict[str, Cost]]:
    """Measure tasks of a pool of one thread."""
    with ThreadPoolExecutor(1) as pool:

        def observe(meter: Meter) -> Observing:
            return observe_queue(pool, "bench", meter=meter)

        return {"a task of a pool": costs(lambda: pool.submit(int).result(), observe, calls=CALLS)}


def logged() -> dict[str, dict[str, Cost]]:
    """Measure records that one other handler takes and does nothing with."""
    log = logging.getLogger("otelmon.bench")
    log.propagate = False
    log.addHandler(logging.NullHandler())

    def observe(meter: Meter) -> Observing:
        return observe_log(meter=meter, logger=log)

    return {"a record": costs(lambda: log.warning("x"), observe, calls=CALLS)}


CALLS: Final = 500  # so that the begin and the end of an observation do not count


def main() -> None:
    """Print what each adds."""
    rows = []
    for what, found in (hooked() | outgoing() | pooled() | logged()).items():
        bare = found.pop(_BARE).median / CALLS
        for name, cost in found.items():
            own = cost.median / CALLS
            figures = (f"{bare / 1e3:.1f}", f"{(own - bare) / 1e3:.1f}", f"{own / bare:.2f}")
            rows.append([f"{what}, on {name}", *figures])
    show(
        "Observed against not observed, median CPU time",
        ["case", "not observed (us)", "added (us)", "ratio"],
        rows,
    )


if __name__ == "__main__":
    main()
