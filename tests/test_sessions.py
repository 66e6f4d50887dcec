"""`Sessions` as a middleware: what is kept and when, and what becomes of the answer."""

from __future__ import annotations

import gc
import logging
import sys
from functools import partial
from typing import TYPE_CHECKING, Any
from wsgiref.validate import validator

import pytest

import otelmon
from otelmon import ConfigError, Sessions, faults
from otelmon.hardening.sessions.errors import SessionTooLargeError, SessionValueError
from otelmon.hardening.sessions.measures import CHANGE, CHANGES, ERRORS
from otelmon.hardening.sessions.middleware import KEY
from otelmon.hardening.sessions.redis_store import RedisStore
from tests.redis_server import empty_redis, running_redis, running_valkey  # noqa: F401 - fixtures
from tests.session_site import (  # noqa: F401 - fixtures
    COOKIE,
    OTHER_SECRET,
    SECRET,
    Browser,
    Site,
    given_cookie,
    metered_sites,
    shop,
)
from tests.wsgi_driver import Server, WholeFile, environ


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from tests.metered import Metered
    from tests.redis_server import RedisServer


@pytest.fixture(name="make", params=["redis", "valkey", "cookie"])
def _make(
    request: pytest.FixtureRequest, server: RedisServer, valkey: RedisServer
) -> Callable[..., Site]:
    valkey.reset()
    url = {"redis": server.patient_url, "valkey": valkey.patient_url, "cookie": None}[request.param]
    return lambda **options: Site(url, **options)


def answering(
    do: Callable[[Any], object], headers: tuple[tuple[str, str], ...] = ()
) -> WSGIApplication:
    """Return an application that does something with the session, and answers."""

    def app(request: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        do(request[KEY])
        start_response("200 OK", [("Content-Type", "text/plain"), *headers])
        return [b"done"]

    return app


def do(site: Site, what: Callable[[Any], object], cookie: str | None = None) -> Any:  # noqa: ANN401
    """Have one request do something with the session; return what the server saw."""
    site.app.app = answering(what)
    return site.ask("/", cookie)


def data(site: Site, cookie: str | None) -> Any:  # noqa: ANN401 - parsed JSON
    """Return what is in the session of a cookie."""
    site.app.app = shop
    return Browser(site, cookie).go("/")["data"]


def test_all_that_json_holds_comes_back(make: Callable[..., Site]) -> None:
    """Values and keys of any script come back; what is changed inside of a list is noticed."""
    site = make()
    kept = {"": None, "ключ": "значение \U0001f36a", "list": [1, {"a": [True, 2.5]}], "{": "}"}
    cookie = given_cookie(do(site, lambda session: session.update(kept)))
    assert data(site, cookie) == kept

    cookie = given_cookie(do(site, lambda s: s["list"][1]["a"].append("more"), cookie)) or cookie
    assert data(site, cookie)["list"] == [1, {"a": [True, 2.5, "more"]}]

    cookie = given_cookie(do(site, lambda session: session.pop("list"), cookie)) or cookie
    assert data(site, cookie) == {each: kept[each] for each in kept if each != "list"}


def nested(depth: int) -> list[Any]:
    """Return a list in a list in a list."""
    found: list[Any] = []
    for _ in range(depth - 1):
        found = [found]
    return found


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("a", {1, 2}, r"session\['a'\] is a set"),
        ("a", float("nan"), r"session\['a'\] is a float"),
        ("a", b"bytes", r"session\['a'\] is a bytes"),
        ("a", nested(101), "nested deeper than 100"),
        (1, "a", "key is 1"),
        ("\ud800", "a", "key is"),
    ],
)
def test_what_json_cannot_hold_is_refused_where_it_is_put_in(
    make: Callable[..., Site], key: object, value: object, says: str
) -> None:
    """The error comes from the line that is wrong, and says what may be put in."""
    seen = do(make(), lambda session: session.__setitem__(key, value))

    assert isinstance(seen.raised, SessionValueError)
    with pytest.raises(SessionValueError, match=says):
        raise seen.raised


def test_what_becomes_no_json_later_is_refused_before_the_answer(make: Callable[..., Site]) -> None:
    """A list that something else than JSON was appended to ends the request, not the session."""
    site = make()
    cookie = given_cookie(do(site, lambda session: session.update(cart=nested(100))))
    seen = do(site, lambda session: session["cart"].append(object()), cookie)

    assert isinstance(seen.raised, SessionValueError)
    assert seen.status is None
    assert data(site, cookie) == {"cart": nested(100)}


