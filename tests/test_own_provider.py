"""What otelmon's own helpers do before `monitor` decides nothing for the application."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest


if TYPE_CHECKING:
    from pathlib import Path


BEGIN = """
import json, logging, queue, sys
import otelmon
from opentelemetry import metrics
from otelmon import Settings, View, faults, monitor
from otelmon.metrics.rows import of_ledger

logging.basicConfig(stream=sys.stdout, format="%(message)s")
early = metrics.get_meter("shop").create_counter("aa")

def hello(environ, start_response):
    start_response("200 OK", [])
    return [b"hello"]

def shown(app):
    def start(*_): ...
    list(app({"PATH_INFO": "/", "REQUEST_METHOD": "GET"}, start))
    rows = of_ledger(otelmon.meter_provider().ledger.read())
    found = {}
    for row in rows:
        if row.instrument.scope.name == "shop":
            found.setdefault(row.instrument.name, []).append(row.value)
    return found
"""
HELPERS = {
    "create_engine": 'otelmon.create_engine("sqlite://")',
    "observe_queue": 'mails = queue.Queue(); otelmon.observe_queue(mails, "mails")',
    "cache_hit": 'otelmon.cache_hit("pages")',
}


def said(tmp_path: Path, *parts: str) -> str:
    """Run a program of these parts; return what it wrote and logged."""
    program = BEGIN + "\n".join(map(textwrap.dedent, parts))
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("helper", HELPERS)
def test_views_and_limits_hold_whatever_helper_came_before(tmp_path: Path, helper: str) -> None:
    """Also for an instrument that was made through the API before both."""
    rest = """
    app = monitor(
        hello, Settings.from_env(cardinality_limit=5), views=[View(instrument_name="aa", name="renamed")]
    )
    for number in range(20):
        early.add(1, {"n": number})
    later = metrics.get_meter("shop").create_counter("bb")
    later.add(1)
    print(shown(app) == {"renamed": [1, 1, 1, 1, 1, 15], "bb": [1]})
    """
    assert said(tmp_path, HELPERS[helper], rest).splitlines() == ["True"]


@pytest.mark.parametrize("order", [0, 1], ids=["after", "before"])
def test_a_disabled_monitor_leaves_no_provider_behind(tmp_path: Path, order: int) -> None:
    """Whether a helper comes before or after it, nothing is recorded and nothing is global."""
    parts = [HELPERS["create_engine"], "monitor(hello, Settings.from_env(disabled=True))"]
    rest = """
    print(type(metrics.get_meter_provider()).__name__, otelmon.stack.own_provider().silent)
    app = monitor(hello, views=[View(instrument_name="aa", name="renamed")])
    early.add(3)
    print(shown(app), otelmon.meter_provider() is metrics.get_meter_provider())
    """
    parts = parts[::-1] if order else parts
    lines = said(tmp_path, "import otelmon.stack", *parts, rest).splitlines()
    assert lines == ["_ProxyMeterProvider True", "{'renamed': [3]} True"]


def test_an_sdk_that_is_disabled_in_code_records_nothing(tmp_path: Path) -> None:
    """Requests are measured all the same."""
    rest = """
    app = monitor(hello, Settings.from_env(sdk_disabled=True))
    early.add(3)
    print(shown(app), type(metrics.get_meter_provider()).__name__)
    """
    lines = said(tmp_path, HELPERS["cache_hit"], rest).splitlines()
    assert lines == ["{} _ProxyMeterProvider"]


def test_what_a_view_comes_too_late_for_is_named(tmp_path: Path) -> None:
    """What was made on our provider before keeps its form, the log says which; the rest follows."""
    rest = """
    meter = otelmon.meter_provider().get_meter("shop")
    meter.create_counter("cc").add(1, {"a": 1})
    app = monitor(hello, views=[View(instrument_name="*c", attribute_keys=set())])
    for number in range(3):
        meter.create_counter("dc").add(1, {"a": number})
    print(shown(app))
    """
    first, last = said(tmp_path, rest).splitlines()
    assert first.startswith("The views given now are followed, but not by cc, made before")
    assert last == "{'cc': [1], 'dc': [3]}"


def test_a_further_monitor_says_what_it_does_not_follow(tmp_path: Path) -> None:
    """Settings by their names, and views; the same ones again are no news."""
    rest = """
    views = [View(instrument_name="aa", name="renamed")]
    monitor(hello, Settings.from_env(token="secret-1"), views=views)
    monitor(lambda *_: [], Settings.from_env(token="secret-1"), views=list(views))
    print("--")
    monitor(print, Settings.from_env(token="secret-2", prefix="/x"), views=[View(drop=True)])
    """
    before, after = said(tmp_path, rest).split("--\n")
    assert before == ""
    settings, seen = after.splitlines()
    assert "another prefix, token, which is not followed" in settings
    assert seen.startswith("The views given now are not followed")
    assert "secret" not in after


def test_to_close_and_to_wrap_again_is_nothing_to_warn_of(tmp_path: Path) -> None:
    """What is observed of libraries goes on with the instruments that were made before."""
    rest = """
    for _ in range(2):
        app = monitor(hello, Settings.from_env(token="t"), views=[View(instrument_name="x", drop=True)])
        shown(app)
        app.close()
    """
    assert said(tmp_path, rest) == ""
