"""Sessions under attack: each test is named after what somebody tries."""

from __future__ import annotations

import json
import os
import pickle
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import pytest

from otelmon.hardening.sessions.errors import EndedError
from otelmon.hardening.sessions.measures import CHANGE, CHANGES, REASON, REJECTED
from otelmon.hardening.sessions.middleware import KEY, PREFIX
from otelmon.hardening.sessions.redis_store import _digest
from otelmon.hardening.sessions.signatures import Signatures
from otelmon.hardening.sessions.values import Changes
from tests.redis_server import empty_redis, running_redis  # noqa: F401 - fixtures
from tests.session_site import (  # noqa: F401 - fixtures
    COOKIE,
    OTHER_SECRET,
    SECRET,
    Browser,
    Clock,
    Site,
    given_cookie,
    made_sites,
    metered_sites,
    shop,
)
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from tests.metered import Metered
    from tests.redis_server import RedisServer


def key_of(cookie: str) -> str:
    """Return where the session of a cookie lies in Redis."""
    return PREFIX + _digest(cookie.partition(".")[0])


def keys(server: RedisServer) -> set[str]:
    """Return all that lies in Redis."""
    with server.client(decode_responses=True) as client:
        return set(map(str, client.keys()))


def test_fixation_an_id_that_a_client_chose_is_never_taken(server: RedisServer) -> None:
    """Neither unsigned nor signed, an id that we do not know becomes that of a session."""
    chosen = "chosen-by-an-attacker-chosen-by-an-attacker"
    for cookie in (chosen, Signatures([SECRET], "id").sign(chosen)):
        browser = Browser(Site(server.patient_url), cookie)
        assert browser.go("/put/a") == {"new": True, "data": {"a": "a"}}
        assert browser.cookie is not None
        assert chosen not in browser.cookie
        assert key_of(chosen) not in keys(server)


def test_fixation_the_id_of_before_the_login_is_dead_at_once(server: RedisServer) -> None:
    """A log-in moves all data to a new id, under which alone the user's name ever lay."""
    site = Site(server.patient_url)
    browser = Browser(site)
    browser.go("/put/basket")
    planted = browser.cookie
    assert planted is not None

    assert browser.go("/login/ada")["data"] == {"basket": "basket", "user": "ada"}
    assert browser.cookie != planted
    assert browser.go("/")["data"] == {"basket": "basket", "user": "ada"}
    assert key_of(planted) not in keys(server)
    assert Browser(site, planted).go("/") == {"new": True, "data": {}}


def test_fixation_a_session_that_ended_meanwhile_is_not_logged_in(server: RedisServer) -> None:
    """A log-in on a session that another request has ended is not kept anywhere."""
    site = Site(server.patient_url)
    browser = Browser(site)
    browser.go("/put/a")
    begun = site.app.store.load(str(browser.cookie))
    Browser(site, browser.cookie).go("/logout")
    with pytest.raises(EndedError):
        site.app.store.save(begun, Changes({"a": "1"}, {"a": "1"}, []), renew=True)

    assert keys(server) <= {f"{PREFIX}index"}


def test_tampering_with_any_bit_of_a_cookie_gives_no_session(make: Callable[..., Site]) -> None:
    """Each bit of each byte flipped, each byte cut out: no session, and no failure."""
    site = make()
    browser = Browser(site)
    browser.go("/login/ada")
    cookie = browser.cookie
    assert cookie is not None
    flipped = [
        cookie[:place] + chr(ord(cookie[place]) ^ 1 << bit) + cookie[place + 1 :]
        for place in range(len(cookie))
        for bit in range(8)
    ]
    cut = [cookie[:place] + cookie[place + 1 :] for place in range(len(cookie))]
    longer = [cookie + "=", cookie + ".", "." + cookie, cookie[:-1], cookie.swapcase()]
    for each in (*flipped, *cut, *longer):
        assert Browser(site, each).go("/") == {"new": True, "data": {}}, each
    assert Browser(site, cookie).go("/")["data"] == {"user": "ada"}


