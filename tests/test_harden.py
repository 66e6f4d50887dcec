"""`harden(app)`: four middlewares in one order, as the settings say, on either side of `monitor`."""

from __future__ import annotations

import gc
import io
import json
import logging
import weakref
from typing import TYPE_CHECKING, Any, Final

import pytest

from otelmon import (
    BodyLimit,
    ConfigError,
    Policy,
    RateLimit,
    Sessions,
    Settings,
    Static,
    announcement,
    harden,
    monitor,
)
from tests.gunicorn_server import Gunicorn
from tests.limited import asked, ok
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


SECRET: Final = "a secret of the tests"


def parts(app: Any) -> list[type]:  # noqa: ANN401 - any application
    """Return what is wrapped around an application, from the outside in."""
    found = []
    while app is not ok:
        found.append(type(app))
        app = app.app
    return found


def settings(**environ: str | Path) -> Settings:
    """Return settings of this environment alone."""
    return Settings.from_env({name: str(value) for name, value in environ.items()})


def test_the_settings_say_what_there_is(tmp_path: Path) -> None:
    """Two limits without a word; files and sessions where their variable is set; in one order."""
    assert parts(harden(ok, settings())) == [RateLimit, BodyLimit]
    everything = settings(STATIC_ROOT=tmp_path, SESSION_SECRET=SECRET)
    assert parts(harden(ok, everything)) == [Static, RateLimit, BodyLimit, Sessions]


