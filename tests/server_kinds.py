"""The servers that the tests meet, each with the command that a user would start it with."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.gunicorn_server import ROOT
from tests.server_process import Kind


if TYPE_CHECKING:
    from collections.abc import Callable


WORKERS: Final = 3
APP: Final = "tests.apps.plain:app"
# Inside Apache, coverage's tracer never comes back from the first frame of a raw thread.
_UNMEASURED: Final = ("env", "--unset=COVERAGE_PROCESS_CONFIG")
# Apache gives up root's rights, and its workers could not read a Python below root's home.
_AS_NOBODY: Final = (
    *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
    *("--inh-caps=+dac_override", "--ambient-caps=+dac_override"),
)


def program(name: str) -> str:
    """Return a program of this environment."""
    return str(Path(sys.executable).with_name(name))


def _waitress(port: int, _: Path) -> list[str]:
    return [program("waitress-serve"), f"--listen=127.0.0.1:{port}", APP]


def _cheroot(port: int, _: Path) -> list[str]:
    return [program("cheroot"), "--bind", f"127.0.0.1:{port}", APP]


def _wsgiref(port: int, _: Path) -> list[str]:
    return [sys.executable, "-m", "tests.apps.application", str(port)]


def _flask(port: int, _: Path) -> list[str]:
    return [program("flask"), "--app", "tests.apps.flask_shell", "run", "--port", str(port)]


def _tornado(port: int, directory: Path) -> list[str]:
    server = [program("gunicorn"), "--no-control-socket", "-b", f"127.0.0.1:{port}"]
    # Away from the project's own gunicorn.conf.py.
    return [*server, "-k", "tornado", "-w", str(WORKERS), "-c", _empty(directory), APP]


def _empty(directory: Path) -> str:
    path = directory / "nothing.py"
    path.touch()
    return str(path)


def granian(*, workers: int = WORKERS, kill_seconds: int = 5) -> Callable[[int, Path], list[str]]:
    """Return how to start granian."""

    def command(port: int, _: Path) -> list[str]:
        server = [program("granian"), "--interface", "wsgi", "--host", "127.0.0.1"]
        return [
            *server,
            *("--port", str(port), "--workers", str(workers)),
            *("--respawn-failed-workers", "--respawn-interval", "0.1"),
            # On a busy machine a worker now and then does not hear that it is to end.
            *("--workers-kill-timeout", str(kill_seconds)),
            APP,
        ]

    return command


def uwsgi(*options: str) -> Callable[[int, Path], list[str]]:
    """Return how to start uWSGI."""

    def command(port: int, _: Path) -> list[str]:
        server = [program("uwsgi"), "--http-socket", f"127.0.0.1:{port}", "--module", APP]
        return [*server, "--need-app", "--disable-logging", "--die-on-term", *options]

    return command


def _mod_wsgi(port: int, directory: Path) -> list[str]:
    return [
        *_UNMEASURED,
        *(_AS_NOBODY if os.geteuid() == 0 else ()),
        *(program("mod_wsgi-express"), "start-server", str(ROOT / "tests/apps/application.py")),
        *("--host", "127.0.0.1", "--port", str(port), "--server-root", str(directory / "apache")),
        *("--processes", str(WORKERS), "--threads", "4", "--locale", "C.UTF-8"),
        *("--python-path", str(ROOT), "--log-to-terminal"),
    ]


_FORKED: Final = ("--master", "--processes", str(WORKERS))
KINDS: Final = {
    "waitress": Kind(_waitress),
    "cheroot": Kind(_cheroot),
    "wsgiref": Kind(_wsgiref),
    "flask run": Kind(_flask),
    "gunicorn tornado": Kind(_tornado, WORKERS, signal.SIGHUP),
    "granian": Kind(granian(), WORKERS, signal.SIGHUP),
    "uWSGI": Kind(uwsgi(*_FORKED), WORKERS, signal.SIGHUP),
    "uWSGI --lazy-apps": Kind(uwsgi(*_FORKED, "--lazy-apps"), WORKERS, signal.SIGHUP),
    "uWSGI --threads": Kind(
        uwsgi(*_FORKED, "--enable-threads", "--threads", "2"), WORKERS, signal.SIGHUP
    ),
    "uWSGI --reuse-port": Kind(uwsgi(*_FORKED, "--reuse-port"), WORKERS, signal.SIGHUP),
    "mod_wsgi": Kind(_mod_wsgi, WORKERS, signal.SIGUSR1),
}
FORKING: Final = [name for name, kind in KINDS.items() if kind.workers > 1]
SINGLE: Final = [name for name in KINDS if name not in FORKING]
