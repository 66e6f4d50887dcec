"""What a request's session costs: untouched, read, and written, beside Flask's own signed cookie.

All answer one browser that comes back with its cookie. Redis is a server of its own over a unix
socket; its own work is not in the CPU time, and is in the time on the clock.
"""

from __future__ import annotations

import time
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from flask import Flask, session
from werkzeug.test import EnvironBuilder

from bench.interleaved import cost, in_turn, measure
from bench.tables import show
from bench.valkey import valkey
from otelmon import Sessions, redis_client
from otelmon.hardening.sessions.flask import SessionInterface
from otelmon.hardening.sessions.middleware import KEY


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


SECRET: Final = "made up for the benchmark"
_CALLS: Final = 300
_ROUNDS: Final = 25
_numbers = count()


def plain(request: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer; the path says what becomes of the session."""
    what = request["PATH_INFO"]
    if what != "/untouched":
        found = request[KEY]
        found.get("user")
        if what == "/write":
            found["number"] = next(_numbers)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


def flask_shop() -> Flask:
    """Return the same in Flask."""
    shop = Flask("shop")
    shop.secret_key = SECRET
    shop.add_url_rule("/untouched", "untouched", lambda: "ok")

    @shop.get("/read")
    def read() -> str:
        session.get("user")
        return "ok"

    @shop.get("/write")
    def write() -> str:
        session.get("user")
        session["number"] = next(_numbers)
        return "ok"

    return shop


class Visiting:
    """One browser that asks an application for one path again and again."""

    def __init__(self, app: WSGIApplication, path: str) -> None:
        """Come with the cookie of a visit before."""
        self._app = app
        self._environ: dict[str, Any] = EnvironBuilder(path=path).get_environ()
        self._cookie = ""
        if path != "/untouched" or not isinstance(app, Flask):
            self._environ["PATH_INFO"] = "/write"
            self()
            self._environ["PATH_INFO"] = path
        self._environ["HTTP_COOKIE"] = self._cookie

    def _start(self, _: str, headers: list[tuple[str, str]], *__: object) -> Callable[..., object]:
        for name, value in headers:
            if name == "Set-Cookie":
                self._cookie = value.partition(";")[0]
        return print

    def __call__(self) -> None:
        """Ask once."""
        body: Any = self._app(dict(self._environ), self._start)
        for _ in body:
            pass
        if hasattr(body, "close"):
            body.close()


def applications(url: str) -> dict[str, WSGIApplication]:
    """Return what is compared."""
    own, ours, ours_redis = flask_shop(), flask_shop(), flask_shop()
    for shop, where in ((ours, None), (ours_redis, url)):
        shop.session_interface = SessionInterface()
        shop.wsgi_app = Sessions(shop.wsgi_app, secrets=[SECRET], url=where)  # type: ignore[method-assign]
    return {
        "Sessions, Redis": Sessions(plain, secrets=[SECRET], url=url),
        "Sessions, cookie": Sessions(plain, secrets=[SECRET]),
        "Flask, its own cookie": own,
        "Flask, Sessions, cookie": ours,
        "Flask, Sessions, Redis": ours_redis,
    }


def wall(case: Callable[[], object]) -> float:
    """Return the time on the clock of one call in ns."""
    began = time.perf_counter_ns()
    for _ in range(_CALLS):
        case()
    return (time.perf_counter_ns() - began) / _CALLS


def table(url: str) -> list[tuple[str, ...]]:
    """Measure; return the rows."""
    cases: dict[str, Callable[[], object]] = {
        "no session": _without(),
        "a GET by redis_client": partial(redis_client(url, protocol=2).get, "key"),
        **{
            f"{name}: {path.strip('/')}": Visiting(app, path)
            for name, app in applications(url).items()
            for path in ("/untouched", "/read", "/write")
        },
    }
    cpu = measure(cases, calls=_CALLS, rounds=_ROUNDS)
    clock = in_turn({name: partial(wall, case) for name, case in cases.items()}, rounds=_ROUNDS)
    return [
        (name, *(f"{value / 1e3:.2f}" for value in (*cpu[name], cost(clock[name]).median)))
        for name in cases
    ]


def _without() -> Callable[[], object]:
    """Return a visit to the application without the middleware."""
    visiting = Visiting(lambda request, start: plain({**request, KEY: {}}, start), "/untouched")
    visiting._app = plain  # noqa: SLF001 - of this module
    return visiting


def main() -> None:
    """Print the table."""
    with valkey() as socket:
        rows = table(f"unix://{socket}")
    head = ("case", "CPU min (us)", "CPU median (us)", "clock median (us)")
    show("A request of one browser; the session holds a number.", head, rows)


if __name__ == "__main__":
    main()
