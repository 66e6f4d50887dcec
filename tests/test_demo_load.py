"""The demo's visitors: how many, how long, and where they never go."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final

import pytest

from otelmon.demo import load
from otelmon.demo.errors import DemoError
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator


ROOT: Final = Path(__file__).resolve().parent.parent
MODULE: Final = [sys.executable, "-m", "otelmon.demo.load"]
ENDED: Final = re.compile(
    r"Load: (?P<all>\d+) requests in (?P<seconds>\d+) s: (?P<ok>\d+) 2xx, (?P<client>\d+) 4xx, "
    r"(?P<server>\d+) 5xx, (?P<none>\d+) without an answer\.\n"
)

PARENT: Final = """
import os, subprocess, sys
subprocess.Popen([*sys.argv[1:], f"--parent={os.getpid()}"])
"""


class Shop(ThreadingHTTPServer):
    """Answers everything at once, and notes what was asked."""

    daemon_threads = True
    # With fewer, a thread that gets no turn has the kernel drop who comes.
    request_queue_size = 128

    def __init__(self) -> None:
        """Listen on a free port."""
        super().__init__(("127.0.0.1", 0), Page)
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}"


class Page(BaseHTTPRequestHandler):
    """201 for an order, 404 for what shops do not have, 500 for the checkout, else 200."""

    server: Shop

    def do_GET(self) -> None:
        """Answer."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append(f"{self.command} {self.path}")
        statuses = {"/orders": 201, "/wp-login.php": 404, "/checkout": 500}
        self.send_response(statuses.get(self.path, 200))
        self.send_header("Location", "/orders/77")
        self.end_headers()

    do_POST = do_GET  # noqa: N815 - the library's name

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@contextmanager
def _open_shop() -> Iterator[Shop]:
    with Shop() as shop:
        thread = threading.Thread(target=shop.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield shop
        finally:
            shop.shutdown()
            thread.join()


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MODULE, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )


def _numbers(said: str) -> dict[str, int]:
    match = ENDED.fullmatch(said)
    assert match is not None, said
    return {name: int(number) for name, number in match.groupdict().items()}


def test_load_ends_by_itself() -> None:
    """After its seconds it ends with one line, having sent no more than its rate allows."""
    with _open_shop() as shop:
        done = _run(shop.url, "--seconds", "1", "--rate", "100")

        numbers = _numbers(done.stdout)
        assert done.returncode == 0
        assert done.stderr == ""
        assert numbers["all"] == len(shop.asked)
        assert 0 < numbers["all"] <= 2 * 100
        assert not [page for page in shop.asked if "health" in page or "metrics" in page]


def test_load_counts_what_was_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each outcome is counted by its class, and a new order is looked at again."""
    # Nobody gives up because the machine stands still.
    monkeypatch.setattr(load, "_TIMEOUT", 60.0)
    with _open_shop() as shop:
        visitors = load.Load(shop.url, 200, Random(5))
        visitors.start()
        enough = {"POST /orders", "GET /orders/77", "GET /wp-login.php", "POST /checkout"}
        assert until(lambda: enough <= set(shop.asked), seconds=60)
        tally = visitors.stop()

        asked = Counter(shop.asked)

    assert tally["5xx"] == asked["POST /checkout"]
    assert tally["4xx"] == asked["GET /wp-login.php"]
    assert tally.total() == asked.total()
    assert tally["none"] == 0


def test_load_survives_a_dead_server() -> None:
    """Where nobody listens all requests are counted as unanswered, and nothing is raised."""
    with socket.socket() as bound:  # bound but not listening: nobody else can take the port
        bound.bind(("127.0.0.1", 0))
        done = _run(f"http://localhost:{bound.getsockname()[1]}", "--seconds=0.5", "--rate=100")

    numbers = _numbers(done.stdout)
    assert done.returncode == 0
    assert done.stderr == ""
    assert numbers["all"] == numbers["none"] > 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_load_ends_on_a_signal(number: int) -> None:
    """A signal ends it before its time, with its line and without a traceback."""
    with (
        _open_shop() as shop,
        subprocess.Popen(
            [*MODULE, shop.url], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as visitors,
    ):
        assert until(lambda: shop.asked, seconds=30)
        visitors.send_signal(number)
        said, wrong = visitors.communicate(timeout=60)

        assert visitors.returncode == 0
        assert wrong == ""
        # One that was under way then may be noted only now.
        assert until(lambda: _numbers(said)["all"] == len(shop.asked))


def test_load_ends_with_its_parent() -> None:
    """When the process that started it is gone it ends too, long before its time."""
    with _open_shop() as shop:
        # Its end is seen by the end of the pipe that it holds.
        done = subprocess.run(
            [sys.executable, "-c", PARENT, *MODULE, shop.url, "--seconds", "3600"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )

    assert done.stderr == ""
    assert _numbers(done.stdout)["seconds"] < 3600


@pytest.mark.parametrize(
    "url",
    [
        "http://192.0.2.1:5001",
        "http://example.org:5001",
        "http://127.0.0.1.example.org:5001",
        "http://localhost@192.0.2.1:5001",
        "http://0.0.0.0:5001",
        "http://[2001:db8::1]:5001",
        "https://127.0.0.1:5001",
        "http://127.0.0.1",
        "http://127.0.0.1:99999",
        "http://[::1:5001",
        "127.0.0.1:5001",
        "",
    ],
)
def test_load_stays_on_this_machine(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Any address but an http one of the loopback interface is refused with the rule."""
    with pytest.raises(DemoError, match="is not on this machine"):
        load.Load(url, 30, Random(1))
    with pytest.raises(SystemExit) as ended:
        load.main([url])

    assert ended.value.code == 2
    assert "give an address like http://127.0.0.1:5001." in capsys.readouterr().err


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://[::1]:1/", "http://localhost:1"])
def test_load_takes_every_loopback_address(url: str) -> None:
    """IPv4, IPv6 and the name localhost are this machine."""
    load.Load(url, 30, Random(1))


@pytest.mark.parametrize(
    "arguments",
    [["--rate", "0"], ["--rate", "201"], ["--rate", "nan"], ["--seconds", "-1"], ["--rate", "x"]],
)
def test_load_is_bounded(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A rate or a time beyond the bounds is refused with the bounds."""
    with pytest.raises(SystemExit) as ended:
        load.main(["http://127.0.0.1:1", *arguments])

    assert ended.value.code == 2
    assert "is no number above 0 and up to" in capsys.readouterr().err
