"""What a gunicorn worker pays to load the application, without --preload: imports and set-up."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

from bench.interleaved import cost, in_turn
from bench.scraping import shared_directory
from bench.servers import APPS, BARE
from bench.tables import show


if TYPE_CHECKING:
    from pathlib import Path


_ROUNDS = 20
# A worker holds gunicorn already when it loads the application.
_CODE = """
import os, sys
sys.dont_write_bytecode = False
os.environ["PROMETHEUS_MULTIPROC_DIR"] = {place!r}
import gunicorn.app.wsgiapp, gunicorn.workers.sync
import bench.apps.{module}
os._exit(0)
"""


def seconds(module: str, place: Path) -> float:
    """Return the CPU time of a process that does it and ends."""
    code = _CODE.format(module=module, place=str(place))
    child = subprocess.Popen([sys.executable, "-c", code])
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, module
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print the CPU time of each application, and what it adds to the bare one."""
    with shared_directory() as place:
        cases = {name: partial(seconds, module, place) for name, module in APPS.items()}
        for case in cases.values():
            # For the first time everything is compiled.
            case()
        seen = {name: cost(times) for name, times in in_turn(cases, rounds=_ROUNDS).items()}
    base = seen[BARE]
    show(
        "CPU time until the application is loaded",
        ["case", "min (ms)", "median (ms)", "added, min (ms)", "added, median (ms)"],
        [
            [
                name,
                f"{found.least * 1e3:.0f}",
                f"{found.median * 1e3:.0f}",
                f"{(found.least - base.least) * 1e3:+.0f}",
                f"{(found.median - base.median) * 1e3:+.0f}",
            ]
            for name, found in seen.items()
        ],
    )


if __name__ == "__main__":
    main()
