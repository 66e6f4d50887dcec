"""Django's engine by itself: in a process of its own, because Django is set up once in each."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.gunicorn_server import ROOT
from tests.redis_server import RedisServer
from tests.session_site import SECRET


if TYPE_CHECKING:
    from collections.abc import Iterator


_BEGIN: Final = """
import sys
from django.conf import settings
settings.configure()
from django.contrib.sessions.backends.base import UpdateError
from otelmon.hardening.sessions import django
from otelmon.hardening.sessions.django import SessionStore

def kept(**data):
    session = SessionStore()
    session.update(data)
    session.save()
    return session

def refused(error, call, *args):
    try:
        call(*args)
    except error as raised:
        return str(raised)
    raise AssertionError("not refused")
"""
CASES: Final = {
    "what is kept comes back, under a key that is not the session's id in Redis": """
session = kept(a=1, b=[2])
again = SessionStore(session.session_key)
assert (again["a"], again["b"], again.modified) == (1, [2], False)
again["b"].append(3)
again.save()
assert SessionStore(session.session_key)["b"] == [2, 3]
assert again.get_session_cookie_age() == again.get_expiry_age() == 60
""",
    "two that change different keys both have their way": """
key = kept(a=1).session_key
one, two = SessionStore(key), SessionStore(key)
one["b"], two["c"] = 2, 3
one.save(), two.save()
assert dict(SessionStore(key).items()) == {"a": 1, "b": 2, "c": 3}
""",
    "a key that was never given is none": """
session = SessionStore("chosen-by-an-attacker")
assert session.get("a") is None
session["a"] = 1
session.save()
assert "chosen" not in session.session_key
assert session.exists(session.session_key)
assert not session.exists("chosen-by-an-attacker")
""",
    "cycle_key moves the session": """
session = kept(a=1)
old = session.session_key
session.cycle_key()
session["user"] = 7
session.save()
assert dict(SessionStore(session.session_key).items()) == {"a": 1, "user": 7}
assert SessionStore(old).is_empty() is False and SessionStore(old).get("a") is None
empty = SessionStore()
empty.cycle_key()
assert empty.session_key and empty.modified
""",
    "flush ends it, and a slower request is told": """
session = kept(a=1)
old = session.session_key
slow = SessionStore(old)
slow["a"] = 2
session.flush()
assert session.is_empty()
refused(UpdateError, slow.save)
assert SessionStore(old).get("a") is None
other = kept(a=1).session_key
SessionStore().delete(other)
SessionStore().delete(other)
SessionStore().delete()
assert SessionStore(other).get("a") is None
SessionStore.clear_expired()
""",
    "a log-in that was sent twice logs in twice": """
key = kept(a=1).session_key
one, two = SessionStore(key), SessionStore(key)
assert one["a"] == two["a"] == 1
for session in (one, two):
    session.cycle_key()
    session["user"] = 7
    session.save()
assert dict(SessionStore(one.session_key).items()) == {"a": 1, "user": 7}
assert dict(SessionStore(two.session_key).items()) == {"user": 7}
""",
    "what is no JSON is refused": """
session = SessionStore()
session["a"] = {1}
assert "session['a'] is a set" in refused(TypeError, session.save)
""",
    "an old key's session is kept again under a new key": """
import os
key = kept(a=1).session_key
os.environ["SESSION_SECRET"] = "the next secret; made up," + os.environ["SESSION_SECRET"]
django._store.cache_clear()
session = SessionStore(key)
assert session["a"] == 1 and session.modified
session.save()
assert session.session_key != key and SessionStore(session.session_key)["a"] == 1
""",
}
DOWN: Final = """
import os
good = kept(a=1)
up = django._store()
os.environ["REDIS_URL"] = "redis://127.0.0.1:1/0"
django._store.cache_clear()
session = SessionStore(good.session_key)
assert session.get("a") is None and not session.available and not session.is_empty()
session["b"] = 2
session.cycle_key()
session.create()
session.save()
assert session.session_key == good.session_key
stranger = SessionStore()
stranger["b"] = 2
stranger.save()
assert stranger.session_key
assert not stranger.exists(good.session_key)
session.flush()
django._store = lambda: up
assert dict(SessionStore(good.session_key).items()) == {"a": 1}
assert SessionStore(stranger.session_key).get("b") is None
"""
KEYS: Final = """
session = kept(a=1)
session[5] = "five"
session.save()
assert dict(SessionStore(session.session_key).items()) == {"a": 1, "5": "five"}
"""
# The first lines are those of Django's documentation, "Using sessions out of views".
DOCUMENTED: Final = """
s = SessionStore()
# stored as seconds since epoch since datetimes are not serializable in JSON.
s["last_login"] = 1376587691
s.create()
assert SessionStore(session_key=s.session_key)["last_login"] == 1376587691

before = s.session_key
assert s.exists(before) and s["last_login"] == 1376587691
s["again"] = 1
s.create()
assert s.session_key != before
assert dict(SessionStore(s.session_key).items()) == {"last_login": 1376587691, "again": 1}
assert dict(SessionStore(before).items()) == {"last_login": 1376587691}

changed = before[:-1] + ("A" if before[-1] != "A" else "B")
assert [s.exists(key) for key in (changed, "", "a.b.c")] == [False] * 3
empty = SessionStore()
empty.create()
assert empty.session_key and empty.exists(empty.session_key)
login = SessionStore()
login["user"] = 7
login.cycle_key()
assert SessionStore(login.session_key)["user"] == 7
"""
ENDED: Final = """
session = kept(a=1)
assert SessionStore().exists(session.session_key)
ended = session.session_key
session.flush()
assert not SessionStore().exists(ended)
"""
LARGE: Final = """
session = kept(a=1)
before = session.session_key
session["large"] = "x" * 5000
assert "4096" in refused(ValueError, session.save)
assert session.session_key == before
assert SessionStore(before)["a"] == 1
"""


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: Any) -> Iterator[RedisServer]:  # noqa: ANN401 - pytest's
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


def run(program: str, **env: str) -> None:
    """Run a program that asserts."""
    given = {**os.environ, "SESSION_SECRET": SECRET, "SESSION_LIFETIME": "60", **env}  # noqa: TID251 - a child needs its PATH
    command = [sys.executable, "-W", "error", "-c", _BEGIN + program]
    done = subprocess.run(
        command, cwd=ROOT, env=given, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_djangos_engine_in_redis(server: RedisServer) -> None:
    """It does as Django's own engines do, and loses nothing of two requests at once."""
    run("".join(CASES.values()) + KEYS + DOCUMENTED + ENDED, REDIS_URL=server.patient_url)


def test_djangos_engine_without_redis() -> None:
    """The signed cookie is the session; one that is too large is an error, and the old one stays."""
    run(LARGE + DOCUMENTED)


def test_a_key_that_is_no_text_ends_no_session() -> None:
    """It comes back as a text, as from Django's own engines, in a signed cookie too."""
    run(KEYS)


def test_djangos_engine_while_redis_is_down(server: RedisServer) -> None:
    """Nothing of a session that could not be read is overwritten, and its cookie's value stays."""
    run(DOWN, REDIS_URL=server.patient_url)
