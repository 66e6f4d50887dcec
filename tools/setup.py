"""Set up what a command of the Makefile needs; cost nothing when all is there.

Usage: python3 tools/setup.py demo|lint|test

Runs on a bare Python 3.11 or newer with venv and pip: makes .venv, installs the pinned
requirements and the package in place. `test` also wants the programs of some Debian packages,
installs what is missing where it may, and builds mod_wsgi with them.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Callable


ROOT = Path(__file__).resolve().parent.parent
ENV = ROOT / ".venv"
PYTHON = ENV / "bin" / "python"
UV = ROOT / "requirements" / "uv.txt"
BUILT = ROOT / "requirements" / "mod_wsgi.txt"
OLDER = ROOT / "requirements" / "sqlalchemy20.txt"
BESIDE = ENV / "sqlalchemy20"
"""Where the older of two versions lies that the tests try; `PYTHONPATH` puts it first."""
REQUIREMENTS = {"demo": "demo.txt", "lint": "dev.txt", "test": "dev.txt"}
PROGRAMS = {
    "amtool": "prometheus-alertmanager",
    "apache2": "apache2-bin",
    "apxs": "apache2-dev",
    "cc": "gcc",
    "initdb": "postgresql",
    "mariadbd": "mariadb-server-core",
    "nginx": "nginx-light",
    "prometheus": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "promtool": "prometheus",
    "redis-server": "redis-server",
    "prometheus-node-exporter": "prometheus-node-exporter",
    "ps": "procps",
    "setpriv": "util-linux",
    "strace": "strace",
    "wrk": "wrk",
}
"""What the tests start or are built with, and the Debian package that holds it."""


class SetupError(Exception):
    """What is missing, and the command that gets it."""


def main(arguments: list[str]) -> int:
    """Set up for the one purpose named in *arguments*; return the exit status."""
    if len(arguments) != 1 or arguments[0] not in REQUIREMENTS:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        prepare(arguments[0])
    except SetupError as error:
        print(f"set-up: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("set-up: interrupted; the next run takes it up again", file=sys.stderr)
        return 130
    return 0


def prepare(purpose: str) -> None:
    """Bring the environment, and for the tests the programs, to what *purpose* needs."""
    if sys.version_info < (3, 11):  # noqa: UP036 - whatever the machine calls python3 runs this
        raise SetupError(
            f"otelmon needs Python 3.11 or newer, and {sys.executable} is "
            f"{platform.python_version()}. Name another one: make PYTHON=python3.11 ..."
        )
    once(ROOT / "requirements" / REQUIREMENTS[purpose], install)
    if purpose == "test":
        need_programs()
        once(BUILT, build)
        once(OLDER, put_beside)


def once(requirements: Path, get: Callable[[Path], None]) -> None:
    """Have *get* install *requirements*, unless that was done."""
    stamp = ENV / f".installed-{requirements.stem}"
    wanted = fingerprint(requirements)
    if not stamp.is_file() or stamp.read_text() != wanted:
        stamp.unlink(missing_ok=True)
        get(requirements)
        stamp.write_text(wanted)


def fingerprint(requirements: Path) -> str:
    """Return a digest of all that decides what is installed."""
    digest = hashlib.sha256(f"{platform.python_version()} {ROOT}".encode())
    for path in (requirements, UV, ROOT / "pyproject.toml"):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def build(requirements: Path) -> None:
    """Build what no wheel is there for, against the Apache that the machine has."""
    started = time.monotonic()
    say(f"building what {requirements.relative_to(ROOT)} names")
    pinned = ["--requirement", str(requirements)]
    if not (uv(*pinned) or pip(*pinned)):
        raise SetupError(
            f"{requirements.name} could not be built; the words of the compiler are above. "
            "It needs a Python with a shared library (configure --enable-shared) and its headers, "
            "on Debian: apt-get install python3-dev"
        )
    say(f"built after {time.monotonic() - started:.0f} s")


def put_beside(requirements: Path) -> None:
    """Install what is tried in another version too, where only those find it that are told to."""
    pinned = ["--no-deps", "--requirement", str(requirements), "--target", str(BESIDE)]
    if not (uv(*pinned) or pip("--upgrade", *pinned)):
        raise SetupError(f"pip could not install {requirements.name}; its words are above.")


def install(requirements: Path) -> None:
    """Make the environment if need be, then install *requirements* and the package into it."""
    started = time.monotonic()
    make_environment()
    count = sum(line[:1].isalnum() for line in requirements.read_text().splitlines())
    say(f"installing {count} pinned packages of {requirements.relative_to(ROOT)}")
    pinned = ["--requirement", str(requirements)]
    package = ["--no-deps", "--no-build-isolation", "--editable", str(ROOT)]
    # As pip does unasked. Else many processes at once compile what they import, each time anew
    # where PYTHONDONTWRITEBYTECODE is set: four workers of the demo then take ten seconds to boot.
    compiled = ["--compile-bytecode", *pinned]
    if not (pip("--requirement", str(UV)) and uv(*compiled) and uv(*package)):
        # uv is only faster; pip also knows the mirrors and proxies that are set for pip.
        say("uv did not manage it; pip takes a little longer")
        if not (pip(*pinned) and pip(*package)):
            raise SetupError(f"pip could not install {requirements.name}; its words are above.")
    say(f".venv is ready after {time.monotonic() - started:.0f} s")


def make_environment() -> None:
    """Make .venv, anew if it is of another Python; keep one of this Python."""
    settings = ENV / "pyvenv.cfg"
    version = f"version = {platform.python_version()}\n"
    # pip comes last: without it an earlier set-up was interrupted.
    whole = (ENV / "bin" / "pip").exists()
    if whole and settings.is_file() and version in settings.read_text():
        return
    say(f"making .venv with Python {platform.python_version()}")
    try:
        venv.EnvBuilder(clear=True, symlinks=True, with_pip=True).create(ENV)
    except (subprocess.CalledProcessError, OSError) as error:
        raise SetupError(
            f"{sys.executable} could not make {ENV}: {error}. "
            "On Debian: apt-get install python3-venv"
        ) from None


def uv(*what: str) -> bool:
    """Install *what* with uv; return whether it went well."""
    # The system's certificates: where a proxy has one of its own, it is there.
    command = [str(ENV / "bin" / "uv"), "pip", "install", "-q", "--system-certs"]
    return run(*command, "--python", str(PYTHON), *what)


def pip(*what: str) -> bool:
    """Install *what* with pip; return whether it went well."""
    command = [str(PYTHON), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    return run(*command, *what)


def need_programs() -> None:
    """Install the Debian packages of programs that are missing, or say how to."""
    packages = missing_packages()
    if not packages:
        return
    update, get = ["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends"]
    command = [*get, *packages]
    if os.geteuid() == 0 and shutil.which("apt-get"):
        say(f"installing {', '.join(packages)} with apt-get")
        run(*update, "-qq")
        run("env", "DEBIAN_FRONTEND=noninteractive", *command, "-qq", stdout=subprocess.DEVNULL)
    if absent := missing_packages():
        programs = ", ".join(missing_programs())
        raise SetupError(
            f"the tests need {programs}. As root: {' '.join(update)} && {' '.join([*get, *absent])}"
        )


def missing_packages() -> list[str]:
    """Return the packages of which a program cannot be found."""
    return sorted({PROGRAMS[name] for name in missing_programs()})


def missing_programs() -> list[str]:
    """Return the programs that cannot be found."""
    # Where Debian puts servers; not every user has it on the path, and PostgreSQL's nobody.
    servers = ["/usr/sbin", *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]
    path = os.pathsep.join(servers)
    return [name for name in PROGRAMS if not (shutil.which(name) or shutil.which(name, path=path))]


def run(*command: str, stdout: int | None = None) -> bool:
    """Run *command*; return whether it succeeded."""
    try:
        return subprocess.run(command, cwd=ROOT, stdout=stdout, check=False).returncode == 0
    except OSError as error:
        say(f"{command[0]}: {error}")
        return False


def say(message: str) -> None:
    """Print one line of progress."""
    print(f"set-up: {message}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