def test_a_cookie_of_the_name_that_is_not_ours_logs_nobody_out(
    make: Callable[..., Site], metered: Metered
) -> None:
    """Of several of one name the first that has a session counts, among four."""
    site = make()
    browser = Browser(site)
    browser.go("/put/basket")
    for before in ("junk", "junk; a=b", f"junk; {COOKIE}=", f"a; {COOKIE}=b; {COOKIE}=c"):
        for cookie in (f"{before}; {COOKIE}={browser.cookie}", f"{browser.cookie}; {COOKIE}=junk"):
            seen = json.loads(site.ask("/", cookie).body)
            assert seen == {"new": False, "data": {"basket": "basket"}}
    assert metered.by(REJECTED, REASON) == {}

    many = f"; {COOKIE}=".join([*["junk"] * 4, str(browser.cookie)])
    assert json.loads(site.ask("/", many).body)["new"]
    assert metered.by(REJECTED, REASON) == {("signature",): 1}


def test_a_cookie_of_one_kind_is_none_of_the_other(server: RedisServer, metered: Metered) -> None:
    """What was signed as data is believed as no id, nor the other way round."""
    for before, after in ((None, server.patient_url), (server.patient_url, None)):
        browser = Browser(Site(before))
        browser.go("/put/a")
        assert Browser(Site(after), browser.cookie).go("/") == {"new": True, "data": {}}
    assert metered.by(REJECTED, REASON) == {("signature",): 2}


def test_expired_a_signed_cookie_is_worth_nothing(metered: Metered) -> None:
    """A second after its lifetime a cookie without Redis is none; used in time, it lives on."""
    clock = Clock()
    site = Site(None, clock=clock, lifetime=100)
    browser = Browser(site)
    browser.go("/put/a")
    first = browser.cookie
    clock.now += 99
    assert browser.go("/")["data"] == {"a": "a"}
    assert browser.cookie != first
    clock.now += 99
    assert Browser(site, browser.cookie).go("/")["data"] == {"a": "a"}
    assert Browser(site, first).go("/") == {"new": True, "data": {}}
    assert metered.by(REJECTED, REASON) == {("expired",): 1}


def test_expired_a_session_in_redis_is_forgotten_unless_it_is_used(server: RedisServer) -> None:
    """Each use gives it another lifetime, reading alone too; left alone it is gone."""
    site = Site(server.patient_url, lifetime=1000)
    browser = Browser(site)
    browser.go("/put/a")
    assert browser.cookie is not None
    with server.client() as client:
        client.pexpire(key_of(browser.cookie), 60_000)
        browser.go("/")
        assert 900_000 < int(client.pttl(key_of(browser.cookie))) <= 1_000_000
        client.pexpire(key_of(browser.cookie), 1)
        assert until(lambda: not client.exists(key_of(str(browser.cookie))))
    assert browser.go("/") == {"new": True, "data": {}}


def test_signed_in_the_future_is_signed_by_nobody(make: Callable[..., Site]) -> None:
    """A clock that is a minute ahead is borne, one that is two ahead is not."""
    clock = Clock()
    site = make(clock=clock)
    browser = Browser(site)
    browser.go("/put/a")
    clock.now -= 59
    assert browser.go("/")["data"] == {"a": "a"}
    clock.now -= 60
    assert Browser(site, browser.cookie).go("/")["data"] == {}


def test_rotated_keys_are_believed_until_they_are_taken_out(make: Callable[..., Site]) -> None:
    """A session of the old key lives, gets a cookie of the new key, and outlives the old key."""
    browser = Browser(make())
    browser.go("/put/a")
    old = browser.cookie
    browser.site = make(secrets=[OTHER_SECRET, SECRET])
    assert browser.go("/")["data"] == {"a": "a"}
    assert browser.cookie != old

    browser.site = make(secrets=[OTHER_SECRET])
    assert browser.go("/")["data"] == {"a": "a"}
    assert Browser(browser.site, old).go("/") == {"new": True, "data": {}}


def test_replay_after_logout_finds_nothing(server: RedisServer, metered: Metered) -> None:
    """The cookie of a session that was ended is worth nothing; its client is told to drop it."""
    site = Site(server.patient_url)
    browser = Browser(site)
    browser.go("/login/ada")
    stolen = browser.cookie
    assert browser.go("/logout")["data"] == {}
    assert browser.cookie is None
    assert keys(server) <= {f"{PREFIX}index"}
    assert Browser(site, stolen).go("/") == {"new": True, "data": {}}
    assert site.app.store.active() == 0
    assert metered.by(CHANGES, CHANGE) == {("created",): 1, ("destroyed",): 1}


