"""`monitor(app)` in one process: what is wired to what, and how it ends."""

from __future__ import annotations

import json
import logging
import os
from typing import TYPE_CHECKING, Any

import click
import flask
import pytest

import otelmon.stack
from otelmon import ConfigError, Monitor, Settings, faults, monitor, set_route
from tests.wsgi_driver import Seen, environ, rows, serve


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from otelmon.instance import Instance

    Observe = Callable[..., Monitor]


def hello(request: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer every path."""
    set_route(request, "/hello")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


def other(request: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Be another application."""
    set_route(request, "/other")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"other"]


@pytest.fixture
def observe(tmp_path: Path) -> Iterator[Observe]:
    """Return `monitor` with settings of the test's own; all monitors are closed at the end."""
    made: list[Monitor] = []

    def observed(app: WSGIApplication, **settings: Any) -> Monitor:  # noqa: ANN401 - Settings judges
        made.append(monitor(app, Settings(ledger_dir=str(tmp_path / "ledger"), **settings)))
        return made[-1]

    yield observed
    for each in made:
        each.close()
    assert otelmon.stack._instance is None


def instance() -> Instance:
    """Return this process's instance."""
    assert otelmon.stack._instance is not None
    return otelmon.stack._instance


def ask(app: WSGIApplication, path: str) -> Seen:
    """Ask for a path."""
    return serve(app, environ(path=path))


def said(app: WSGIApplication, path: str) -> Any:  # noqa: ANN401 - whatever the JSON holds
    """Ask for a path, and return the JSON."""
    return json.loads(ask(app, path).body)


def counted() -> dict[str, int]:
    """Return how many requests were booked, by route."""
    reading = instance().reading()
    return {} if reading is None else {row.route: row.times for row in rows(reading)}


def test_an_observed_application_answers_as_it_did(observe: Observe) -> None:
    """Its answers pass unchanged, and are counted by their route."""
    app = observe(hello)
    for _ in range(3):
        assert ask(app, "/").body == b"hello"
    assert counted() == {"/hello": 3}


def test_a_process_without_a_listening_socket_counts_for_itself(
    observe: Observe, tmp_path: Path
) -> None:
    """A test client's first request makes no file, and `/health` says that the figures are its."""
    app = observe(hello, enable_prometheus=True)
    ask(app, "/")
    assert not (tmp_path / "ledger").exists()
    assert said(app, "/health")["otelmon"]["ledger"] == "private: this worker only"
    assert said(app, "/api/metrics")["application"]["request_count"] == 1


def test_a_probe_is_a_first_request_too(observe: Observe) -> None:
    """A server that is only probed serves: its first answer knows itself as a worker."""
    app = observe(hello)
    assert ask(app, "/readyz").status == "200 OK"
    workers = said(app, "/api/metrics")["workers"]
    assert (workers["total"], workers["starts"]) == (1, 1)
    assert counted() == {}


def test_to_wrap_twice_is_noticed_and_harmless(
    observe: Observe, caplog: pytest.LogCaptureFixture
) -> None:
    """The same monitor comes back with a warning, and requests are counted once."""
    app = observe(hello)
    assert monitor(app) is app
    assert "wrapped already" in caplog.text
    ask(app, "/")
    assert counted() == {"/hello": 1}


