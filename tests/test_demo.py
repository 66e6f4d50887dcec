"""`otelmon demo`: what it starts, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil
import pytest

from otelmon import cli
from otelmon.demo import runner, server
from otelmon.demo.child import Child
from otelmon.demo.errors import DemoError
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


ROOT: Final = Path(__file__).resolve().parent.parent
OWN: Final = os.environ  # noqa: TID251 - children inherit it, and coverage with it

GOOD_GUNICORN: Final = """
import socket, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"application": {"request_count": 7}, "workers": {"total": 3}}')
    do_POST = do_GET

    def log_message(self, *_):
        pass

fd = int(sys.argv[sys.argv.index("--bind") + 1].removeprefix("fd://"))
shop = HTTPServer(("127.0.0.1", 0), Page, bind_and_activate=False)
shop.socket.close()
shop.socket = socket.socket(fileno=fd)
# Who has waited too long is gone: that is no word of the log.
shop.handle_error = lambda *_: None
print("This is the log.", flush=True)
shop.serve_forever()
"""
GUNICORNS: Final = {
    "good": GOOD_GUNICORN,
    "broken": "print('There is no such app.'); raise SystemExit(3)",
    "silent": "import signal; print('Still thinking.', flush=True); signal.pause()",
}


@pytest.fixture(name="environ")
def _environ(tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    """Return an environment in which `python -m gunicorn` is what the test says, or the real one."""
    environ = {**OWN, "PROMETHEUS_PORT": "0", "TMPDIR": str(tmp_path)}
    if hasattr(request, "param"):
        package = tmp_path / "packages" / "gunicorn"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text(GUNICORNS[request.param])
        environ["PYTHONPATH"] = str(package.parent)
    return environ


@pytest.fixture(autouse=True)
def _temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the demo's directories made where the test can see them."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def _run(
    environ: Mapping[str, str], plan: runner.Plan, *, until: str, number: int = signal.SIGTERM
) -> list[str]:
    """Run the demo in this process, signal it once it says *until*; return all it said."""
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if until in line:
            signal.raise_signal(number)

    runner.run(plan, environ, say)
    return said


def _left(directory: Path) -> list[Path]:
    return list(directory.glob("otelmon-demo-*"))


def test_a_child_that_will_not_end_is_killed_with_its_own() -> None:
    """A child that ignores SIGTERM is killed after a while, and its children with it."""
    script = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.fork()
os.write(1, b"%d\\n" % os.getpid())
signal.pause()
"""
    reading, writing = os.pipe()
    with open(reading) as said, open(writing, "wb") as output:  # noqa: PTH123 - descriptors
        with Child([sys.executable, "-c", script], environ=OWN, output=output, patience=0.1) as it:
            pids = {int(said.readline()) for _ in range(2)}

        assert it.pid in pids
        assert it.exit_code == -signal.SIGKILL
        assert until(lambda: not any(psutil.pid_exists(pid) for pid in pids))


def test_a_port_that_is_taken_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], environ: dict[str, str]
) -> None:
    """A port in use ends the command with one sentence and leaves nothing behind."""
    with server.reserve(0) as taken:
        port = taken.getsockname()[1]
        code = cli.main(["demo", "--port", str(port)], environ)

    assert code == 1
    assert capsys.readouterr().err == (
        f"otelmon: Port {port} cannot be used (Address already in use): stop what listens there "
        "or choose another one with --port.\n"
    )
    assert _left(tmp_path) == []


def test_only_a_listener_takes_a_port() -> None:
    """A port is free when nobody listens on it, and when it cannot be tried at all."""
    with server.reserve(0) as taken:
        port = taken.getsockname()[1]
        assert not server.is_free(server.HOST, port)
    assert server.is_free(server.HOST, port)
    assert server.is_free("2001:db8::1", port)


@pytest.mark.parametrize("environ", ["good"], indirect=True)
def test_the_demo_tells_its_first_figures(tmp_path: Path, environ: dict[str, str]) -> None:
    """With visitors in the shop it tells the first figures, and ends without a trace."""
    plan = runner.Plan(port=0, seconds=60, figures_after=0)

    said = _run(environ, plan, until="So far")

    assert said[0] == "The shop is open."
    assert said[-2] == (
        "Visitors send about 30 requests a second for 60 s. Ctrl-C stops everything."
    )
    assert said[-1] == "So far: 7 requests, 3 workers."
    assert _left(tmp_path) == []


