"""Somebody with a browser: keeps the cookies that it is given, sends forms."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from tests.gunicorn_server import ask


if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.gunicorn_server import Answer


class Visitor:
    """One browser. It also sends cookies that are meant for TLS only."""

    def __init__(self, port: int, cookies: Mapping[str, str] | None = None) -> None:
        """Visit a server with these cookies."""
        self._port = port
        self.cookies = dict(cookies or {})
        self.workers: set[str] = set()

    def get(self, path: str) -> Answer:
        """Look at a page."""
        return self._ask("GET", path)

    def post(self, path: str, **form: str) -> Answer:
        """Send a form."""
        return self._ask("POST", path, urlencode(form).encode())

    def _ask(self, method: str, path: str, body: bytes | None = None) -> Answer:
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if body is not None else {}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={each}" for name, each in self.cookies.items())
        answer = ask(self._port, path, method=method, headers=headers, body=body)
        self.workers.add(answer.headers.get("X-Pid", ""))
        self._take(answer.headers.get("Set-Cookie", ""))
        return answer

    def _take(self, given: str) -> None:
        pair, *flags = given.split("; ")
        name, _, value = pair.partition("=")
        if "Max-Age=0" in flags:
            self.cookies.pop(name, None)
        elif name:
            self.cookies[name] = value
