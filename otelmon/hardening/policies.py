"""What is allowed how often: policies, and the requests that they are about."""

from __future__ import annotations

import importlib.util
import posixpath
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otelmon.errors import ConfigError
from otelmon.settings.arguments import is_encodable, listed
from otelmon.settings.rules import Rate
from otelmon.settings.text import shown


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


MOST_REQUESTS: Final = 2**31 - 1
MOST_SECONDS: Final = 366 * 86_400
MOST_QUOTAS: Final = 8
"""Of all policies together: each is a look-up in each request that it is about"""
# A string of a structured field (RFC 9651) that needs no escapes, and an attribute of a figure.
_METHOD: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_NAME: Final = re.compile(r"[A-Za-z0-9_.:/-]{1,64}")

Path = str | re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Policy:
    """How often one client may send certain requests.

    *rate* is text such as `5/minute` or `100/minute;1000/hour`; all parts of it must be kept.
    *paths* says for which paths it holds, without any for all: a prefix stands for whole segments
    (`/login` is also `/login/form`, not `/logins`), a compiled pattern must match the whole path.
    *methods* are names such as `POST`, without any all; `GET` is also `HEAD`. Clients and figures
    show the *name*, and each name has counts of its own.
    """

    name: str
    rate: str | Rate
    paths: tuple[Path, ...] = ()
    methods: tuple[str, ...] = ()


class Quota(NamedTuple):
    """So many requests in so many seconds, by the name that is shown."""

    name: str
    requests: int
    seconds: int
    shown: str
    """Its item of the field RateLimit-Policy"""
    quoted: str
    """Its name there and in RateLimit"""


class Paths:
    """Prefixes and patterns that a path may have."""

    def __init__(self, paths: Iterable[Path]) -> None:
        """Take them; raises ConfigError for a prefix that does not begin with a slash."""
        paths = tuple(paths)
        for path in paths:
            if not _is_text(path.pattern if isinstance(path, re.Pattern) else path):
                raise ConfigError(
                    f"The path {shown(path)} is no text: give one, or a compiled pattern."
                )
        prefixes = [path for path in paths if isinstance(path, str)]
        for prefix in prefixes:
            if not prefix.startswith("/"):
                raise ConfigError(f"The path {shown(prefix)} is no path: begin it with a slash.")
        # As servers hand over a path: its bytes, read as latin-1.
        self._prefixes = tuple(prefix.rstrip("/").encode().decode("latin-1") for prefix in prefixes)
        self._patterns = tuple(path.fullmatch for path in paths if isinstance(path, re.Pattern))

    def have(self, path: str) -> bool:
        """Tell whether one of them fits."""
        for prefix in self._prefixes:
            if path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/"):
                return True
        return any(fits(path) for fits in self._patterns)


def plain(path: str) -> str:
    """Return a path without empty parts and dots, as some applications read it.

    Some servers hand over the target of `GET login` as it is, which has frameworks put the slash.
    """
    if path[:1] in ("/", "") and "//" not in path and "/." not in path:
        return path
    return posixpath.normpath("/" + path.lstrip("/"))


class Ruling:
    """A policy that was judged."""

    def __init__(self, policy: Policy) -> None:
        """Judge it; raises ConfigError."""
        name: object = policy.name
        if not isinstance(name, str) or _NAME.fullmatch(name) is None:
            raise ConfigError(
                f"A policy is named {shown(name)}: give up to 64 letters, digits and _ . : / -."
            )
        paths = _several(policy, policy.paths, "('/login',)")
        methods = _several(policy, policy.methods, "('POST',)")
        for method in methods:
            if not isinstance(method, str) or _METHOD.fullmatch(method) is None:
                raise ConfigError(
                    f"The policy {name!r} has the method {shown(method)}: give a name like 'POST'."
                )
        rates = _rates(policy)
        self.quotas = tuple(
            _quota(policy.name if len(rates) == 1 else f"{policy.name}-{rate.seconds}s", rate)
            for rate in rates
        )
        self._paths = Paths(paths) if paths else None
        names = {method.upper() for method in methods}
        self._methods = names | {"HEAD"} if "GET" in names else names

    @property
    def is_about_all(self) -> bool:
        """Tell whether it is about every request."""
        return not self._methods and self._paths is None

    def is_about(self, method: str, path: str) -> bool:
        """Tell whether the policy is about a request, also by another spelling of its path."""
        if self._methods and method not in self._methods:
            return False
        return self._paths is None or self._paths.have(path) or self._paths.have(plain(path))


def ruled(policies: Sequence[Policy]) -> tuple[Ruling, ...]:
    """Judge policies that hold together.

    Raises:
        ConfigError: one cannot be used, two have one name, or there are too many.
    """
    for policy in policies:
        if not isinstance(policy, Policy):
            raise ConfigError(
                f"policies has {shown(policy)}, which is none: give Policy('login', '5/minute')."
            )
    rulings = tuple(map(Ruling, policies))
    names = Counter(quota.name for ruling in rulings for quota in ruling.quotas)
    twice = [name for name, times in names.items() if times > 1]
    if twice:
        raise ConfigError(f"Two policies are named {twice[0]!r}: give each a name of its own.")
    if len(names) > MOST_QUOTAS:
        raise ConfigError(f"There are {len(names)} limits: give at most {MOST_QUOTAS}.")
    return rulings


def quotas_of_all(rulings: Sequence[Ruling]) -> tuple[Quota, ...] | None:
    """Return the quotas of every request, None if they depend on the request."""
    if not all(ruling.is_about_all for ruling in rulings):
        return None
    return tuple(quota for ruling in rulings for quota in ruling.quotas)


def _several(policy: Policy, given: object, example: str) -> tuple[Any, ...]:
    # A text is a sequence of texts too, and its letters fit nothing.
    if isinstance(given, str):
        raise ConfigError(
            f"The policy {policy.name!r} has {shown(given)}, which is one text: give a tuple, "
            f"as in ({shown(given)},)."
        )
    return listed(f"A list of the policy {policy.name!r}", given, example=example)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and is_encodable(value)


def _quota(name: str, rate: Rate) -> Quota:
    return Quota(name, *rate, f'"{name}";q={rate.requests};w={rate.seconds}', f'"{name}"')


def _rates(policy: Policy) -> list[Rate]:
    given: object = policy.rate
    if not isinstance(given, str | Rate):
        raise _refused(policy)
    rates = [given] if isinstance(given, Rate) else _parsed(policy, given)
    for rate in rates:
        if not (_is_whole(rate.requests, MOST_REQUESTS) and _is_whole(rate.seconds, MOST_SECONDS)):
            raise _refused(policy)
    return rates


def _is_whole(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def _parsed(policy: Policy, text: str) -> list[Rate]:
    if importlib.util.find_spec("limits") is None:
        raise ConfigError(
            "To read rates takes limits, which is not installed: pip install 'otelmon[hardening]'."
        )
    # Here, because only who writes rates is to pay for the import.
    from limits import parse_many

    try:
        return [Rate(item.amount, item.get_expiry()) for item in parse_many(text)]
    except ValueError:
        raise _refused(policy) from None


def _refused(policy: Policy) -> ConfigError:
    return ConfigError(
        f"The rate of the policy {policy.name!r} is {shown(policy.rate)}: give counts from 1 up in a "
        "second to a year, like 100/minute, 10 per 2 hours or 100/minute;1000/hour."
    )
