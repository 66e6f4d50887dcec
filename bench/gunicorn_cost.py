"""CPU time of a request under gunicorn's sync worker, without and with each library.

`wrk` asks each server for a short while in each round. The bare application is there twice, to show
how far two equal servers differ.
"""

from __future__ import annotations

import re
import statistics
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING

from bench.interleaved import cost, in_turn
from bench.scraping import shared_directory
from bench.servers import APPS, BARE, cpu_seconds, serve
from bench.tables import show


if TYPE_CHECKING:
    from tests.gunicorn_server import Gunicorn


_APPS = {
    BARE: APPS[BARE],
    "the same again": APPS[BARE],
    "probe in shared memory": "probe",
    **APPS,
}
_ROUNDS = 16
_SECONDS_EACH = 1
_SECONDS = 100.0
_CONNECTIONS = 2


class Server:
    """A server and its one worker."""

    def __init__(self, gunicorn: Gunicorn) -> None:
        """Let it warm up."""
        self._gunicorn = gunicorn
        (self._worker,) = gunicorn.workers()
        self.request()

    def request(self) -> float:
        """Return the CPU time of a request in us, a mean of as many as there is time for."""
        before = cpu_seconds(self._worker)
        requests = wrk(self._gunicorn.port)
        return (cpu_seconds(self._worker) - before) / requests * 1e6


def wrk(port: int) -> int:
    """Ask as fast as answers come; return how many came."""
    command = [
        "wrk",
        "-t1",
        f"-c{_CONNECTIONS}",
        f"-d{_SECONDS_EACH}s",
        f"http://127.0.0.1:{port}/",
    ]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    found = re.search(r"(\d+) requests in", told)
    assert found is not None, told
    assert "Non-2xx" not in told, told
    return int(found[1])


def main() -> None:
    """Print the cost of a request, and its ratio to the bare application's."""
    with ExitStack() as stack:
        servers = {}
        for name, module in _APPS.items():
            place = stack.enter_context(shared_directory())
            servers[name] = Server(serve(module, place, stack))
        seen = in_turn(
            {name: each.request for name, each in servers.items()}, rounds=_ROUNDS, seconds=_SECONDS
        )
    bare = seen[BARE]
    show(
        "A request under gunicorn's sync worker, CPU time of the worker",
        ["case", "min (us)", "median (us)", "min over bare", "median over bare"],
        [
            [
                name,
                *(f"{value:.1f}" for value in cost(each)),
                f"{min(each) / min(bare) - 1:+.1%}",
                f"{statistics.median(a / b for a, b in zip(each, bare, strict=True)) - 1:+.1%}",
            ]
            for name, each in seen.items()
        ],
    )


if __name__ == "__main__":
    main()