def test_a_session_over_4_kb_without_redis_is_a_clear_error(server: RedisServer) -> None:
    """It names size, limit and way out; the old cookie stays good. Redis takes it."""
    site = Site(None)
    browser = Browser(site)
    browser.go("/put/a")
    seen = site.ask("/large", browser.cookie)
    assert seen.status is None
    assert isinstance(seen.raised, SessionTooLargeError)
    with pytest.raises(
        SessionTooLargeError, match=r"of \d{4} bytes .* 4096: .* REDIS_URL .* a, la"
    ):
        raise seen.raised
    assert browser.go("/")["data"] == {"a": "a"}
    assert len(Browser(Site(server.patient_url)).go("/large")["data"]["large"]) == 4096


def put(value: object, session: Any) -> None:  # noqa: ANN401 - a session
    """Put a value in."""
    session["a"] = value


def test_the_largest_cookie_is_not_larger_than_browsers_take() -> None:
    """Of all sizes, one that is taken has 4096 bytes with its name at the most, and some have 4090."""
    sizes = []
    for length in range(2900, 3100):
        seen = do(Site(None), partial(put, "x" * length))
        cookie = given_cookie(seen)
        if cookie:
            sizes.append(len(f"{COOKIE}={cookie}"))
        else:
            assert isinstance(seen.raised, SessionTooLargeError)
    assert 4090 <= max(sizes) <= 4096


def test_the_cookie_is_as_safe_as_it_can_be(make: Callable[..., Site]) -> None:
    """For this host, all paths, TLS, no scripts, no other sites; the answer is for no shared cache."""
    seen = do(make(), lambda session: session.update(a=1))
    headers = dict(seen.headers)

    assert headers["Set-Cookie"].startswith("__Host-session=")
    flags = headers["Set-Cookie"].split("; ")[2:]
    assert flags == ["Path=/", "Secure", "HttpOnly", "SameSite=Lax"]
    assert (headers["Vary"], headers["Cache-Control"]) == ("Cookie", "private")


def test_plain_http_has_a_cookie_without_a_promise() -> None:
    """secure=False, for development, names it otherwise and leaves Secure out."""
    app = Sessions(answering(lambda s: s.update(a=1)), secrets=[SECRET], secure=False)
    given = dict(Server().serve(app, environ()).headers)["Set-Cookie"]
    assert given.startswith("session=")
    assert given.endswith("; Path=/; HttpOnly; SameSite=Lax")


@pytest.mark.parametrize(
    ("headers", "vary", "caching"),
    [
        ([], "Cookie", "private"),
        ([("vary", "Accept"), ("cache-control", "no-store")], "Accept, Cookie", "no-store"),
        ([("Vary", "cookie, Accept")], "cookie, Accept", "private"),
        ([("Vary", "*"), ("Cache-Control", "public")], "*", "public"),
    ],
)
def test_what_the_application_says_of_caching_stands(
    headers: list[tuple[str, str]], vary: str, caching: str
) -> None:
    """Vary is added to, Cache-Control is only given where there is none."""
    app = answering(lambda session: session.update(a=1), tuple(headers))
    seen = Site(None, app=app).ask("/")
    found = [(name.lower(), value) for name, value in seen.headers]
    assert [value for name, value in found if name == "vary"] == [vary]
    assert [value for name, value in found if name == "cache-control"] == [caching]


def test_only_reading_gives_no_cookie(make: Callable[..., Site]) -> None:
    """What only looks gets Vary and nothing else, with a session and without one."""
    site = make()
    cookie = given_cookie(do(site, lambda session: session.update(a=1)))
    for given in (None, cookie):
        seen = do(site, lambda session: session.get("a"), given)
        assert seen.headers == [("Content-Type", "text/plain"), ("Vary", "Cookie")]


