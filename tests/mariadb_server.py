"""A real MariaDB on a port of its own, which keeps nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pymysql

from tests.free_ports import free_port
from tests.waiting import until


if TYPE_CHECKING:
    from types import TracebackType


BOOT_SECONDS = 60


def _binary() -> str:
    found = shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin")
    assert found is not None, "MariaDB is missing: python3 tools/setup.py test installs it"
    return found


class MariaDB:
    """A server in a directory of its own; a context manager.

    Without the tables of accounts, which take most of the time of making one: whoever comes may do
    everything.
    """

    def __init__(self, *, max_connections: int) -> None:
        """Describe it; entering the context makes and starts it."""
        self._directory = Path(tempfile.mkdtemp(prefix="otelmon-mariadb-"))
        self.port = free_port()
        self._command = [
            *(_binary(), "--no-defaults", "--skip-grant-tables", "--skip-name-resolve"),
            *(["--user=root"] if os.geteuid() == 0 else []),
            *("--bind-address=127.0.0.1", f"--port={self.port}"),
            f"--datadir={self._directory}",
            f"--socket={self._directory / 'socket'}",
            f"--pid-file={self._directory / 'pid'}",
            # It takes at least 10. An account's limit can only be set where there is one from the start.
            *(f"--max-connections={max_connections}", "--max-user-connections=1000"),
            # Threads that are kept do not count as connections, but are more to look at.
            *("--thread-cache-size=0", "--innodb-flush-log-at-trx-commit=0"),
            *("--innodb-buffer-pool-size=8M", "--innodb-log-file-size=4M"),
        ]
        self._log = self._directory / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it, and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, cwd="/", stdout=log, stderr=log)
        if not until(self._answers, BOOT_SECONDS, every=0.05):
            said = self._log.read_text()
            self.__exit__(None, None, None)
            raise AssertionError(said)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it and remove all that it has."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(30)
        shutil.rmtree(self._directory, ignore_errors=True)

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(self._log.read_text())
        try:
            return bool(self.execute("SELECT 1"))
        except pymysql.err.OperationalError:
            return False

    # -- what it says ------------------------------------------------------------------------------

    def connect(self, name: str | None = None) -> pymysql.Connection[Any]:
        """Return a connection of the tests' own."""
        return pymysql.connect(
            host="127.0.0.1", port=self.port, user="tests", database=name, autocommit=True
        )

    def execute(self, sql: str, name: str | None = None) -> tuple[tuple[Any, ...], ...]:
        """Ask it something, on a connection that is closed at once."""
        with self.connect(name) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return tuple(cursor.fetchall())

    def status(self, *names: str) -> dict[str, int]:
        """Return what it counts."""
        wanted = ", ".join(f"'{name}'" for name in names)
        found = self.execute(f"SHOW GLOBAL STATUS WHERE Variable_name IN ({wanted})")
        return {name: int(value) for name, value in found}

    def connections(self) -> int:
        """Return how many there are, the one that asks left out."""
        return self.status("Threads_connected")["Threads_connected"] - 1

    def url(self, name: str, kind: str = "mysql") -> str:
        """Return the address of a database for SQLAlchemy."""
        return f"{kind}+pymysql://tests@127.0.0.1:{self.port}/{name}"
