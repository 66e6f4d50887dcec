"""The hooks for gunicorn: chained with the user's own, and never the end of a server."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from gunicorn.config import KNOWN_SETTINGS, Config

import otelmon.gunicorn
from otelmon import faults
from otelmon.gunicorn import HOOKS, Hook, install
from tests import peek
from tests.gunicorn_server import Gunicorn
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


ARITIES = {"when_ready": 1, "on_reload": 1, "pre_fork": 2, "on_exit": 1}

# Every hook of gunicorn's writes its name down, ours first, some of them named by import strings.
CONFIG = """
import os
from functools import partial

import otelmon.gunicorn
from tests.apps import noted

on_starting = noted.on_starting
when_ready = "tests.apps.noted.when_ready"
on_reload = noted.on_reload
pre_fork = "tests.apps.noted.pre_fork"
post_fork = noted.post_fork
child_exit = noted.child_exit
on_exit = noted.on_exit

otelmon.gunicorn.install(globals())
otelmon.gunicorn.install(globals())
"""

SETTLED = """
import os

import otelmon.gunicorn
from otelmon import Settings

settings = Settings(
    enable_prometheus=True,
    prometheus_port=int(os.environ["PROMETHEUS_PORT"]),
    ledger_dir=os.environ["OTELMON_DIR"],
    token="0123456789abcdef",
)
otelmon.gunicorn.install(globals(), settings)
"""


def theirs(server: list[str]) -> None:
    """Be a hook of the user's."""
    server.append("theirs")


def test_all_that_gunicorn_takes_from_the_module_are_hooks() -> None:
    """`-c python:otelmon.gunicorn` sets our hooks and, by no accident of a name, nothing else."""
    settings = {setting.name for setting in KNOWN_SETTINGS}
    assert settings & set(vars(otelmon.gunicorn)) == set(HOOKS) == set(ARITIES)


def test_gunicorn_accepts_all_of_them() -> None:
    """They have the arity that gunicorn asks of each, alone and in front of the user's."""
    namespace: dict[str, Any] = {"when_ready": theirs}
    install(namespace)
    for hooks in (HOOKS, namespace):
        config = Config()
        for name, hook in hooks.items():
            config.set(name, hook)
            assert config.settings[name].get() is hook


def test_installed_twice_they_run_once() -> None:
    """The second install changes nothing, as when a HUP has the configuration executed again."""
    namespace: dict[str, Any] = {"when_ready": theirs}
    install(namespace)
    before = dict(namespace)
    install(namespace)
    assert namespace == before
    assert set(namespace) == set(HOOKS)


def test_ours_runs_first_and_theirs_though_ours_failed() -> None:
    """What ours raises is reported and counted; the user's hook runs with the same arguments."""
    seen: list[object] = []

    def ours(server: list[object]) -> None:
        server.append("ours")
        raise RuntimeError("ours")

    Hook(ours).before(theirs)(seen)
    assert seen == ["ours", "theirs"]
    assert faults.seen()["gunicorn_hook"].times == 1


def test_hooks_that_get_nonsense_raise_nothing() -> None:
    """Each of ours passes over a server that is none."""
    for name, hook in HOOKS.items():
        hook(*[object()] * ARITIES[name])


def test_what_theirs_raises_is_raised() -> None:
    """A hook of the user's that fails does to gunicorn what it does without us."""

    def failing(_server: object) -> None:
        raise KeyError("theirs")

    namespace: dict[str, Any] = {"on_exit": failing}
    install(namespace)
    with pytest.raises(KeyError):
        namespace["on_exit"](None)


def test_an_import_string_is_resolved_and_ours_by_name_is_ours() -> None:
    """Hooks may be named by strings; the string of our own hook is that hook, not chained twice."""
    namespace: dict[str, Any] = {
        "pre_fork": "tests.apps.noted.pre_fork",
        "on_exit": "otelmon.gunicorn.on_exit",
    }
    install(namespace)
    assert isinstance(namespace["pre_fork"], Hook)
    assert namespace["on_exit"] is otelmon.gunicorn.on_exit