def test_a_monitor_within_a_monitor_counts_once(observe: Observe) -> None:
    """With a middleware between two monitors a request is still one."""
    inner = observe(hello)

    def between(request: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return inner(request, start_response)

    outer = observe(between)
    assert ask(outer, "/").body == b"hello"
    assert counted() == {"/hello": 1}


def test_two_applications_in_one_process_share_one_ledger(observe: Observe) -> None:
    """Each answers for itself, and each shows what both have counted."""
    first, second = observe(hello), observe(other)
    ask(first, "/")
    for _ in range(2):
        ask(second, "/")
    assert counted() == {"/hello": 1, "/other": 2}
    for app in (first, second):
        shown = said(app, "/api/metrics")
        assert shown["application"]["request_count"] == 3
        assert shown["workers"]["total"] == 1


def test_the_first_settings_hold_for_what_belongs_to_the_process(observe: Observe) -> None:
    """A second application's other settings change neither ledger nor keeper."""
    observe(hello, monitoring_interval=7)
    observe(other, monitoring_interval=9)
    assert instance().settings.monitoring_interval == 7


def test_flask_is_wrapped_from_within(observe: Observe) -> None:
    """With `app.wsgi_app = monitor(app.wsgi_app)` the app stays Flask's, with test client and CLI."""
    app = flask.Flask("shop")

    @app.get("/items/<int:number>")
    def item(number: int) -> str:
        return str(number)

    @app.cli.command("count")
    def count() -> None:
        click.echo("counted")

    # As Flask's manual has it.
    app.wsgi_app = observe(app.wsgi_app)  # type: ignore[method-assign]
    client = app.test_client()
    answers = [
        client.get(path, buffered=True).status_code for path in ("/items/7", "/nothing", "/livez")
    ]
    assert answers == [200, 404, 200]
    assert counted() == {"/items/<int:number>": 1, "{unmatched}": 1}
    assert app.test_cli_runner().invoke(args=["count"]).output == "counted\n"


def test_a_disabled_monitor_is_not_there(observe: Observe, tmp_path: Path) -> None:
    """With disabled=True every path is the app's, nothing is made, and close is harmless."""
    app = observe(hello, disabled=True)
    for path in ("/", "/health", "/metrics", "/livez"):
        assert ask(app, path).body == b"hello"
    assert otelmon.stack._instance is None
    assert not (tmp_path / "ledger").exists()
    app.close()
    assert ask(app, "/").body == b"hello"


def test_all_bad_settings_are_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One ConfigError names every bad variable, and no instance is left behind."""
    monkeypatch.setenv("PROMETHEUS_PORT", "http")
    monkeypatch.setenv("MONITORING_INTERVAL", "never")
    with pytest.raises(ConfigError) as raised:
        monitor(hello)
    assert len(raised.value.problems) == 2
    assert "PROMETHEUS_PORT" in str(raised.value)
    assert "MONITORING_INTERVAL" in str(raised.value)
    assert otelmon.stack._instance is None


def test_the_paths_of_others_are_theirs(observe: Observe) -> None:
    """A prefix moves our paths, one that is off is the app's, and excluded ones are not counted."""
    app = observe(hello, prefix="/ops", endpoints_off=("/livez",), excluded_paths=("/assets",))
    assert ask(app, "/health").body == b"hello"
    assert ask(app, "/ops/livez").body == b"hello"
    assert ask(app, "/ops/readyz").body != b"hello"
    assert ask(app, "/assets/logo").body == b"hello"
    assert counted() == {"/hello": 2}


def test_what_is_said_at_the_start_is_what_is_mounted(
    observe: Observe, caplog: pytest.LogCaptureFixture
) -> None:
    """The start-up line names the paths as they were moved, and the address of the port."""
    caplog.set_level(logging.INFO, "otelmon")
    observe(hello, prefix="/ops", endpoints_off=("/livez",), enable_prometheus=True, token="secret")
    instance().keeper._announce()
    said = [record.getMessage() for record in caplog.records]
    (line,) = [each for each in said if each.startswith("otelmon answers")]
    assert "/ops/health" in line
    assert "livez" not in line
    assert "127.0.0.1" in line
    assert "secret" not in line


def test_open_endpoints_are_warned_about_once(
    observe: Observe, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a token the start-up log says what anybody can read and how to close it."""
    observe(hello)
    instance().keeper._announce()
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "OTELMON_TOKEN" in warning.getMessage()
    assert "/api/metrics" in warning.getMessage()


def test_a_closed_monitor_lets_the_application_answer_unobserved(
    observe: Observe, tmp_path: Path
) -> None:
    """After close all paths are the app's, nothing is taken again, and a second close is harmless."""
    app = observe(hello)
    ask(app, "/")
    app.close()
    assert ask(app, "/health").body == b"hello"
    assert ask(app, "/").body == b"hello"
    assert otelmon.stack._instance is None
    app.close()


def test_the_last_monitor_ends_the_instance(observe: Observe) -> None:
    """The first of two that closes leaves the other one counting; its own requests are not."""
    first, second = observe(hello), observe(other)
    ask(first, "/")
    first.close()
    ask(first, "/")
    ask(second, "/")
    assert counted() == {"/hello": 1, "/other": 1}
    second.close()
    assert otelmon.stack._instance is None


def test_a_new_monitor_begins_anew(observe: Observe) -> None:
    """After the last close the next monitor counts from nothing, with settings of its own."""
    app = observe(hello, monitoring_interval=7)
    ask(app, "/")
    app.close()
    app = observe(hello, monitoring_interval=9)
    assert counted() == {}
    ask(app, "/")
    assert counted() == {"/hello": 1}
    assert instance().settings.monitoring_interval == 9


def test_a_failure_to_serve_leaves_the_application_alone(
    observe: Observe, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever breaks at the first request is logged once, and all requests are answered."""
    app = observe(hello)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no memory at all")

    monkeypatch.setattr("otelmon.ledger.ledger.Ledger.serve_alone", broken)
    for _ in range(3):
        assert ask(app, "/").body == b"hello"
    assert faults.seen()["serve"].times == 1
    assert caplog.text.count("no memory at all (RuntimeError).") == 1
    assert said(app, "/health")["status"] == "unknown"


def test_a_directory_that_cannot_be_used_is_one_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where OTELMON_DIR is a file the process counts for itself, and says so."""
    (tmp_path / "file").touch()
    app = monitor(hello, Settings(ledger_dir=str(tmp_path / "file"), instance="by-name"))
    try:
        for _ in range(3):
            assert ask(app, "/").body == b"hello"
        health = said(app, "/health")
        assert health["otelmon"]["ledger"] == "private: this worker only"
        assert health["otelmon"]["faults"]["ledger"]["times"] == 1
        errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
        assert len(errors) == 1
        assert str(tmp_path / "file") in errors[0].getMessage()
        assert counted() == {"/hello": 3}
    finally:
        app.close()


def test_a_child_that_cannot_forget_one_part_forgets_the_others(
    observe: Observe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fails in a forked child is reported there, and it has no slot of its parent's."""
    app = observe(hello)
    ask(app, "/")

    def broken() -> None:
        raise RuntimeError("a lease that will not go")

    monkeypatch.setattr(instance().keeper, "forget", broken)
    child = os.fork()
    if child == 0:
        told = instance().ledger.pen is None and faults.seen()["fork"].times == 1
        os._exit(0 if told else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert counted() == {"/hello": 1}
