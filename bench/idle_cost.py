"""What the keeper costs an idle server: CPU time of its worker, beside another's and bare ones'."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

from bench.crowd import crowd
from bench.scraping import shared_directory
from bench.servers import APPS, BARE, OTELMON, cpu_seconds, keeper, serve
from bench.tables import show
from tests.waiting import until


if TYPE_CHECKING:
    import psutil


# Three of the keeper's intervals, which are 10 s by default.
_SECONDS = 30.0
_WORKERS = 2
_PROCESSES = 500


def share(workers: list[psutil.Process], before: list[float]) -> float:
    """Return how much of a core each of *workers* took on average since *before*."""
    used = [cpu_seconds(each) - at for each, at in zip(workers, before, strict=True)]
    return sum(used) / len(used) / _SECONDS


def main() -> None:
    """Print the share of a core that an idle worker takes."""
    with ExitStack() as stack:
        processes = stack.enter_context(crowd(_PROCESSES))
        bare, observed = (
            serve(APPS[name], stack.enter_context(shared_directory()), stack, workers=_WORKERS)
            for name in (BARE, OTELMON)
        )
        observed.wait_for_workers()
        # The second sample is the first with a share of CPU time; all imports are done by then.
        assert until(
            lambda: observed.ops("/api/metrics").json()["system"]["cpu_percent"] is not None, 20
        )
        chosen = keeper(observed)
        groups = {
            BARE: bare.workers(),
            "otelmon, the keeper's worker": [w for w in observed.workers() if w.pid == chosen],
            "otelmon, another worker": [w for w in observed.workers() if w.pid != chosen],
        }
        before = {name: [cpu_seconds(each) for each in found] for name, found in groups.items()}
        threading.Event().wait(_SECONDS)
        shares = {name: share(found, before[name]) for name, found in groups.items()}
    show(
        f"An idle gunicorn worker, over {_SECONDS:.0f} s at an interval of 10 s, {processes} processes",
        ["case", "of one core", "added"],
        [[name, f"{each:.2%}", f"{each - shares[BARE]:+.2%}"] for name, each in shares.items()],
    )


if __name__ == "__main__":
    main()
