"""Who asks: the key that a client's requests are counted under, or that nobody can tell.

The address is what the server saw (REMOTE_ADDR), or behind proxies what the nearest trusted one
wrote into X-Forwarded-For. Of that list a client writes the beginning; each proxy appends whom it
saw. So with n trusted proxies the n-th entry from the end is the client, as in werkzeug's ProxyFix,
and whatever stands before it is not believed.
"""

from __future__ import annotations

import functools
import hashlib
import ipaddress
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from otelmon.errors import ConfigError
from otelmon.settings.text import shown


if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import WSGIEnvironment


Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# What a provider gives to one customer, who may use each address in it.
_IPV6_PREFIX: Final = 64
_REMEMBERED: Final = 4096
# What proxies add, also those that do not say for whom.
_OF_PROXIES: Final = (
    *("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_VIA"),
    *("HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST"),
)
_LONGEST: Final = 64


class Client(NamedTuple):
    """What an address says of who is behind it."""

    key: str | None
    """What is counted; None if nobody can tell"""
    is_allowed: bool
    is_near: bool
    """It is none of the Internet's: perhaps a proxy's"""


UNKNOWN: Final = Client(None, is_allowed=False, is_near=True)


class Clients:
    """Tells clients apart."""

    def __init__(self, trusted_proxies: int | None, allow: Iterable[str] = ()) -> None:
        """Believe so many proxies, None if nobody said; *allow* are networks that are not limited.

        Raises:
            ConfigError: one of them is no network.
        """
        self._trusted = trusted_proxies
        self._allow = tuple(map(_network, allow))
        self._remembered = functools.lru_cache(_REMEMBERED)(self._judged)

    def of(self, environ: WSGIEnvironment) -> Client:
        """Return who sent a request."""
        seen = str(environ.get("REMOTE_ADDR") or "")
        if self._trusted:
            forwarded = str(environ.get("HTTP_X_FORWARDED_FOR") or "")
            entries = forwarded.split(",")
            if forwarded and len(entries) >= self._trusted:
                seen = entries[-self._trusted]
        # A header can be long, and what is remembered is to be small.
        found = self._remembered(seen) if len(seen) <= _LONGEST else UNKNOWN
        if self._trusted is None and found.is_near and _is_forwarded(environ):
            return UNKNOWN
        return found

    def _judged(self, text: str) -> Client:
        address = parsed(text)
        if address is None:
            return UNKNOWN
        is_allowed = any(address in network for network in self._allow)
        return Client(_key(address), is_allowed, is_near=not address.is_global)


class Unlimited(Enum):
    """What a key says of a request that is not limited: `RateLimit.UNLIMITED`."""

    UNLIMITED = "unlimited"


Named = str | int | Unlimited | None
"""What a key may return"""


def named(given: object) -> str | Unlimited | None:
    """Return whom a key names; None if nobody, so that the address tells.

    A name is never an address, so that no client can ask at the cost of another's.

    Raises:
        TypeError: the key has returned something else than a key may.
    """
    if given is None or given == "":
        return None
    if isinstance(given, Unlimited):
        return given
    if isinstance(given, str | int) and not isinstance(given, bool):
        return short(f"={given}")
    raise TypeError(
        f"key has returned a {type(given).__qualname__}: return text or a whole number, None for by "
        "the address, or RateLimit.UNLIMITED."
    )


def short(name: str) -> str:
    """Return a client's name as it is, or a hash of one that is long: names are remembered."""
    if len(name) <= _LONGEST:
        return name
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def _is_forwarded(environ: WSGIEnvironment) -> bool:
    return any(map(environ.get, _OF_PROXIES))


def parsed(text: str) -> Address | None:
    """Return the address in an entry of X-Forwarded-For, where some proxies add a port."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address


def _key(address: Address) -> str:
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((int(address), _IPV6_PREFIX), strict=False))


def _network(given: object) -> Network:
    # What is no text may be one too: a number is an address to the library.
    if isinstance(given, str | Network | Address):
        try:
            return ipaddress.ip_network(str(given), strict=False)
        except ValueError:
            pass
    raise ConfigError(
        f"allow has {shown(given)}, which is no network: give an address such as 127.0.0.1, or a "
        "network such as 10.0.0.0/8."
    )
