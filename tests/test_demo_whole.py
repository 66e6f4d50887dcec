"""The demo whole, as a person runs it, with a real Prometheus and the script users were given."""

from __future__ import annotations

import ast
import os
import re
import signal
import socket
import subprocess
import sys
from collections import defaultdict
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import pytest

from tests import prometheus_text
from tests.demo_terminal import OPEN, ROOT, Demo, is_alive
from tests.gunicorn_server import ask
from tests.prometheus_server import Prometheus, Target
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


pytestmark = pytest.mark.serial

OWN: Final = os.environ  # noqa: TID251 - a child needs its PATH
SEED_ENV: Final = ROOT / "tests" / "data" / "seed.env"
SEED_SCRIPT: Final = ROOT / "tests" / "data" / "seed_script.py"
PAGES: Final = [
    "/",
    "/health",
    "/api/metrics",
    "/api/metrics/health",
    "/api/metrics/alerts",
    "/api/metrics/recommendations",
    "/api/metrics/history",
    "/metrics",
]
ENDS: Final[dict[str, Callable[[Demo], None]]] = {
    "typed": Demo.press_ctrl_c,
    "SIGINT": lambda demo: demo.send(signal.SIGINT),
    "SIGTERM": lambda demo: demo.send(signal.SIGTERM),
    "terminal closed": Demo.hang_up,
}


@pytest.fixture(name="demo", scope="module")
def _demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with Demo(tmp_path_factory.mktemp("demo"), "--port=0") as demo:
        demo.wait_for(OPEN)
        yield demo


@pytest.fixture(name="prometheus", scope="module")
def _prometheus(tmp_path_factory: pytest.TempPathFactory, demo: Demo) -> Iterator[Prometheus]:
    targets = {"shop": Target(demo.port), "port": Target(demo.metrics_port)}
    with Prometheus(tmp_path_factory.mktemp("prometheus"), targets) as prometheus:
        yield prometheus


def test_every_address_that_it_names_answers(demo: Demo) -> None:
    """The addresses are the shop, its figures and the metrics port, and each answers 200."""
    found = demo.addresses()

    assert found == [*((demo.port, path) for path in PAGES), (demo.metrics_port, "/metrics")]
    for port, path in found:
        # The metrics port is the keeper's, who may not have opened it yet.
        assert until(lambda: _status(port, path) == 200), f"{port}{path}"  # noqa: B023


def _status(port: int, path: str) -> int | None:
    try:
        return ask(port, path).status
    except OSError:
        return None


def test_it_says_nothing_but_what_is_meant_for_people(demo: Demo) -> None:
    """It opens with where to look and what goes on; no traceback, and nothing on stderr."""
    assert demo.said.startswith("The shop is open.\n")
    assert "Traceback" not in demo.said
    assert "Visitors send about 30 requests a second" in demo.said
    assert demo.complained == ""


def test_four_workers_take_visitors(demo: Demo) -> None:
    """`/api/metrics` shows 4 workers and a count of requests that grows and grows."""
    assert until(lambda: demo.figure("workers", "total") == 4, 30)
    for _ in range(2):
        before = demo.figure("application", "request_count")
        assert until(lambda: demo.figure("application", "request_count") > before, 30)  # noqa: B023


def test_visitors_meet_all_that_the_shop_does(demo: Demo) -> None:
    """By Flask's routes the figures show pages, orders, mistakes, and pages that are not there."""

    def seen() -> dict[str, set[str]]:
        found = defaultdict[str, set[str]](set)
        for (name, labels), value in prometheus_text.samples(demo.get("/metrics").text).items():
            if name == "app_requests_total" and value:
                told = dict(labels)
                found[told["endpoint"]].add(f"{told['method']} {told['status']}")
        return found

    assert until(lambda: {"GET 200", "GET 404"} <= seen()["/products/<int:number>"], 60)
    assert until(lambda: "POST 201" in seen()["/orders"], 60)
    assert until(lambda: "GET 404" in seen()["{unmatched}"], 60)
    assert until(lambda: "POST 500" in seen()["/checkout"], 60)


