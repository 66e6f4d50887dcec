"""The plain application on a machine that tells psutil nothing."""

from __future__ import annotations

from typing import NoReturn

import psutil


class SilentMachineError(OSError):
    """What every question ends in."""


def _refuse(*_: object, **__: object) -> NoReturn:
    raise SilentMachineError("nothing to say")


for name in (
    "cpu_times",
    "cpu_count",
    "virtual_memory",
    "disk_usage",
    "net_io_counters",
    "getloadavg",
    "pids",
):
    setattr(psutil, name, _refuse)

from tests.apps.plain import app  # noqa: E402 - it must find psutil changed


__all__ = ["app"]
