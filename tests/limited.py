"""A rate limit in this process, a clock to set, and who asks."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

from otelmon import RateLimit, Settings
from otelmon.hardening.limit_memory import MEMORY


if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment


SECOND = 1_000_000_000


made: list[RateLimit] = []
"""What tests are to close"""


def close_limits() -> None:
    """Close the connections of all limits, and have the next ones begin anew."""
    MEMORY.forget()
    while made:
        made.pop().close()


class Clock:
    """A time that stands until it is set."""

    def __init__(self, now: int = 10**15) -> None:
        """Begin long after the machine's start."""
        self.now = now

    def __call__(self) -> int:
        return self.now


@dataclass(frozen=True)
class Answered:
    """What an application answered."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def __getitem__(self, name: str) -> str | None:
        """Return a header that is there once at the most."""
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(found) <= 1, found
        return found[0] if found else None


def ok(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer, as any application."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]


def limited(app: Any = ok, *, env: dict[str, str] | None = None, **options: Any) -> RateLimit:  # noqa: ANN401 - as RateLimit takes them
    """Return a limit that this environment alone rules, with counts that no other test has."""
    MEMORY.forget()
    limit = RateLimit(app, settings=Settings.from_env(env or {}), **options)
    made.append(limit)
    return limit


def asked(app: Any, path: str = "/", address: str = "9.9.9.9", **environ: str) -> Answered:  # noqa: ANN401 - any application
    """Ask once."""
    heard: list[Any] = []

    def start(status: str, headers: list[tuple[str, str]], *_: object) -> Any:  # noqa: ANN401 - as WSGI has it
        heard[:] = [int(status[:3]), list(headers)]

    given: dict[str, Any] = {"PATH_INFO": path, "REMOTE_ADDR": address, "wsgi.input": BytesIO()}
    given = {"REQUEST_METHOD": "GET", **given, **environ}
    found = app(given, start)
    try:
        body = b"".join(found)
    finally:
        getattr(found, "close", bool)()
    status, headers = heard
    return Answered(status, headers, body)


def passed(app: Any, times: int, **options: Any) -> int:  # noqa: ANN401 - as for asked()
    """Ask *times* times; return how often that was not refused."""
    return sum(asked(app, **options).status != 429 for _ in range(times))
