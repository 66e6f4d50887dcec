"""A Flask application under monitor() that writes down at its process's end what that one holds."""

from __future__ import annotations

import atexit
import os
from pathlib import Path

import flask

from otelmon import monitor
from tests.inventory import Inventory


BEFORE = Inventory.own()

app = flask.Flask(__name__)
app.wsgi_app = monitor(app.wsgi_app)  # type: ignore[method-assign]


@app.get("/")
def hello() -> str:
    """Say hello."""
    return "hello"


@app.cli.command("work")
def work() -> None:
    """Do what applications do in a command: use themselves."""
    assert app.test_client().get("/", buffered=True).text == "hello"


@atexit.register
def _report() -> None:
    report = Path(os.environ["REPORT"])  # noqa: TID251 - a test's own
    report.write_text(f"{BEFORE.dump()}\n{Inventory.own().dump()}\n")
