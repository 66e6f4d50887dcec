"""One POST to an address of the operator's: with a deadline, without redirects, nothing shown of it.

`http.client` and no library of the application's, so that neither its instrumentation nor its patches
take what otelmon sends for the application's own.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from otelmon.errors import OtelmonError
from otelmon.loading import apart_from_forks


if TYPE_CHECKING:
    import http.client
    from collections.abc import Mapping


SECONDS: Final = 5.0
"""For each of: to connect, to send, to read on; `abort` ends the whole"""
_SUCCESS: Final = range(200, 300)
# What is wrong with the message itself does not become right by sending it again.
_UNWANTED: Final = frozenset((400, 413, 422))
# Of an answer that nobody reads: so much is taken in for the peer to see its end.
_ANSWER_BYTES: Final = 64 * 1024


class RefusedError(OtelmonError):
    """The answer was no success; a redirect is none."""

    def __init__(self, status: int) -> None:
        """Keep the *status* alone: an answer may hold anything."""
        super().__init__(f"HTTP {status}")
        self.status = status

    @property
    def for_good(self) -> bool:
        """Tell whether the same message will always be refused."""
        return self.status in _UNWANTED


class Address:
    """Where to post to. Its text holds no credentials, and no path, which may be one."""

    def __init__(self, url: str, *, path: str = "", seconds: float = SECONDS) -> None:
        """Take an http or https *url*; *path* is appended to its own."""
        parts = urlsplit(url)
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port
        own = parts.path.rstrip("/") if path else parts.path or "/"
        self._target = own + path + (f"?{parts.query}" if parts.query else "")
        self._seconds = seconds
        self._connection: http.client.HTTPConnection | None = None
        self._aborted = False
        self._authorization = {}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            self._authorization["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        self.began: float | None = None
        """When the POST that is under way began, by the monotonic clock"""

    def post(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Send JSON.

        Raises:
            RefusedError: the answer was not 2xx.
            TimeoutError: it was aborted; what had come of an answer by then is none.
            OSError, http.client.HTTPException: there was none.
        """
        # Here, because most processes never post; by a thread of its courier's.
        with apart_from_forks():
            import http.client

        make = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = make(self._host, self._port, timeout=self._seconds)
        self._connection, self.began, self._aborted = connection, time.monotonic(), False
        given = {
            "Content-Type": "application/json",
            "User-Agent": "otelmon",
            "Connection": "close",
            **self._authorization,
            **headers,
        }
        try:
            connection.request("POST", self._target, body, given)
            response = connection.getresponse()
            # An answer that is cut within its headers looks like one that has no more of them.
            if self._aborted:
                raise TimeoutError
            if response.status not in _SUCCESS:
                raise RefusedError(response.status)
            response.read(_ANSWER_BYTES)
        finally:
            self._connection, self.began = None, None
            connection.close()

    def abort(self) -> None:
        """End the POST that is under way; to be called by another thread."""
        connection, self._aborted = self._connection, True
        found = None if connection is None else connection.sock
        if found is not None:
            with contextlib.suppress(OSError):
                found.shutdown(socket.SHUT_RDWR)