class Environ(dict[str, Any]):
    """One that tells when it is gone."""


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("body", [list, iter])
def test_what_a_request_had_is_gone_when_its_body_is_closed(method: str, body: Any) -> None:  # noqa: ANN401 - a type or a function
    """Nothing waits for the garbage collector, whatever stands around what."""

    def visited(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["otelmon.session"]["visited"] = True
        start_response("200 OK", [("Content-Type", "text/plain")])
        return body([b"ok"])  # type: ignore[no-any-return]

    def asks(app: WSGIApplication) -> weakref.ref[Environ]:
        environ = Environ(REQUEST_METHOD=method, PATH_INFO="/", REMOTE_ADDR="9.9.9.9")
        environ["wsgi.input"] = io.BytesIO()
        found = app(environ, lambda *_: bytes)
        assert b"".join(found) == b"ok"
        getattr(found, "close", bool)()
        return weakref.ref(environ)

    app = monitor(harden(visited, settings(SESSION_SECRET=SECRET)))
    gc.disable()
    try:
        asks(app)
        assert asks(app)() is None
        assert asks(app.app)() is None
    finally:
        gc.enable()
        app.close()


def test_what_is_there_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line when the server begins, with the reason for what is left out."""
    monkeypatch.setattr(announcement, "_notes", {})
    for secure in (True, True, False):
        harden(ok, settings(RATE_LIMIT="7/second", SESSION_SECRET=SECRET), secure=secure)
    line, insecure = announcement._notes
    assert line == (
        "harden: static files off, as STATIC_ROOT is not set; rate limit 7 in 1 s; "
        "body limit 16777216 bytes; sessions in signed cookies, over https only."
    )
    assert insecure.endswith("sessions in signed cookies, over plain http too.")
    assert SECRET not in line


def test_the_switch_takes_away_the_limits_alone(tmp_path: Path) -> None:
    """With OTELMON_DISABLED an application still has its files and sessions."""
    off = settings(
        STATIC_ROOT=tmp_path, SESSION_SECRET=SECRET, OTELMON_DISABLED="true", RATE_LIMIT="rubbish"
    )
    app = harden(ok, off, allow=["127.0.0.1"])
    assert parts(app) == [Static, Sessions]


def test_limits_can_be_switched_off_one_by_one() -> None:
    """With RATE_LIMIT=off a thousand pass, with MAX_CONTENT_LENGTH=off any length."""
    app = harden(ok, settings(RATE_LIMIT="off", MAX_CONTENT_LENGTH="off"))
    assert {asked(app).status for _ in range(1000)} == {200}
    assert asked(app, REQUEST_METHOD="POST", CONTENT_LENGTH="9" * 15).status == 200


def test_what_cannot_be_used_is_said_when_the_application_is_wrapped(tmp_path: Path) -> None:
    """All that is wrong at once, before the first request."""
    wrong = {
        "RATE_LIMIT": "often",
        "MAX_CONTENT_LENGTH": "much",
        "SESSION_SECRET": "short",
        "STATIC_ROOT": str(tmp_path / "nowhere"),
    }
    with pytest.raises(ConfigError) as caught:
        harden(ok, settings(**wrong))
    problems = caught.value.problems
    assert len(problems) == 4
    assert all(any(name in problem for problem in problems) for name in wrong), problems


def test_options_are_handed_on() -> None:
    """Policies, keys, networks and paths are those of the rate limit, prefixes of the body limit."""
    app = harden(
        ok,
        settings(RATE_LIMIT="2/minute"),
        policies=[Policy("login", "1/minute", paths=("/login",))],
        key=lambda environ: environ.get("HTTP_X_KEY"),
        allow=["10.0.0.0/8"],
        exempt=["/free"],
        body_limits={"/upload": 100},
    )
    key = {"HTTP_X_KEY": "harden"}
    assert [asked(app, "/login", **key).status for _ in range(2)] == [200, 429]
    assert [asked(app, **key).status for _ in range(2)] == [200, 429]
    assert asked(app, "/free", **key).status == 200
    assert asked(app, address="10.1.2.3", **key).status == 200
    assert asked(app).status == 200
    long = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "101"}
    assert asked(app, "/upload", **long).status == 413


# -- a request that two parts would refuse, and what it costs -------------------------------------


def test_a_file_costs_nothing_of_the_rate_limit(tmp_path: Path) -> None:
    """A page with fifty files is one request of the limit."""
    (tmp_path / "app.css").write_text("a {}")
    app = harden(ok, settings(STATIC_ROOT=tmp_path, RATE_LIMIT="1/minute"))
    address = "9.9.9.8"
    assert {asked(app, "/static/app.css", address).status for _ in range(50)} == {200}
    assert [asked(app, "/", address).status for _ in range(2)] == [200, 429]


def test_who_asks_too_often_is_told_so_before_its_body_is_judged() -> None:
    """One that is over both limits gets 429, and of its body nothing is read."""
    app = harden(ok, settings(RATE_LIMIT="1/minute", MAX_CONTENT_LENGTH="10"))
    long = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "11", "address": "9.9.9.7"}
    assert [asked(app, **long).status for _ in range(2)] == [413, 429]


def test_a_refused_request_has_no_session(tmp_path: Path) -> None:
    """Neither refusal sets a cookie, though the application would."""

    def counting(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        session = environ["otelmon.session"]
        session["times"] = session.get("times", 0) + 1
        return ok(environ, start_response)

    given = settings(RATE_LIMIT="2/minute", MAX_CONTENT_LENGTH="10", SESSION_SECRET=SECRET)
    app = harden(counting, given)
    address = {"address": "9.9.9.6"}
    assert asked(app, **address)["Set-Cookie"] is not None
    for status, environ in ((413, {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "11"}), (429, {})):
        answer = asked(app, **address, **environ)
        assert (answer.status, answer["Set-Cookie"]) == (status, None)


# -- with monitor ---------------------------------------------------------------------------------


def test_a_monitored_application_keeps_its_monitor_outside() -> None:
    """`harden(monitor(app))` is the monitor that was given, and closes as any."""
    monitored = monitor(ok)
    try:
        hardened: Any = harden(monitored, settings())
        assert hardened is monitored
        assert parts(hardened)[1:] == [RateLimit, BodyLimit]
    finally:
        monitored.close()
    assert asked(monitored, address="9.9.9.5").status == 200


@pytest.mark.parametrize("order", ["monitored_inside", "monitored_outside"])
def test_either_order_gives_the_same_figures(tmp_path: Path, order: str) -> None:
    """413 and 429 are counted, endpoints are never limited, over four workers."""
    env = {"RATE_LIMIT": "10/hour", "MAX_CONTENT_LENGTH": "10", "TRUSTED_PROXIES": "0"}
    with Gunicorn(tmp_path, app=f"tests.apps.hardened:{order}", env=env) as server:
        server.wait_for_workers()
        assert server.get("/ok", method="POST", body=b"x" * 11).status == 413
        statuses = [server.get("/ok").status for _ in range(15)]
        assert statuses == [200] * 9 + [429] * 6
        for _ in range(15):
            assert server.get("/livez").status == 200
            assert server.get("/api/metrics").status == 200

        def booked() -> bool:
            said = server.get("/api/metrics").json()["application"]
            return bool(said["request_count"] == 16)

        assert until(booked), server.log
        text = server.get("/metrics").text
        # A request that is refused comes to no route of the application's.
        for status, count in (("413", 1), ("429", 6)):
            assert f'status="{status}"}} {count}' in text
        assert server.log.count("harden: static files off") == 1


def test_the_answer_of_a_refusal_tells_what_to_do() -> None:
    """problem+json, as RFC 9457 has it, for whoever reads it."""
    app = harden(ok, settings(RATE_LIMIT="1/minute"))
    asked(app, address="9.9.9.4")
    answer = asked(app, address="9.9.9.4")
    assert answer["Content-Type"] == "application/problem+json"
    assert json.loads(answer.body)["status"] == 429
    assert int(answer["Retry-After"] or 0) > 0


def test_the_package_needs_no_more_than_it_says(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is logged by wrapping an application that has all it needs."""
    with caplog.at_level(logging.INFO):
        harden(ok, settings(SESSION_SECRET=SECRET))
    assert caplog.messages == []
