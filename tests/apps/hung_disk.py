"""The plain application on a machine whose disk does not answer while the file $HANG exists."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import psutil


_usage = psutil.disk_usage


def _hang(path: str) -> Any:  # noqa: ANN401 - psutil's own type
    marker = Path(os.environ["HANG"])  # noqa: TID251 - a test's own
    pause = threading.Event()
    while marker.exists():
        pause.wait(0.02)
    return _usage(path)


psutil.disk_usage = _hang

from tests.apps.plain import app  # noqa: E402 - it must find psutil changed


__all__ = ["app"]