def test_a_request_that_outlives_the_logout_brings_nothing_back(
    server: RedisServer, metered: Metered
) -> None:
    """What a slow request of the same session writes after the log-out is not kept."""
    site = Site(server.patient_url)
    browser = Browser(site)
    browser.go("/login/ada")

    def slow(request: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request[KEY]["slow"] = True
        Browser(site, browser.cookie).go("/logout")
        return shop(request, start_response)

    seen = Site(server.patient_url, app=slow).ask("/", browser.cookie)
    assert seen.status == "200 OK"
    assert given_cookie(seen) is None
    assert Browser(site, browser.cookie).go("/") == {"new": True, "data": {}}
    assert metered.by(CHANGES, CHANGE)[("lost",)] == 1


def test_a_login_that_was_sent_twice_logs_in_twice(server: RedisServer, metered: Metered) -> None:
    """Both get a session of their own, and what the ended one held is in the first alone."""
    site = Site(server.patient_url)
    browser = Browser(site)
    browser.go("/put/basket")

    def twice(request: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        assert request[KEY]["basket"]
        first = Browser(site, browser.cookie)
        first.go("/login/ada")
        assert first.go("/")["data"] == {"basket": "basket", "user": "ada"}
        return shop(request, start_response)

    seen = Site(server.patient_url, app=twice).ask("/login/ada", browser.cookie)
    assert Browser(site, given_cookie(seen)).go("/")["data"] == {"user": "ada"}
    assert Browser(site, browser.cookie).go("/")["new"]
    assert metered.by(CHANGES, CHANGE) == {("created",): 2, ("renewed",): 1, ("lost",): 1}


def test_two_requests_at_once_lose_nothing_of_each_other(server: RedisServer) -> None:
    """Both have read the session before either is kept; both keys are there afterwards."""
    together = threading.Barrier(2, timeout=30)

    def app(request: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        word = request["PATH_INFO"].strip("/")
        del request[KEY][f"old-{word}"]
        request[KEY][word] = 1
        together.wait()
        return shop(request, start_response)

    browser = Browser(Site(server.patient_url))
    for word in ("old-a", "old-b", "stays"):
        browser.go(f"/put/{word}")
    site = Site(server.patient_url, app=app)
    with ThreadPoolExecutor(2) as clients:
        list(clients.map(lambda path: site.ask(path, browser.cookie), ("/a", "/b")))

    assert browser.go("/")["data"] == {"a": 1, "b": 1, "stays": "stays"}


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        """Make that file."""
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        """Tell pickle what to call."""
        return os.mkdir, (str(self.path),)


POISONS: Final[dict[str, Any]] = {
    "bad JSON": b"{",
    "nothing": b"",
    "no text": b"\xff\xfe",
    "NaN": b"NaN",
    "infinity": b"[1e999]",
    "deep": b"[" * 100_000,
    "deep and whole": b"[" * 300 + b"]" * 300,
    "long number": b"9" * 10_000,
    "two values": b"1 2",
}


@pytest.mark.parametrize("poison", POISONS.values(), ids=POISONS)
def test_a_poisoned_value_is_no_session(
    server: RedisServer, metered: Metered, poison: bytes
) -> None:
    """Whatever lies where JSON should is no session: the client begins a new one."""
    browser = Browser(Site(server.patient_url))
    browser.go("/put/a")
    with server.client() as client:
        client.hset(key_of(str(browser.cookie)), ":b", poison)

    assert browser.go("/") == {"new": True, "data": {}}
    assert browser.go("/put/c") == {"new": True, "data": {"c": "c"}}
    assert browser.go("/") == {"new": False, "data": {"c": "c"}}
    assert metered.by(REJECTED, REASON) == {("damaged",): 2}


def test_a_pickle_in_redis_is_never_opened(server: RedisServer, tmp_path: Path) -> None:
    """A pickle that runs code does not, as a field or as the whole value."""
    bomb = pickle.dumps(Bomb(tmp_path / "went off"))
    browser = Browser(Site(server.patient_url))
    browser.go("/put/a")
    key = key_of(str(browser.cookie))
    with server.client() as client:
        client.hset(key, ":a", bomb)
        assert browser.go("/") == {"new": True, "data": {}}
        client.delete(key)
        client.set(key, bomb)
        assert browser.go("/") == {"new": True, "data": {}}
    assert not (tmp_path / "went off").exists()
    pickle.loads(bomb)
    assert (tmp_path / "went off").exists()


@pytest.mark.parametrize("what", ["text", "list", "no lifetime", "nan", "-1", "foreign field"])
def test_a_key_of_another_kind_is_no_session(
    server: RedisServer, metered: Metered, what: str
) -> None:
    """A key that is no hash of ours is no session, and is left as it is."""
    browser = Browser(Site(server.patient_url))
    browser.go("/put/a")
    key = key_of(str(browser.cookie))
    with server.client() as client:
        if what in ("text", "list"):
            client.delete(key)
        if what == "text":
            client.set(key, "{}")
        elif what == "list":
            client.rpush(key, "{}")
        elif what == "no lifetime":
            client.hdel(key, "lifetime")
        elif what == "foreign field":
            client.hset(key, "a", "1")
        else:
            client.hset(key, "lifetime", what)
        kind = client.type(key)
        assert browser.go("/") == {"new": True, "data": {}}
        assert client.type(key) == kind
    assert metered.by(REJECTED, REASON) == {("damaged",): 1}


def test_ten_thousand_made_up_cookies_are_no_sessions_and_no_failures(
    make: Callable[..., Site],
) -> None:
    """Whatever a client sends as its cookies, the application answers, and knows nobody."""
    chance = random.Random(7)
    site = make()
    browser = Browser(site)
    browser.go("/login/ada")
    good = f"{COOKIE}={browser.cookie}"
    signs = "".join(map(chr, range(1, 256)))
    for _ in range(10_000):
        kind = chance.randrange(3)
        if kind == 0:
            made = "".join(chance.choices(signs, k=chance.randrange(200)))
            header = f"{COOKIE}={made}"
        elif kind == 1:
            begin, end = sorted(chance.choices(range(len(good)), k=2))
            header = good[:begin] + "".join(chance.choices(signs, k=3)) + good[end:]
        else:
            header = ";".join("".join(chance.choices('=;. "a1', k=9)) for _ in range(9))
        seen = site.ask("/", HTTP_COOKIE=header)
        assert (seen.raised, seen.body) == (None, b'{"new": true, "data": {}}'), header


def test_a_dump_of_redis_holds_nothing_to_log_in_with(server: RedisServer) -> None:
    """No id and no cookie lies in Redis, in no key and no value."""
    browser = Browser(Site(server.patient_url))
    browser.go("/login/ada")
    id_ = str(browser.cookie).partition(".")[0]
    with server.client() as client:
        dumped = b"".join(key + (client.dump(key) or b"") for key in client.scan_iter())
    assert len(id_) == 43
    assert b'"ada"' in dumped
    assert id_.encode() not in dumped
    assert Browser(Site(server.patient_url), _digest(id_)).go("/")["new"]


def test_an_untouched_session_asks_nothing_and_says_nothing(server: RedisServer) -> None:
    """No command reaches Redis, and the answer has no header that the application did not give."""

    def app(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"plain"]

    browser = Browser(Site(server.patient_url))
    browser.go("/put/a")
    server.reset()
    seen = Site(server.patient_url, app=app).ask("/", browser.cookie)

    assert seen.headers == [("Content-Type", "text/plain")]
    assert set(server.calls()) <= {"CONFIG", "INFO", "HELLO", "CLIENT"}


@pytest.mark.parametrize("times", [1, 50])
def test_reading_is_one_round_trip(server: RedisServer, times: int) -> None:
    """However often it is read, a session is asked for once; nothing is written of what is read."""
    site = Site(server.patient_url)
    browser = Browser(site)
    browser.go("/put/a")
    browser.go("/")
    with server.client() as client:
        client.config_resetstat()

    def app(request: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        for _ in range(times):
            assert request[KEY]["a"] == "a"
        return shop(request, start_response)

    site.app.app = app
    browser.go("/")
    assert server.calls()["EVALSHA"] == 1
    assert "HSET" not in server.calls()
