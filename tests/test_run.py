"""`otelmon run`: any application under gunicorn, observed without a change of its code."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from otelmon.cli import main
from tests import peek
from tests.free_ports import free_port
from tests.otelmon_run import Run
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Sequence


SEED = Path(__file__).parent / "data" / "seed.env"


def requests(server: Run) -> object:
    """Return how many requests were answered, as the metrics port says."""
    found = peek.figures(server)
    return None if found is None else found["application"]["request_count"]


@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
def test_an_application_that_knows_nothing_of_it_is_counted_exactly(
    tmp_path: Path, *, preload: bool
) -> None:
    """A bare module's `application` over 4 workers: 60 requests are 60, with a sidecar's port."""
    args = ("--preload",) if preload else ()
    with Run(tmp_path, "shop", args=args, workers=4) as server:
        server.wait_for_workers()
        for _ in range(60):
            assert server.get("/").text.startswith("Hello world!")
        assert until(lambda: requests(server) == 60), server.log
        assert len(server.sidecars()) == 1
        assert server.get("/health").status == 200


def test_a_factory_an_env_file_an_upgrade_and_a_reload(tmp_path: Path) -> None:
    """`python -m otelmon run` with a factory: settings of a file with comments, HUP, USR2, exact."""
    server = Run(tmp_path, "shop:create_app('it says')", own=("--env-file", "my.env"), module=True)
    port, server.metrics_port = server.metrics_port, free_port()
    # The file goes before the environment, which says another port.
    server._env["PROMETHEUS_PORT"] = str(port)
    (tmp_path / "my.env").write_text(
        SEED.read_text().replace("=9090 ", f"={server.metrics_port} ")
        + "GREETING=hello # a word\nENABLE_PROMETHEUS=true # on\n"
    )
    with server:
        server.wait_for_workers()
        for _ in range(10):
            assert server.get("/").text == "it says hello"
        server.signal(signal.SIGHUP)
        assert until(lambda: peek.workers(server, "deaths") == 2, 60), server.log
        server.upgrade()
        assert until(lambda: peek.workers(server, "deaths") == 4), server.log
        for _ in range(10):
            assert server.get("/").text == "it says hello"
        assert until(lambda: requests(server) == 20), server.log
        assert len(server.sidecars()) == 1


@pytest.mark.parametrize("named", [False, True], ids=["found", "named"])
def test_the_users_configuration_is_read_and_ours_goes_on_top(
    tmp_path: Path, *, named: bool
) -> None:
    """A gunicorn.conf.py of the working directory or of -c counts, its hooks run, and so do ours."""
    config = tmp_path / ("mine.py" if named else "gunicorn.conf.py")
    config.write_text(
        "workers = 3\n"
        "raw_env = ['GREETING=configured']\n"
        "def when_ready(server):\n    server.log.info('their hook')\n"
    )
    server = Run(tmp_path, "shop:create_app()", args=("-c", str(config)) if named else ())
    server._command = [each for each in server._command if each not in ("-w", "2")]
    with server:
        server.wait_for_workers(3)
        assert server.get("/").text == "default configured"
        assert server.log.count("their hook") == 1
        assert len(server.sidecars()) == 1


def test_a_configuration_that_has_our_hooks_already_has_them_once(tmp_path: Path) -> None:
    """With -c python:otelmon.gunicorn there is one sidecar, as without it."""
    with Run(tmp_path, "shop", args=("-c", "python:otelmon.gunicorn")) as server:
        server.wait_for_workers()
        assert len(server.sidecars()) == 1
        assert server.log.count("has a process of its own") == 1


def test_an_application_that_is_observed_already_stays_so(tmp_path: Path) -> None:
    """A target that monitor has wrapped is counted once, without a word about it."""
    (tmp_path / "wrapped.py").write_text(
        "from otelmon import monitor\nimport shop\napp = monitor(shop.application)\n"
    )
    with Run(tmp_path, "wrapped:app") as server:
        server.wait_for_workers()
        for _ in range(10):
            assert server.get("/").status == 200
        assert until(lambda: requests(server) == 10), server.log
        assert "had wrapped already" not in server.log


def test_an_application_that_knows_nothing_of_it_is_hardened(tmp_path: Path) -> None:
    """With --harden one limit holds over all workers, also after an upgrade."""
    env = {"RATE_LIMIT": "5/hour", "TRUSTED_PROXIES": "0"}
    with Run(tmp_path, "shop:create_app()", own=("--harden",), env=env) as server:
        server.wait_for_workers()
        assert [server.get("/").status for _ in range(6)] == [200] * 5 + [429]
        server.upgrade()
        server.wait_for_workers()
        assert server.get("/").status == 429


VISITED = """
def application(environ, start_response):
    environ["otelmon.session"]["visited"] = True
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"visited"]
"""


def test_a_hardened_application_keeps_log_ins_over_plain_http(tmp_path: Path) -> None:
    """With --insecure-cookies its sessions' cookie is one that http keeps, also after an upgrade."""
    (tmp_path / "visited.py").write_text(VISITED)
    own = ("--harden", "--insecure-cookies")
    env = {"SESSION_SECRET": "a secret of the tests; made up"}
    with Run(tmp_path, "visited", own=own, env=env) as server:
        server.wait_for_workers()
        cookies = [server.get("/").headers["Set-Cookie"]]
        server.upgrade()
        server.wait_for_workers()
        cookies.append(server.get("/").headers["Set-Cookie"])
    for cookie in cookies:
        assert cookie.startswith("session=")
        assert "Secure" not in cookie


