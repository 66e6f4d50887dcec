"""The hosts whose names may be shown: those that the user allows, and no other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otelmon.errors import ConfigError
from otelmon.instruments.observing import OTHER


if TYPE_CHECKING:
    from collections.abc import Iterable


_WILDCARD: Final = "*."
_NOT_IN_A_NAME: Final = frozenset("*/@?# \t\r\n")
# Of one host; requests to more of them have no port.
_MAX_PORTS: Final = 16


class Hosts:
    """Names as `api.example.org` and patterns as `*.example.org`, to tell hosts by.

    A pattern stands for every host below its domain and is shown as itself: names below it may
    be made from what clients say, one for each customer. All other hosts are `_OTHER`.
    """

    def __init__(self, hosts: Iterable[str]) -> None:
        """Take the names; ConfigError tells of each that is none."""
        names = [hosts] if isinstance(hosts, str) else list(hosts)
        problems = [
            f"The host {name!r} cannot be observed: give a name such as 'api.example.org' or a "
            "pattern such as '*.example.org', without scheme, port and path."
            for name in names
            if not _is_name(name)
        ]
        if problems:
            raise ConfigError(*problems)
        self._exact: dict[str, str] = {}
        self._below: dict[str, str] = {}
        for own in map(_ascii, names):
            if own.startswith(_WILDCARD):
                self._below[own[1:]] = own
            else:
                self._exact[own] = own
        # The most exact pattern is asked first.
        self._suffixes = sorted(self._below, key=len, reverse=True)
        self._ports: dict[str, set[int]] = {name: set() for name in (*self._exact, *self.patterns)}

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns among them."""
        return tuple(self._below.values())

    def shown(self, host: str) -> str:
        """Return the name under which *host* is shown."""
        own = _plain(host)
        found = self._exact.get(own)
        if found is not None:
            return found
        for suffix in self._suffixes:
            if own.endswith(suffix):
                return self._below[suffix]
        return OTHER

    def port(self, shown: str, port: int | None) -> int | None:
        """Return *port* if it is one of the first few of the host *shown*, else None."""
        known = self._ports.get(shown)
        if known is None or port is None:
            return None
        if port in known:
            return port
        if len(known) >= _MAX_PORTS:
            return None
        known.add(port)
        return port


def _ascii(name: str) -> str:
    """Return a name in the spelling in which clients ask for it."""
    return _plain(name if name.isascii() else name.encode("idna").decode())


def _plain(name: str) -> str:
    """Return a host in lower case, without brackets and a dot at the end."""
    return name.lower().strip("[]").rstrip(".")


def _is_name(name: str) -> bool:
    try:
        own = _ascii(name)
    except UnicodeError:
        return False
    rest = own.removeprefix(_WILDCARD)
    # A colon is a port, except in an IPv6 address, which has two or more.
    return bool(rest) and not _NOT_IN_A_NAME & set(rest) and rest.count(":") != 1
