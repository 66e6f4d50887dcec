"""A small application with sessions in this process, and browsers that visit it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

import pytest

from otelmon import Sessions, Settings, redis_client
from otelmon.hardening.sessions.middleware import KEY, store
from tests.metered import Metered
from tests.wsgi_driver import Server, environ


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import redis
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from tests.redis_server import RedisServer
    from tests.wsgi_driver import Seen


COOKIE: Final = "__Host-session"
SECRET: Final = "a secret of the tests; made up"
OTHER_SECRET: Final = "another secret; also made up"


_clients: list[redis.Redis] = []


def close_clients() -> None:
    """Close the connections of all sites."""
    while _clients:
        _clients.pop().close()


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        """Begin now."""
        self.now = float(time.time_ns() // 10**9)

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def shop(request: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Do what the path says; answer what is in the session then."""
    session = request[KEY]
    what, _, word = request["PATH_INFO"].strip("/").partition("/")
    if what == "put":
        session[word] = word
    elif what == "login":
        session.renew()
        session["user"] = word
    elif what == "logout":
        session.destroy()
    elif what == "large":
        session["large"] = "x" * 4096
    body: dict[str, Any] = {} if what == "plain" else {"new": session.new, "data": dict(session)}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(body).encode()]


class Site:
    """The application behind sessions of its own."""

    def __init__(
        self,
        url: str | None,
        *,
        app: WSGIApplication = shop,
        secrets: Sequence[str] = (SECRET,),
        lifetime: float = 86_400.0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """Keep sessions in Redis at *url*; None: in the cookie."""
        client = None if url is None else redis_client(url, protocol=2)
        if client is not None:
            _clients.append(client)
        self.app = Sessions(app, secrets=secrets, lifetime=lifetime, client=client)
        kept = store(
            Settings.from_env(),
            secrets=secrets,
            lifetime=lifetime,
            client=client,
            cookie=COOKIE,
            clock=clock,
        )
        self.app.store = kept
        self.app.part = self.app.part._replace(store=kept)

    def ask(self, path: str, cookie: str | None = None, **more: Any) -> Seen:  # noqa: ANN401 - environ's
        """Serve one request."""
        if cookie is not None:
            more["HTTP_COOKIE"] = f"{COOKIE}={cookie}"
        return Server().serve(self.app, environ(path=path, **more))


class Browser:
    """Somebody who keeps the cookie that he is given."""

    def __init__(self, site: Site, cookie: str | None = None) -> None:
        """Visit *site*."""
        self.site = site
        self.cookie = cookie

    def go(self, path: str) -> Any:  # noqa: ANN401 - parsed JSON
        """Ask for a page, which must be answered; return what it holds."""
        seen = self.site.ask(path, self.cookie)
        assert (seen.raised, seen.status) == (None, "200 OK")
        given = given_cookie(seen)
        if given is not None:
            self.cookie = given or None
        return json.loads(seen.body)


def given_cookie(seen: Seen) -> str | None:
    """Return the session's cookie that an answer gives; empty if it takes that away."""
    for name, value in seen.headers:
        if name == "Set-Cookie":
            pair = value.partition(";")[0]
            assert pair.startswith(f"{COOKIE}=")
            return pair.partition("=")[2]
    return None


@pytest.fixture(name="metered", autouse=True)
def metered_sites(monkeypatch: pytest.MonkeyPatch) -> Iterator[Metered]:
    """Have what sessions measure counted here, for each test of a module that imports this."""
    for name in ("REDIS_URL", "SESSION_SECRET"):
        monkeypatch.delenv(name, raising=False)
    metered = Metered()
    monkeypatch.setattr("otelmon.stack.own_provider", lambda: metered._provider)
    yield metered
    close_clients()


@pytest.fixture(name="make", params=["redis", "cookie"])
def made_sites(request: pytest.FixtureRequest, server: RedisServer) -> Callable[..., Site]:
    """Return what makes sites that keep their sessions in Redis, and such that do not."""
    url = server.patient_url if request.param == "redis" else None
    return lambda **options: Site(url, **options)