def test_the_switch_for_cookies_takes_the_one_for_sessions(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Alone it would do nothing, so it is refused; the help's first lines name both."""
    assert main(["run", "--insecure-cookies", "shop"]) == 1
    assert "--insecure-cookies is about the sessions of --harden" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    assert "[--harden [--insecure-cookies]]" in capsys.readouterr().out


def test_it_is_gunicorn_itself_that_gets_the_signals(tmp_path: Path) -> None:
    """The process that was started is the arbiter; SIGTERM ends it with code 0, and all below it."""
    with Run(tmp_path, "shop") as server:
        server.wait_for_workers()
        family = [*server.workers(), *server.sidecars()]
        assert len(family) == 3
        server.signal(signal.SIGTERM)
        assert server._process is not None
        assert server._process.wait(60) == 0
        assert psutil.wait_procs(family, 30)[1] == []


REFUSED = [
    ("nowhere", "there is no module 'nowhere'"),
    ("shop.py:app", "did you mean 'shop:app'?"),
    ("shop:absent", "Failed to find attribute 'absent' in 'shop'."),
    ("shop:number", "Application object must be callable."),
    ("shop:create_app(1, 2)", "takes from 0 to 1 positional arguments but 2 were given"),
    ("shop:create_app(", "Failed to parse"),
]


@pytest.mark.parametrize(("target", "reason"), REFUSED, ids=[each[0] for each in REFUSED])
def test_what_cannot_be_served_is_told_in_one_sentence(
    tmp_path: Path, target: str, reason: str
) -> None:
    """gunicorn ends with its exit code for this, 4; the sentence names the target and what is wrong."""
    server = Run(tmp_path, target, workers=1)
    assert server.refusal() == 4
    (said,) = {line for line in server.log.splitlines() if line.startswith(f"{target!r}")}
    assert said.startswith(f"{target!r} cannot be served: ")
    assert reason in said
    assert "Traceback" not in server.log


def test_what_cannot_be_hardened_is_told_in_one_sentence(tmp_path: Path) -> None:
    """A setting that only --harden reads ends gunicorn in the same way, with the value and the rule."""
    env = {"STATIC_ROOT": "/nowhere", "RATE_LIMIT": "off"}
    server = Run(tmp_path, "shop", own=("--harden",), workers=1, env=env)
    assert server.refusal() == 4
    said = "'shop' cannot be hardened: STATIC_ROOT is '/nowhere', which is no directory"
    assert server.log.count(said) == 1
    assert "Traceback" not in server.log


def test_an_import_that_the_application_lacks_is_shown_with_its_traceback(tmp_path: Path) -> None:
    """A module that is there and imports one that is not is a fault in it, and told as one."""
    (tmp_path / "lame.py").write_text("import nowhere\n")
    server = Run(tmp_path, "lame:app", workers=1)
    assert server.refusal() == 3
    assert "cannot be served" not in server.log
    assert "No module named 'nowhere'" in server.log
    assert "Traceback" in server.log


def outcome(directory: Path, *arguments: str, **env: str) -> tuple[int, str]:
    """Run a command that ends by itself; return its exit code and what it said of errors."""
    server = Run(directory, "unused")
    done = subprocess.run(
        [str(Path(sys.executable).with_name("otelmon")), "run", *arguments],
        cwd=directory,
        env={**server._env, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["shop:absent", "--", "--preload"], 1, "'shop:absent' cannot be served: Failed to find"),
        (["shop", "--env-file", "absent"], 1, "The env file 'absent' cannot be read: No such file"),
        (["shop", "--", "other:app"], 1, "'other:app' names a second application; 'shop' is"),
        (["shop", "-w", "4"], 2, "unrecognized arguments: -w 4"),
        ([], 2, "the following arguments are required: MODULE[:APP]"),
    ],
)
def test_a_command_that_cannot_be_run_says_why(
    tmp_path: Path, arguments: Sequence[str], code: int, said: str
) -> None:
    """One sentence on stderr, and an exit code that is not 0."""
    found, stderr = outcome(tmp_path, *arguments)
    assert found == code
    assert said in stderr
    assert "Traceback" not in stderr


def test_bad_settings_are_told_once_before_anything_is_started(tmp_path: Path) -> None:
    """All that is wrong is named, and gunicorn does not even begin."""
    code, stderr = outcome(tmp_path, "shop", PROMETHEUS_PORT="http", MONITORING_INTERVAL="0")
    assert code == 1
    assert stderr.count("PROMETHEUS_PORT is 'http'") == 1
    assert stderr.count("MONITORING_INTERVAL is '0'") == 1
    assert "gunicorn" not in stderr
