"""`RateLimit`: how often one client may ask, exactly over all processes of the server."""

from __future__ import annotations

import functools
import logging
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from otelmon import faults
from otelmon.errors import ConfigError
from otelmon.hardening import limit_measures
from otelmon.hardening.clients import Clients, Unlimited, named
from otelmon.hardening.fields import beside, fields, seconds
from otelmon.hardening.limit_measures import measures
from otelmon.hardening.limit_memory import MEMORY
from otelmon.hardening.limit_redis import LimitRedis
from otelmon.hardening.policies import Paths, Policy, plain, quotas_of_all, ruled
from otelmon.hardening.problem import problem, refuse
from otelmon.middleware.routes.places import inside
from otelmon.recommendations.unknown_clients import UNKNOWN
from otelmon.settings import UNNAMED
from otelmon.settings.arguments import listed, problems_of
from otelmon.settings.arguments import refuse as refuse_arguments
from otelmon.settings.rules import OFF
from otelmon.settings.text import shown
from otelmon.settings.variables import warn_once
from otelmon.stack import Monitor, settings_for


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from otelmon.hardening.clients import Named
    from otelmon.hardening.fields import Stand
    from otelmon.hardening.limit_measures import LimitMeasures
    from otelmon.hardening.policies import Path, Quota
    from otelmon.ledger.quotas import Answer
    from otelmon.settings import Settings
    from otelmon.views.response import Response


log = logging.getLogger("otelmon")

KEPT: Final = "otelmon.rate_limit"
"""Where a request's environ tells how its client stands, for a limit further in"""
_QUOTA_EXCEEDED: Final = "https://iana.org/assignments/http-problem-types#quota-exceeded"


