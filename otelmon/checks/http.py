"""Another service, asked over HTTP."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from otelmon.errors import ConfigError, OtelmonError
from otelmon.loading import apart_from_forks


# The check's own deadline comes sooner; this one ends the thread that it leaves behind.
_SECONDS: Final = 30.0
_UNUSABLE: Final = (
    "The url of an HttpCheck cannot be used: give http://host:port/path or https://host/path."
)


class HttpStatusError(OtelmonError):
    """A service answered, and not well."""


class HttpCheck:
    """`GET` of *url* is answered with a status below 400. Redirects are not followed."""

    def __init__(self, url: str) -> None:
        """Ask nothing yet.

        Raises:
            ConfigError: *url* is no address of http or https; it is not shown, as it may be secret.
        """
        if not isinstance(url, str):
            raise ConfigError(_UNUSABLE)
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ConfigError(_UNUSABLE) from None
        sound = parts.scheme in ("http", "https") and parts.hostname and port != 0
        if not sound or not url.isprintable() or " " in url:
            raise ConfigError(_UNUSABLE)
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", port
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def __call__(self) -> None:
        """Ask it.

        Raises:
            HttpStatusError: the status is 400 or above.
            OSError, http.client.HTTPException: there is no answer.
        """
        # Here, because most processes never ask.
        with apart_from_forks():
            import http.client

        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=_SECONDS)
        try:
            connection.request("GET", self._target, headers={"User-Agent": "otelmon"})
            status = connection.getresponse().status
        finally:
            connection.close()
        if status >= 400:
            raise HttpStatusError(f"The answer's status is {status}.")