def test_its_first_figures_are_told(demo: Demo) -> None:
    """After a while one line tells requests, their rate, errors and the four workers."""
    demo.wait_for("So far: ")
    line = re.search(r"^So far: .*$", demo.said, re.MULTILINE)

    assert line is not None
    assert re.fullmatch(
        r"So far: \d+ requests, \d+\.\d per second, \d+\.\d % errors, 4 workers\.", line[0]
    )


def test_a_real_prometheus_scrapes_it(demo: Demo, prometheus: Prometheus) -> None:
    """Both ports are up in Prometheus, and of their counts none was ever reset."""
    prometheus.wait_for_scrapes()
    assert until(lambda: _requests(prometheus) > 0, 30)
    at = prometheus.moment_of_scrapes()

    found = prometheus.query("resets(app_requests_total[1m])", at)
    assert {each.labels["job"] for each in found} == {"shop", "port"}
    assert {each.value for each in found} == {0}
    quantile = "histogram_quantile(0.95, sum by (le) (app_request_duration_seconds_bucket))"
    assert 0 < (prometheus.number(quantile, at) or 0) < 10
    assert (prometheus.number("sum(app_requests_total)", at) or 0) > 0
    assert demo.figure("otelmon", "faults") == {}


def _requests(prometheus: Prometheus) -> float:
    return prometheus.number('sum(rate(app_requests_total{job="shop"}[10s]))') or 0.0


def _ends_well(demo: Demo, how: str, *, processes: int = 8) -> None:
    """End it, and see that no process, port or file is left, and that it says nothing wrong."""
    # The command, gunicorn, its workers, the cache's server, and the visitors.
    family = demo.family()
    assert len(family) == processes
    ENDS[how](demo)

    assert demo.end() == 0
    assert [process for process in family if is_alive(process)] == []
    assert {_status(*address) for address in demo.addresses()} == {None}
    assert "Traceback" not in demo.said
    assert demo.complained == ""
    assert [*demo.temporary.iterdir(), *demo.home.iterdir()] == []


@pytest.mark.parametrize("how", ["typed", "SIGTERM"])
def test_it_ends_with_all_that_it_started(tmp_path: Path, how: str) -> None:
    """Under load Ctrl-C or SIGTERM leaves nothing, and tells what the visitors did."""
    with Demo(tmp_path, "--port=0") as demo:
        demo.wait_for(OPEN)
        assert until(lambda: demo.figure("application", "request_count") > 10, 30)
        assert until(lambda: _status(demo.metrics_port, "/metrics") == 200, 30)

        _ends_well(demo, how)
        assert re.search(r"^Load: \d+ requests in ", demo.said, re.MULTILINE)


def test_a_port_in_use_is_told_in_a_sentence(tmp_path: Path) -> None:
    """The command ends with 1 and one line that names the port and the way out."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with Demo(tmp_path, f"--port={port}") as demo:
            assert demo.end() == 1
            assert demo.said == ""
            assert demo.complained.startswith(f"otelmon: Port {port} cannot be used (")
            assert demo.complained.endswith("choose another one with --port.\n")
            assert demo.complained.count("\n") == 1
            assert [*demo.temporary.iterdir(), *demo.home.iterdir()] == []


def test_a_metrics_port_in_use_is_told_and_no_more(tmp_path: Path) -> None:
    """If PROMETHEUS_PORT is taken it says so, and the rest works until its terminal is closed."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environ = {"PROMETHEUS_PORT": str(port)}
        with Demo(tmp_path, "--port=0", "--workers=1", "--no-load", environ=environ) as demo:
            demo.wait_for(OPEN)
            assert f"Port {port} is taken: set PROMETHEUS_PORT" in demo.said
            assert demo.addresses() == [(demo.port, path) for path in PAGES]
            assert {_status(*address) for address in demo.addresses()} == {200}
            _ends_well(demo, "terminal closed", processes=4)