@pytest.mark.parametrize("environ", ["good"], indirect=True)
def test_the_shop_outlives_the_visitors(environ: dict[str, str]) -> None:
    """When the load is over it says so once, and goes on until it is stopped."""
    plan = runner.Plan(port=0, seconds=0.01, figures_after=0)
    said = _run(environ, plan, until="visitors have left", number=signal.SIGINT)

    assert said[-1] == "The visitors have left. The shop stays open until Ctrl-C."


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("environ", ["good"], indirect=True)
def test_every_signal_ends_the_demo(environ: dict[str, str], number: int) -> None:
    """Ctrl-C, SIGTERM and the end of the terminal stop it; handlers are as before afterwards."""
    # Whoever runs the tests under nohup has them ignore SIGHUP.
    usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    before = signal.signal(number, usual)
    try:
        said = _run(environ, runner.Plan(port=0, has_load=False), until="Ctrl-C", number=number)
        assert said[-1] == "Ctrl-C stops it."
        assert signal.getsignal(number) is usual
    finally:
        signal.signal(number, before)


def test_nohup_is_respected() -> None:
    """Where SIGHUP is ignored it stays ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with runner.Stop() as stop:
            signal.raise_signal(signal.SIGHUP)
        assert not stop.asked
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("environ", ["broken"], indirect=True)
def test_a_server_that_ends_is_told_with_its_last_words(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], environ: dict[str, str]
) -> None:
    """If gunicorn ends by itself the command says how, shows the end of its log, and fails."""
    code = cli.main(["demo", "--port=0"], environ)

    assert code == 1
    assert capfd.readouterr().err == (
        "otelmon: gunicorn ended by itself with exit code 3:\nThere is no such app.\n"
    )
    assert _left(tmp_path) == []


@pytest.mark.parametrize("environ", ["good"], indirect=True)
def test_a_server_that_is_killed_is_told(environ: dict[str, str]) -> None:
    """If somebody kills gunicorn the demo ends with an error that names the signal."""

    def say(line: str) -> None:
        if match := re.search(r"gunicorn is process (\d+)", line):
            os.kill(int(match[1]), signal.SIGKILL)

    with pytest.raises(DemoError, match=r"by itself by signal 9:\nThis is the log\."):
        runner.run(runner.Plan(port=0, has_load=False), environ, say)


@pytest.mark.parametrize("environ", ["silent"], indirect=True)
def test_a_shop_that_does_not_open_is_told(tmp_path: Path, environ: dict[str, str]) -> None:
    """A shop that does not answer in time ends the demo with the end of the log."""
    # Long enough for it to come to its words also on a busy machine.
    with pytest.raises(DemoError, match=r"not answer after 5 s.*\nStill thinking\."):
        runner.run(runner.Plan(port=0, boot_seconds=5), environ, print)

    assert _left(tmp_path) == []


@contextmanager
def _demo(environ: Mapping[str, str], *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start the command; end it if the test does not."""
    command = [sys.executable, "-m", "otelmon", "demo", "--port=0", *arguments]
    with subprocess.Popen(
        command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as demo:
        try:
            yield demo
        finally:
            demo.terminate()


@pytest.mark.parametrize("environ", ["silent"], indirect=True)
def test_the_demo_can_be_stopped_while_it_starts(tmp_path: Path, environ: dict[str, str]) -> None:
    """A signal before the shop is open ends the command in silence and with success."""
    with _demo(environ) as demo:
        assert until(lambda: list(tmp_path.glob("otelmon-demo-*/gunicorn.log")), seconds=30)
        demo.send_signal(signal.SIGINT)

        assert demo.communicate(timeout=60) == ("", "")
        assert demo.returncode == 0
    assert _left(tmp_path) == []


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        body: bytes = answer.read()
    return body.decode()


def _requests(url: str) -> int:
    count: int = json.loads(_get(f"{url}api/metrics"))["application"]["request_count"]
    return count


@pytest.mark.parametrize("kind", ["sync", "gthread", "gevent"])
def test_the_demo_runs(tmp_path: Path, environ: dict[str, str], kind: str) -> None:
    """With the real gunicorn the shop opens, is visited, and is closed by Ctrl-C with success."""
    with _demo(environ, "--workers=1", f"--worker-class={kind}") as demo:
        assert demo.stdout is not None
        said = ""
        while "Ctrl-C" not in said:
            said += demo.stdout.readline() or pytest.fail(f"ended after {said!r}")
        index = re.search(r"http://127\.0\.0\.1:\d+/", said)
        assert index is not None
        url = index[0]
        assert "demo shop" in _get(url)
        assert until(lambda: _requests(url) > 10, seconds=60)
        demo.send_signal(signal.SIGINT)
        rest, wrong = demo.communicate(timeout=60)

    assert demo.returncode == 0
    assert wrong == ""
    assert re.search(r"Load: \d+ requests", rest)
    assert _left(tmp_path) == []
