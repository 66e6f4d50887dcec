"""A real MariaDB on a port of its own, which keeps nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pymysql

from tests.daemon import Daemon
from tests.free_ports import free_port


def _binary() -> str:
    found = shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin")
    assert found is not None, "MariaDB is missing: python3 tools/setup.py test installs it"
    return found


class MariaDB(Daemon):
    """A server in a directory of its own; a context manager.

    Without the tables of accounts, which take most of the time of making one: whoever comes may do
    everything.
    """

    def __init__(self, *, max_connections: int) -> None:
        """Describe it; entering the context makes and starts it."""
        self._directory = Path(tempfile.mkdtemp(prefix="otelmon-mariadb-"))
        self.port = free_port()
        command = [
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
        super().__init__(command, log_path=self._directory / "server.log", cwd="/")

    def is_ready(self) -> bool:
        """Tell whether it answers."""
        try:
            return bool(self.execute("SELECT 1"))
        except pymysql.err.OperationalError:
            return False

    def _end(self) -> None:
        """End it and remove all that it has."""
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

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