def streaming(*steps: Callable[[Any], object]) -> WSGIApplication:
    """Return an application that does one thing with the session before each piece."""

    def app(request: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        session = request[KEY]
        start_response("200 OK", [("Content-Type", "text/plain")])
        for step in steps:
            step(session)
            yield b"piece"

    return app


def test_a_change_before_the_first_piece_is_in_time(make: Callable[..., Site]) -> None:
    """A generator that puts something in after start_response, before its first piece, has its way."""
    site = make(app=streaming(lambda session: session.update(a=1)))
    seen = site.ask("/")
    assert seen.body == b"piece"
    assert data(site, given_cookie(seen)) == {"a": 1}


def test_a_change_after_the_headers_is_kept_in_redis(server: RedisServer) -> None:
    """While the body is sent, a session whose id the client has is still written to."""
    site = Site(server.patient_url)
    site.app.app = streaming(lambda s: s.update(a=1), lambda s: s.update(b=[2]))
    seen = site.ask("/")
    assert data(site, given_cookie(seen)) == {"a": 1, "b": [2]}


@pytest.mark.parametrize("kind", ["redis", "cookie"])
def test_a_change_that_comes_too_late_is_lost_and_said_once(
    kind: str, server: RedisServer, metered: Metered, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a cookie of the client's there is nowhere to keep it: one line, and a count."""
    late = streaming(lambda session: session.get("a"), lambda session: session.update(a=1))
    site = Site(server.patient_url if kind == "redis" else None, app=late)
    with caplog.at_level(logging.WARNING, "otelmon"):
        seen = [site.ask("/"), site.ask("/")]

    assert [given_cookie(each) for each in seen] == [None, None]
    assert metered.by(CHANGES, CHANGE) == {("lost",): 2}
    assert [record.message[:33] for record in caplog.records] == [
        "A session was changed after the h"
    ]


def test_a_renewal_that_comes_too_late_ends_the_session(server: RedisServer) -> None:
    """The client can have no other id any more: the old one is dead all the same."""
    site = Site(server.patient_url)
    cookie = given_cookie(do(site, lambda session: session.update(a=1)))
    site.app.app = streaming(lambda session: session.get("a"), lambda session: session.renew())
    site.ask("/", cookie)
    assert data(site, cookie) == {}
    assert site.app.store.active() == 0


def test_the_server_sees_what_the_standard_allows(make: Callable[..., Site]) -> None:
    """wsgiref's validator has no complaint on either side, of lists and of generators."""
    for app in (answering(lambda s: s.update(a=1)), streaming(lambda s: s.update(a=1))):
        site = make(app=validator(app))
        inner = site.app
        site.app = validator(inner)  # type: ignore[assignment]
        seen = site.ask("/")
        assert (seen.raised, seen.status) == (None, "200 OK")
        assert given_cookie(seen)


def test_write_sends_the_headers_first(make: Callable[..., Site]) -> None:
    """An application that still uses write() has its session kept before its first piece."""

    def app(request: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        request[KEY]["a"] = 1
        write(b"written")
        return []

    site = make(app=app)
    seen = site.ask("/")
    assert seen.body == b"written"
    assert data(site, given_cookie(seen)) == {"a": 1}


def test_an_error_page_replaces_the_answer_until_it_is_sent(make: Callable[..., Site]) -> None:
    """start_response with exc_info counts before the first piece; a second one without is refused."""

    def app(request: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request[KEY]["a"] = 1
        start_response("200 OK", [])
        try:
            start_response("201 Created", [])
        except AssertionError:
            start_response("500 Oh", [], sys.exc_info())
        return [b"sorry"]

    seen = make(app=app).ask("/")
    assert (seen.status, seen.body) == ("500 Oh", b"sorry")
    assert given_cookie(seen)


def test_an_application_that_raises_keeps_nothing(
    make: Callable[..., Site], server: RedisServer
) -> None:
    """Its error goes on to the server as it is, and no session is begun."""

    def app(request: WSGIEnvironment, _: StartResponse) -> Iterable[bytes]:
        request[KEY]["a"] = 1
        raise ZeroDivisionError

    seen = make(app=app).ask("/")
    assert isinstance(seen.raised, ZeroDivisionError)
    with server.client() as client:
        assert client.dbsize() == 0


def test_files_and_lists_reach_the_server_as_they_are(
    make: Callable[..., Site], tmp_path: Path
) -> None:
    """sendfile and Content-Length go on: such a body is not wrapped, and has its cookie."""
    (tmp_path / "file").write_text("content")

    def app(request: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request[KEY]["a"] = 1
        start_response("200 OK", [])
        if request["PATH_INFO"] == "/list":
            return [b"content"]
        return WholeFile((tmp_path / "file").open("rb"))

    site = make(app=app)
    for path, event in (("/list", ("length", 1)), ("/file", ("file", True))):
        seen = site.ask(path)
        assert seen.body == b"content"
        assert event in seen.events
        assert given_cookie(seen)


def test_two_around_one_application_are_one(make: Callable[..., Site]) -> None:
    """Wrapping twice is harmless: there is one session, and one cookie."""
    site = make()
    site.app.app = Sessions(answering(lambda s: s.update(a=1)), secrets=[SECRET])
    seen = site.ask("/")
    assert [name for name, _ in seen.headers].count("Set-Cookie") == 1
    assert data(site, given_cookie(seen)) == {"a": 1}


def test_nothing_secret_is_in_a_sessions_text(make: Callable[..., Site]) -> None:
    """repr() shows neither id nor values."""
    texts: list[str] = []

    def app(session: Any) -> None:  # noqa: ANN401 - a session
        texts.append(repr(session))
        session["password"] = "hush"
        texts.append(repr(session))

    do(make(), app)
    assert texts == ["<Session, not read>", "<Session new, 1 keys>"]


def test_redis_that_refuses_leaves_no_session_and_says_so(
    server: RedisServer, metered: Metered, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is kept, nothing is overwritten, no cookie is taken away; destroy() tells that it failed."""
    good = Site(server.patient_url)
    cookie = given_cookie(do(good, lambda session: session.update(a=1)))
    broken = Site("redis://127.0.0.1:1/0")
    said: list[object] = []

    def look(session: Any) -> None:  # noqa: ANN401 - a session
        said.extend((session.available, session.new, dict(session)))
        session["b"] = 2
        session.renew()

    seen = do(broken, look, cookie)
    assert said == [False, False, {}]
    assert (seen.status, given_cookie(seen)) == ("200 OK", None)
    assert given_cookie(do(broken, lambda s: s.update(a=1))) is None
    do(broken, lambda session: said.append(session.destroy()), cookie)
    assert said[-1] is False
    assert data(good, cookie) == {"a": 1}
    assert metered.by(ERRORS, "error.type") == {("ConnectionError",): 3}
    assert faults.seen()["sessions"].times == 3
    assert sum("sessions failed" in record.message for record in caplog.records) == 1


def test_what_cannot_be_used_is_said_when_the_application_is_wrapped(server: RedisServer) -> None:
    """Each error names what was wrong and the way out, and no secret."""

    def refused(**options: Any) -> str:  # noqa: ANN401 - of Sessions
        with pytest.raises(ConfigError) as raised:
            Sessions(shop, **options)
        return str(raised.value)

    assert "set SESSION_SECRET" in refused()
    short = refused(secrets=[SECRET, "hush, short"])
    assert "shorter than 16 bytes" in short
    assert "hush" not in short
    assert "list of texts" in refused(secrets=SECRET)
    assert "lifetime is 0" in refused(secrets=[SECRET], lifetime=0)
    assert "cookie is 'a b'" in refused(secrets=[SECRET], cookie="a b")
    assert "TLS only" in refused(secrets=[SECRET], cookie="__Host-a", secure=False)
    with server.client(decode_responses=True) as client:
        assert "decode_responses" in refused(secrets=[SECRET], client=client)


def test_what_is_given_in_code_leaves_the_environment_to_the_application(
    monkeypatch: pytest.MonkeyPatch, server: RedisServer
) -> None:
    """Variables of these names that mean something else stop nobody who does not use them."""
    monkeypatch.setenv("SESSION_LIFETIME", "two weeks")
    monkeypatch.setenv("REDIS_URL", "memcached://")
    assert Sessions(shop, secrets=[SECRET], lifetime=60, url=server.url).store.lifetime == 60
    with pytest.raises(ConfigError, match="SESSION_LIFETIME"):
        Sessions(shop, secrets=[SECRET], url=server.url)
    with pytest.raises(ConfigError, match="REDIS_URL"):
        Sessions(shop, secrets=[SECRET], lifetime=60)


def test_the_environment_says_what_code_does_not(
    monkeypatch: pytest.MonkeyPatch, server: RedisServer
) -> None:
    """SESSION_SECRET is a list, SESSION_LIFETIME seconds, REDIS_URL where sessions lie."""
    monkeypatch.setenv("SESSION_SECRET", f"{OTHER_SECRET},{SECRET}")
    monkeypatch.setenv("SESSION_LIFETIME", "60")
    monkeypatch.setenv("REDIS_URL", server.patient_url)
    app = Sessions(answering(lambda session: session.update(a=1)))
    seen = Server().serve(app, environ())
    assert "Max-Age=67" in dict(seen.headers)["Set-Cookie"]
    assert app.store.active() == 1
    assert Browser(Site(server.patient_url, secrets=[OTHER_SECRET]), given_cookie(seen)).go("/")[
        "data"
    ]
    assert not Browser(Site(server.patient_url), given_cookie(seen)).go("/")["data"]
    assert isinstance(app.store, RedisStore)
    app.store._load.registered_client.close()


def test_a_request_leaves_nothing_to_the_garbage_collector(make: Callable[..., Site]) -> None:
    """Neither an untouched session nor a used one is part of a cycle."""
    site = make()
    apps = (answering(lambda _: None), answering(lambda s: s.update(a=1)), streaming(len, len))
    for app in apps:
        site.app.app = app
        site.ask("/")
        gc.collect()
        gc.disable()
        try:
            for _ in range(10):
                site.ask("/")
            # Of what is young: other tests' leavings are old.
            assert gc.collect(0) == 0
        finally:
            gc.enable()


def test_it_is_part_of_the_public_names() -> None:
    """otelmon.Sessions is it."""
    assert otelmon.Sessions is Sessions