def test_the_seed_block_configures_it(tmp_path: Path) -> None:
    """Pasted as it stands the block goes before the environment: its interval, no Prometheus."""
    environ = {"MONITORING_INTERVAL": "1", "ENABLE_PROMETHEUS": "true"}
    arguments = "--port=0", "--workers=1", f"--env-file={SEED_ENV}"
    with Demo(tmp_path, *arguments, environ=environ) as demo:
        demo.wait_for(OPEN)
        assert demo.addresses() == [(demo.port, path) for path in PAGES[:-1]]
        assert "Prometheus is off, as ENABLE_PROMETHEUS says." in demo.said
        assert demo.get("/metrics").status == 404
        assert _status(demo.metrics_port, "/metrics") is None
        assert demo.get("/health").json()["otelmon"]["port"] == {"state": "off"}

        samples = [_sampled(demo)]

        def pause() -> float:
            if (latest := _sampled(demo)) != samples[-1]:
                samples.append(latest)
            return max((b - a).total_seconds() for a, b in pairwise([samples[0], *samples]))

        # They grow to the block's 10 s; by the environment alone all would be 1 s.
        assert until(lambda: pause() > 3, 60, every=0.1), samples
        _ends_well(demo, "SIGINT", processes=5)


def _sampled(demo: Demo) -> datetime:
    """Return when the host was sampled last."""
    assert until(lambda: demo.figure("system", "timestamp") is not None, 30)
    return datetime.fromisoformat(demo.figure("system", "timestamp"))


def _script(lines: int) -> list[str]:
    """Run the script that users were given until it has said so many lines, then end it."""
    with subprocess.Popen(
        [sys.executable, str(SEED_SCRIPT)],
        stdout=subprocess.PIPE,
        # It says them to a person at a terminal, and would keep them back from a pipe.
        env={**OWN, "PYTHONUNBUFFERED": "1"},
        text=True,
    ) as script:
        assert script.stdout is not None
        said = [script.stdout.readline().rstrip("\n") for _ in range(lines)]
        # It would go on in a minute.
        assert script.poll() is None, said
        script.terminate()
    return said


def test_the_script_of_the_specification_runs(tmp_path: Path) -> None:
    """Against the demo as it starts by itself the script prints its four lines, all known."""
    with Demo(tmp_path) as demo:
        demo.wait_for(OPEN)
        assert demo.port == 5001
        assert until(_is_known, 60)
        assert until(lambda: ask(5001, "/api/metrics/health").json()["status"] == "healthy", 60)

        said = dict(line.split(": ", 1) for line in _script(4))
        assert said["Status"] == "healthy"
        assert ast.literal_eval(said["Alerts"]) == {"critical": 0, "warning": 0, "total": 0}
        for name in ("System", "Application"):
            figures = ast.literal_eval(said[name])
            assert len(figures) == 3
            assert all(isinstance(figure, float) for figure in figures.values()), said
        _ends_well(demo, "typed")


def _is_known() -> bool:
    said = ask(5001, "/api/metrics/health").json()
    return None not in [*said["system"].values(), *said["application"].values()]


def test_the_script_tells_that_something_is_wrong(tmp_path: Path) -> None:
    """Where the counts cannot be shared the script says so and asks for recommendations."""
    blocked = tmp_path / "blocked"
    blocked.touch()
    environ = {"OTELMON_DIR": str(blocked / "here")}
    with Demo(tmp_path, "--no-load", "--workers=1", environ=environ) as demo:
        demo.wait_for(OPEN)
        assert demo.port == 5001
        assert until(lambda: ask(5001, "/api/metrics/health").json()["status"] == "degraded", 30)
        said = _script(6)
        assert said[0] == "Status: degraded"
        assert said[4:] == ["", "\u26a0\ufe0f  System is not healthy!"]