class RateLimit:
    """Answers 429 to a client that asks too often, with Retry-After and problem+json.

    Without arguments each client may send RATE_LIMIT requests (100/minute), whatever they are for.
    *limit* replaces that, as text such as `100/minute;1000/hour`; `off` is no such limit.
    *policies* add limits for certain requests. A request passes if every policy that applies to it
    lets it pass; a refused one is counted under none of them. Requests are counted, not answers.

    A client is an address, for IPv6 a /64; TRUSTED_PROXIES says how many proxies are in front.
    *key* tells clients apart in another way: it is called with the environ and returns text or a
    whole number, or `RateLimit.UNLIMITED` for a client without a limit. If it returns None, an
    empty text or anything else, or raises, the address is taken instead. *allow* lists networks and
    *exempt* paths (see `Policy`) that are not limited; the endpoints of `monitor` never are. A
    request whose client cannot be told, as on a unix socket, passes; that is logged once and
    counted.

    All workers share the counts: in shared memory, or in Redis if REDIS_URL is set, there under
    OTEL_SERVICE_NAME. If the counts cannot be had within 0.25 s, the request passes and is counted
    as unchecked.

    *legacy_headers* adds X-RateLimit-Limit, -Remaining and -Reset (seconds).

    Raises:
        ConfigError: the settings or the arguments cannot be used.
    """

    UNLIMITED: Final = Unlimited.UNLIMITED
    """What *key* returns for a request that is not limited"""

    def __init__(  # noqa: PLR0913 - each is optional and named
        self,
        app: WSGIApplication,
        *,
        limit: str | None = None,
        policies: Sequence[Policy] = (),
        key: Callable[[WSGIEnvironment], Named] | None = None,
        allow: Iterable[str] = (),
        exempt: Iterable[Path] = (),
        legacy_headers: bool = False,
        settings: Settings | None = None,
    ) -> None:
        """Wrap *app*."""
        refuse_arguments(problems_of(app, settings, legacy_headers=legacy_headers))
        self.app = app
        self._settings = settings = settings_for(settings)
        limits = settings.limits()
        rate = limits.rate_limit if limit is None else limit
        is_off = isinstance(rate, str) and rate == OFF
        default = () if is_off else (Policy("default", rate),)
        more = listed("policies", policies, example="[Policy('login', '5/minute')]")
        self._rulings = () if settings.disabled else ruled([*default, *more])
        self._of_all = quotas_of_all(self._rulings)
        self._clients = Clients(
            limits.trusted_proxies, listed("allow", allow, example="['10.0.0.0/8']")
        )
        if key is not None and not callable(key):
            raise ConfigError(
                f"key is {shown(key)}: give what is called with the environ, or None."
            )
        self._key = key
        exempt = listed("exempt", exempt, example="['/static']")
        self._exempt = Paths(exempt) if exempt else None
        self._legacy = legacy_headers
        url = settings.redis().url if self._rulings else None
        self._redis = None if url is None else _in_redis(url, settings.service_name)
        self._warn_of_unknown = functools.cache(self._warned_of_unknown)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Let a request pass, or refuse it."""
        before: tuple[Stand, ...] = environ.get(KEPT, ())
        try:
            fresh, refused = self._asked(environ, before)
        except Exception as error:  # noqa: BLE001 - the request goes on without us
            self._failed(error)
            fresh, refused = (), ()
        if not fresh:
            return self.app(environ, start_response)
        stands = environ[KEPT] = before + fresh
        ours = fields(stands, legacy=self._legacy)
        if refused:
            return refuse(_refusal(refused, ours), environ, start_response)

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:  # noqa: ANN401 - as WSGI has it
            return start_response(status, beside(headers, ours), *rest)

        return self.app(environ, start)

    def close(self) -> None:
        """Let go of connections to Redis, if there are any; the next request opens new ones."""
        if self._redis is not None:
            self._redis.close()

    def _asked(
        self, environ: WSGIEnvironment, before: Sequence[Stand]
    ) -> tuple[tuple[Stand, ...], Sequence[Stand]]:
        """Count a request; return how its client stands, and under which of these it is refused.

        Nothing if it is not limited.
        """
        path = environ.get("PATH_INFO", "")
        quotas = self._of_all
        if quotas is None:
            quotas = self._quotas_of(environ.get("REQUEST_METHOD", ""), path)
        if before:
            counted = {quota for quota, _ in before}
            quotas = tuple(quota for quota in quotas if quota not in counted)
        if not quotas or self._is_exempt(path):
            return (), ()
        client = self._client(environ)
        if client is None:
            return (), ()
        answer = self._hit(quotas, client)
        stands = tuple(zip(quotas, answer.standings, strict=True))
        refused = [stand for stand in stands if not stand[1].admitted]
        self._book(refused, answer.evicted)
        return stands, refused

    def _quotas_of(self, method: str, path: str) -> tuple[Quota, ...]:
        """Return what is to be asked of a request, where that depends on it."""
        about = [ruling.quotas for ruling in self._rulings if ruling.is_about(method, path)]
        return about[0] if len(about) == 1 else tuple(chain.from_iterable(about))

    def _hit(self, quotas: Sequence[Quota], client: str) -> Answer:
        if self._redis is not None:
            return self._redis.hit(quotas, client)
        return MEMORY.hit(quotas, client, self._settings)

    def _is_exempt(self, path: str) -> bool:
        # Not by a path that some application would read as another one.
        if path in self._endpoints:
            return True
        return self._exempt is not None and self._exempt.have(path) and plain(path) == path

    @functools.cached_property
    def _endpoints(self) -> frozenset[str]:
        """Return the paths that a monitor further in answers instead of the application."""
        monitors = ((app, at) for app, at in inside(self.app) if isinstance(app, Monitor))
        return frozenset(at + path for app, at in monitors for path in app.endpoints)

    def _client(self, environ: WSGIEnvironment) -> str | None:
        """Return whose a request is; None if it is not limited."""
        found = self._clients.of(environ)
        if found.is_allowed:
            return None
        name = self._named(environ)
        if name is not None:
            return None if isinstance(name, Unlimited) else name
        if found.key is None:
            self._measures.outcome(UNKNOWN)(1)
            self._warn_of_unknown()
        return found.key

    def _named(self, environ: WSGIEnvironment) -> str | Unlimited | None:
        """Return whom the application's own key names; None if nobody."""
        if self._key is None:
            return None
        try:
            return named(self._key(environ))
        except Exception as error:  # noqa: BLE001 - a key that fails must not switch the limit off
            faults.report("rate_limit_key", error)
            return None

    @functools.cached_property
    def _measures(self) -> LimitMeasures:
        """Return the figures, made at the first request: see `limit_measures`."""
        return measures()

    def _warned_of_unknown(self) -> None:
        log.warning(
            "Requests whose client cannot be told are not limited. Behind proxies that set "
            "X-Forwarded-For, set TRUSTED_PROXIES to their number; without any, to 0."
        )

    def _book(self, refused: Sequence[Stand], evicted: int) -> None:
        """Count what came of a request; whatever fails here changes nothing of it."""
        try:
            figures = self._measures
            (figures.limited if refused else figures.allowed)(1)
            for quota, _ in refused:
                figures.refused(quota.name)(1)
            if evicted:
                figures.evicted(evicted)
        except Exception as error:  # noqa: BLE001 - as above
            faults.report("rate_limit_measures", error)

    def _failed(self, error: Exception) -> None:
        faults.report("rate_limit", error)
        try:
            figures = self._measures
            figures.outcome(limit_measures.UNCHECKED)(1)
            figures.failed(error)
        except Exception as fault:  # noqa: BLE001 - as in `_book`
            faults.report("rate_limit_measures", fault)


def _in_redis(url: str, service: str) -> LimitRedis:
    counts = LimitRedis(url, service)
    if service == UNNAMED:
        warn_once(
            f"The rate limits in Redis count for {UNNAMED}, as do those of all other applications "
            "there that have no name: a client's requests to one count for the others. Set "
            "OTEL_SERVICE_NAME to what this one is called on all its machines."
        )
    return counts


def _refusal(refused: Sequence[Stand], ours: Iterable[tuple[str, str]]) -> Response:
    wait = max(1, *(seconds(standing) for _, standing in refused))
    what = " and ".join(
        f"{quota.requests} in {quota.seconds} s ({quota.name})" for quota, _ in refused
    )
    return problem(
        "429 Too Many Requests",
        f"There were more requests than are allowed: {what}. Try again in {wait} s.",
        ("Retry-After", str(wait)),
        *ours,
        type_=_QUOTA_EXCEEDED,
        title="Request cannot be satisfied as assigned quota has been exceeded",
        **{"violated-policies": [quota.name for quota, _ in refused]},
    )
