"""The cookie that names a session, and what an answer says because of it."""

from __future__ import annotations

import re
from itertools import islice
from typing import Final

from otelmon.errors import ConfigError
from otelmon.settings.text import shown


Headers = list[tuple[str, str]]

MOST: Final = 4
"""Cookies of one name that are tried: each may cost a round trip"""
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SECURE_NAMES: Final = ("__host-", "__secure-")


class Cookie:
    """One name, and how it is set: for this host and all its paths, out of scripts' reach."""

    def __init__(self, name: str | None, *, secure: bool) -> None:
        """Name it; the prefix `__Host-` has browsers take it from this host and over TLS only.

        Raises:
            ConfigError: no browser would take such a cookie.
        """
        given: object = name
        if given is None:
            given = "__Host-session" if secure else "session"
        if not isinstance(given, str) or not _NAME.fullmatch(given):
            raise ConfigError(f"cookie is {shown(given)}: give a name of letters, digits, _ and -.")
        self.name = given
        if not secure and self.name.lower().startswith(_SECURE_NAMES):
            raise ConfigError(
                f"cookie is {self.name!r}, which browsers take over TLS only, and secure is False: "
                "give a name without that prefix, or leave secure as it is."
            )
        self._begin = f"{self.name}="
        self._end = f"; Path=/; {'Secure; ' if secure else ''}HttpOnly; SameSite=Lax"

    def given(self, header: str) -> list[str]:
        """Return what the client gave, the first ones of several of the name.

        Another host of the domain may have given one of it, or an earlier version of the application
        for a path, and RFC 6265 section 4.2.2 has servers go by no order.
        """
        pairs = (each.strip() for each in header.split(";"))
        values = (pair[len(self._begin) :] for pair in pairs if pair.startswith(self._begin))
        return list(islice(values, MOST))

    def set(self, value: str, seconds: int) -> tuple[str, str]:
        """Return the header that gives it to the client."""
        return "Set-Cookie", f"{self._begin}{value}; Max-Age={seconds}{self._end}"

    def remove(self) -> tuple[str, str]:
        """Return the header that takes it away."""
        return self.set("", 0)


def vary(headers: Headers) -> Headers:
    """Return headers that say that the answer depends on the client's cookie."""
    named = [value for name, value in headers if name.lower() == "vary"]
    words = {word.strip().lower() for value in named for word in value.split(",")}
    if words & {"*", "cookie"}:
        return headers
    others = [pair for pair in headers if pair[0].lower() != "vary"]
    return [*others, ("Vary", ", ".join([*named, "Cookie"]))]


def private(headers: Headers) -> Headers:
    """Return headers that keep the answer out of shared caches, unless the application says more.

    What sets a cookie must not be handed to somebody else; RFC 9111 lets a cache keep it.
    """
    if any(name.lower() == "cache-control" for name, _ in headers):
        return headers
    return [*headers, ("Cache-Control", "private")]
