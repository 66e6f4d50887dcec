"""A real PostgreSQL on a port of its own, that can be killed, stopped and started again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psycopg

from tests.free_ports import free_port
from tests.leftovers import OWNER
from tests.waiting import until


if TYPE_CHECKING:
    from types import TracebackType


USER = "postgres"


def _binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    path = shutil.which("initdb") or (str(found[-1]) if found else None)
    assert path is not None, "PostgreSQL is missing: python3 tools/setup.py test installs it"
    return Path(path).resolve().parent


class Postgres:
    """A cluster in a directory of its own; a context manager. It trusts everybody on loopback."""

    def __init__(self, *, max_connections: int = 100) -> None:
        """Describe it; entering the context makes and starts it."""
        # Not pytest's directories: those are for root alone, and PostgreSQL refuses to be root.
        self._directory = Path(tempfile.mkdtemp(prefix="otelmon-postgres-"))
        self._binaries = _binaries()
        self._drop = []
        if os.geteuid() == 0:
            self._drop = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
            shutil.chown(self._directory, USER, USER)
        self.port = free_port()
        self._options = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self._directory,
            "fsync": "off",
            "max_connections": max_connections,
            "shared_preload_libraries": "pg_stat_statements",
            "autovacuum": "off",
        }

    def __enter__(self) -> Self:
        """Make and start it."""
        try:
            where = ["-D", self._data, "-U", USER, "-A", "trust", "-N"]
            self._run("initdb", *where, "-E", "UTF8", "--locale=C.UTF-8")
            self.start()
            self.execute("CREATE EXTENSION pg_stat_statements")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it and remove all that it has."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self.resume()
            self.crash()
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def _data(self) -> str:
        return str(self._directory / "data")

    def _run(self, program: str, *arguments: str) -> None:
        # Its processes come and go with what connects to it, and are ended here: no test leaves them.
        env = {key: value for key, value in os.environ.items() if key != OWNER}  # noqa: TID251 - as a child needs
        with (self._directory / "setup.log").open("ab") as log:
            subprocess.run(
                [*self._drop, str(self._binaries / program), *arguments],
                check=True,
                cwd="/",
                env=env,
                stdout=log,
                stderr=log,
            )

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = " ".join(f"-c {name}={value}" for name, value in self._options.items())
        log = str(self._directory / "server.log")
        self._run("pg_ctl", "-D", self._data, "-w", "-s", "-l", log, "-o", options, "start")

    def crash(self) -> None:
        """End it at once, as a crash would."""
        self._run("pg_ctl", "-D", self._data, "-s", "-m", "immediate", "stop")

    @property
    def _pids(self) -> list[int]:
        first = (Path(self._data) / "postmaster.pid").read_text().split()[0]
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        return [int(first), *map(int, children)]

    def hang(self) -> None:
        """Stop all of its processes: connections stand, and nothing is answered."""
        for pid in self._pids:
            # That of a connection that was closed may just have ended.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        with contextlib.suppress(FileNotFoundError):
            for pid in self._pids:
                # What has waited to end does so at once.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    # -- what it says ------------------------------------------------------------------------------

    def execute(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Ask it something, on a connection that the application's figures are told apart from."""
        with psycopg.connect(
            host="127.0.0.1", port=self.port, user=USER, application_name="tests", autocommit=True
        ) as connection:
            cursor = connection.execute(sql.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    def url(self, name: str, *, port: int | None = None, **options: object) -> str:
        """Return the address of a database for SQLAlchemy."""
        query = "&".join(f"{key}={value}" for key, value in options.items())
        return f"postgresql+psycopg://{USER}@127.0.0.1:{port or self.port}/{name}?{query}"

    def connections(self, name: str) -> int:
        """Return how many there are to a database, the tests' own left out."""
        found = self.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = %s AND application_name <> 'tests'",
            name,
        )
        return int(found[0][0])

    def queries(self, name: str, like: str) -> int:
        """Return how many statements of a kind it was sent for a database."""
        found = self.execute(
            "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements s "
            "JOIN pg_database d ON d.oid = s.dbid WHERE datname = %s AND query ILIKE %s",
            name,
            like,
        )
        return int(found[0][0])

    def make(self, name: str) -> None:
        """Make a database."""
        self.execute(f"CREATE DATABASE {name}")
        assert until(lambda: bool(self.execute("SELECT 1")))
