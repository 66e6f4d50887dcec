"""Set up what a command of the Makefile needs; cost nothing when all is there.

Usage: python3 tools/setup.py demo|lint|test

Runs on a bare Python 3.11 or newer with venv and pip: makes .venv, installs the pinned
requirements and the package in place. `test` also wants the programs of some Debian packages and
installs what is missing where it may.
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


ROOT = Path(__file__).resolve().parent.parent
ENV = ROOT / ".venv"
PYTHON = ENV / "bin" / "python"
REQUIREMENTS = {"demo": "demo.txt", "lint": "dev.txt", "test": "dev.txt"}
PROGRAMS = {"prometheus": "prometheus", "promtool": "prometheus", "strace": "strace", "wrk": "wrk"}
"""What the tests start, and the Debian package that holds it."""


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
    return 0


def prepare(purpose: str) -> None:
    """Bring the environment, and for the tests the programs, to what *purpose* needs."""
    if sys.version_info < (3, 11):  # noqa: UP036 - whatever the machine calls python3 runs this
        raise SetupError(
            f"otelmon needs Python 3.11 or newer, and {sys.executable} is "
            f"{platform.python_version()}. Name another one: make PYTHON=python3.11 ..."
        )
    requirements = ROOT / "requirements" / REQUIREMENTS[purpose]
    stamp = ENV / f".installed-{requirements.stem}"
    wanted = fingerprint(requirements)
    if not stamp.is_file() or stamp.read_text() != wanted:
        install(requirements, stamp)
        stamp.write_text(wanted)
    if purpose == "test":
        need_programs()


def fingerprint(requirements: Path) -> str:
    """Return a digest of all that decides what is installed."""
    digest = hashlib.sha256(f"{platform.python_version()} {ROOT}".encode())
    for path in (requirements, ROOT / "requirements" / "uv.txt", ROOT / "pyproject.toml"):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def install(requirements: Path, stamp: Path) -> None:
    """Make the environment if need be, then install *requirements* and the package into it."""
    started = time.monotonic()
    stamp.unlink(missing_ok=True)
    make_environment()
    count = sum(line[:1].isalnum() for line in requirements.read_text().splitlines())
    say(f"installing {count} pinned packages of {requirements.relative_to(ROOT)}")
    package = ["--no-deps", "--no-build-isolation", "--editable", str(ROOT)]
    if not (install_uv() and uv("--requirement", str(requirements)) and uv(*package)):
        # uv is only faster; pip also knows mirrors and certificates that the machine set for pip.
        say("uv did not manage; pip takes longer")
        pip("--requirement", str(requirements))
        pip(*package)
    say(f".venv is ready after {time.monotonic() - started:.0f} s")


def make_environment() -> None:
    """Make .venv, anew if it is of another Python; keep one of this Python."""
    settings = ENV / "pyvenv.cfg"
    version = f"version = {platform.python_version()}\n"
    if settings.is_file() and version in settings.read_text() and PYTHON.exists():
        return
    say(f"making .venv with Python {platform.python_version()}")
    try:
        venv.EnvBuilder(clear=True, symlinks=True, with_pip=True).create(ENV)
    except (subprocess.CalledProcessError, OSError) as error:
        raise SetupError(
            f"{sys.executable} could not make {ENV}: {error}. "
            "On Debian: apt-get install python3-venv"
        ) from None


def install_uv() -> bool:
    """Get uv into the environment; return whether it is there."""
    return run(PYTHON, "-m", "pip", "install", "-q", "-r", str(ROOT / "requirements" / "uv.txt"))


def uv(*what: str) -> bool:
    """Install *what* with uv; return whether it went well."""
    return run(ENV / "bin" / "uv", "pip", "install", "-q", "--python", str(PYTHON), *what)


def pip(*what: str) -> None:
    """Install *what* with pip."""
    command = [str(PYTHON), "-m", "pip", "install", "-q", *what]
    if not run(*command):
        raise SetupError(f"pip failed. The command was: {' '.join(command)}")


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
        programs = ", ".join(name for name in PROGRAMS if not shutil.which(name))
        raise SetupError(
            f"the tests need {programs}. As root: {' '.join(update)} && {' '.join([*get, *absent])}"
        )


def missing_packages() -> list[str]:
    """Return the packages of which a program cannot be found."""
    return sorted({package for name, package in PROGRAMS.items() if not shutil.which(name)})


def run(*command: str | Path, stdout: int | None = None) -> bool:
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
