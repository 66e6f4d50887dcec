"""Memory of a gunicorn worker without and with each library, as PSS: what is shared counts in parts."""

from __future__ import annotations

import re
import statistics
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from bench.scraping import shared_directory
from bench.servers import APPS, BARE, OTELMON, keeper, serve
from bench.tables import show
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.gunicorn_server import Gunicorn


_WORKERS = 4
# A request takes the worker that wakes first: so many reach all of them.
_REQUESTS = 200


def pss(pid: int) -> float:
    """Return the proportional set size of a process in MB."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss: +(\d+) kB$", text, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024 / 1e6


def workers(server: Gunicorn) -> dict[int, float]:
    """Return the memory of each worker."""
    return {worker.pid: pss(worker.pid) for worker in server.workers()}


def ask(server: Gunicorn, path: str) -> None:
    """Ask often enough for all workers to answer."""
    for _ in range(_REQUESTS):
        assert server.get(path).status == 200


def cases(preload: bool) -> Iterator[tuple[str, float]]:
    """Yield what a worker takes, by name."""
    for name, module in APPS.items():
        with ExitStack() as stack:
            place = stack.enter_context(shared_directory())
            server = serve(module, place, stack, workers=_WORKERS, preload=preload)
            ask(server, "/")
            if name == OTELMON:
                yield from otelmon(server)
            else:
                yield name, statistics.median(workers(server).values())


def otelmon(server: Gunicorn) -> Iterator[tuple[str, float]]:
    """Yield what each kind of worker takes."""
    server.wait_for_workers(_WORKERS)
    # The keeper has sampled the host once it has published.
    assert until(lambda: server.ops("/health").json()["status"] == "healthy")
    chosen = keeper(server)
    found = workers(server)
    assert chosen is not None
    yield OTELMON, statistics.median(size for pid, size in found.items() if pid != chosen)
    yield "otelmon, the keeper's worker", found[chosen]
    assert server.ops("/metrics").status == 200
    yield "otelmon, the keeper's worker, its port scraped", workers(server)[chosen]
    ask(server, "/metrics")
    scraped = (size for pid, size in workers(server).items() if pid != chosen)
    yield "otelmon, each worker scraped", statistics.median(scraped)


def main() -> None:
    """Print the memory of a worker, and what each library adds to it."""
    found = {preload: dict(cases(preload)) for preload in (False, True)}
    show(
        f"Memory of one of {_WORKERS} gunicorn workers, PSS",
        ["case", "worker (MB)", "added (MB)", "worker, --preload (MB)", "added, --preload (MB)"],
        [
            [
                name,
                *(
                    figure
                    for by_name in found.values()
                    for figure in (f"{by_name[name]:.1f}", f"{by_name[name] - by_name[BARE]:+.1f}")
                ),
            ]
            for name in found[False]
        ],
    )


if __name__ == "__main__":
    main()