@pytest.mark.parametrize(
    "value", [3, "nowhere.at.all", "tests.apps.noted.absent", lambda: None, None]
)
def test_what_gunicorn_refuses_is_left_for_gunicorn_to_refuse(value: object) -> None:
    """A value that is no hook stays, and the other hooks are installed."""
    namespace: dict[str, Any] = {"when_ready": value}
    install(namespace)
    assert namespace["when_ready"] is value
    assert set(namespace) == set(HOOKS)
    with pytest.raises(TypeError):
        Config().set("when_ready", namespace["when_ready"])


def test_a_hook_whose_module_fails_is_reported_and_left() -> None:
    """A string whose module raises is gunicorn's to tell; install raises nothing."""
    namespace: dict[str, Any] = {"when_ready": "tests.apps.broken.when_ready"}
    install(namespace)
    assert namespace["when_ready"] == "tests.apps.broken.when_ready"
    assert faults.seen()["gunicorn_install"].error == "ZeroDivisionError"


def test_the_users_hooks_all_run_and_so_do_ours(tmp_path: Path) -> None:
    """Through start, HUP and end each of theirs runs as often as without us, beside one sidecar."""
    config, notes = tmp_path / "conf.py", tmp_path / "notes"
    config.write_text(CONFIG)
    env = {"NOTES": str(notes)}
    with Gunicorn(tmp_path, workers=2, args=("-c", str(config)), env=env) as server:
        server.wait_for_workers()
        (sidecar,) = server.sidecars()
        server.signal(signal.SIGHUP)
        assert until(lambda: notes.read_text().split().count("child_exit") == 2), server.log
        server.wait_for_workers()
        assert server.sidecars() == [sidecar]
    said = notes.read_text().split()
    assert {name: said.count(name) for name in said} == {
        "on_starting": 1,
        "when_ready": 1,
        "on_reload": 1,
        "pre_fork": 4,
        "post_fork": 4,
        "child_exit": 4,
        "on_exit": 1,
    }
    assert until(lambda: not sidecar.is_running())


def test_a_hook_of_theirs_that_raises_ends_the_server_and_leaves_nothing(tmp_path: Path) -> None:
    """The exit code is the one without us, and the sidecar that was started before ends too."""
    config = tmp_path / "conf.py"
    text = "def when_ready(server):\n    raise KeyError('theirs')\n"
    codes = []
    for line in ("", "import otelmon.gunicorn\notelmon.gunicorn.install(globals())\n"):
        config.write_text(text + line)
        codes.append(Gunicorn(tmp_path, workers=1, args=("-c", str(config))).refusal())
    assert codes[0] == codes[1] != 0
    assert until(lambda: list(of_this_server(tmp_path)) == [])


def of_this_server(directory: Path) -> Iterator[psutil.Process]:
    """Yield the processes whose command names a file of *directory*."""
    for process in psutil.process_iter(["cmdline"]):
        if any(str(directory) in part for part in process.info["cmdline"] or ()):
            yield process


def test_settings_in_code_are_the_sidecars_too(tmp_path: Path) -> None:
    """An application with Settings of its own hands them to install: one port, with its token."""
    config = tmp_path / "conf.py"
    config.write_text(SETTLED)
    with Gunicorn(
        tmp_path,
        app="tests.apps.settled:app",
        workers=1,
        args=("-c", str(config)),
        env={"ENABLE_PROMETHEUS": ""},
    ) as server:
        bearer = {"Authorization": "Bearer 0123456789abcdef"}
        assert until(lambda: server.try_ops("/livez") is not None), server.log
        (sidecar,) = server.sidecars()
        turn = peek.ledger(server).with_suffix(".port")
        assert until(lambda: peek.holders(turn) == {sidecar.pid}), server.log
        # Who has the turn opens the port a moment later.
        assert until(lambda: server.try_ops("/livez") is not None), server.log
        assert server.ops("/api/metrics").status == 401

        def workers() -> object:
            return server.ops("/api/metrics", headers=bearer).json()["workers"]["total"]

        assert until(lambda: workers() == 1), server.log
