"""`harden(app)`: what stands between the clients and an application, in the order that it needs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from otelmon import announcement
from otelmon.errors import ConfigError
from otelmon.hardening.body_limit import BodyLimit
from otelmon.hardening.rate_limit import RateLimit
from otelmon.hardening.sessions.middleware import Sessions
from otelmon.hardening.static import Static
from otelmon.settings.arguments import problems_of, refuse
from otelmon.stack import Monitor, settings_for


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

    from otelmon.hardening.clients import Named
    from otelmon.hardening.policies import Path, Policy
    from otelmon.settings import Settings
    from otelmon.settings.rules import Off

    Part = Callable[[WSGIApplication], WSGIApplication]


def harden(  # noqa: PLR0913 - each is optional and named
    app: WSGIApplication,
    settings: Settings | None = None,
    *,
    policies: Sequence[Policy] = (),
    key: Callable[[WSGIEnvironment], Named] | None = None,
    allow: Iterable[str] = (),
    exempt: Iterable[Path] = (),
    body_limits: Mapping[str, int | Off] | None = None,
    secure: bool = True,
) -> WSGIApplication:
    """Put `Static`, `RateLimit`, `BodyLimit` and `Sessions` around *app*; return the result.

    The settings say which of them: `Static` only with STATIC_ROOT and `Sessions` only with
    SESSION_SECRET, `RateLimit` unless RATE_LIMIT is off and `BodyLimit` unless MAX_CONTENT_LENGTH
    is. When the server begins to serve, `monitor` logs what is in use. `RateLimit` gets *policies*,
    *key*, *allow* and *exempt*, `BodyLimit` gets *body_limits* as its prefixes, `Sessions` gets
    *secure*. Whoever needs other options puts the parts around the application one by one.

    A request passes them in the order above. So a static file does not count against the rate
    limit, the body of a request over the rate limit is not read, and a body that is too long
    touches no session. Write `monitor(harden(app))`, so that refusals are counted; around an *app*
    that is monitored already, `monitor` stays the outermost by itself.

    OTELMON_DISABLED switches the two limits off. Static files and sessions stay, because the
    application does not work without them.

    Raises:
        ConfigError: settings or arguments cannot be used, or a library is missing; with all of it.
    """
    refuse(problems_of(app, settings, secure=secure))
    settings = settings_for(settings)
    settings.warn_of_unheeded()

    def sessions(inner: WSGIApplication) -> WSGIApplication:
        has_secret = settings.sessions().secrets
        return Sessions(inner, secure=secure, settings=settings) if has_secret else inner

    def body_limit(inner: WSGIApplication) -> WSGIApplication:
        return BodyLimit(inner, prefixes=body_limits, settings=settings)

    def rate_limit(inner: WSGIApplication) -> WSGIApplication:
        return RateLimit(
            inner, policies=policies, key=key, allow=allow, exempt=exempt, settings=settings
        )

    def static(inner: WSGIApplication) -> WSGIApplication:
        return inner if settings.static().root is None else Static(inner, settings=settings)

    limits = () if settings.disabled else (body_limit, rate_limit)
    wrap = partial(_wrapped, parts=(sessions, *limits, static))
    if isinstance(app, Monitor):
        app.insert(wrap)
    else:
        app = wrap(app)
    announcement.note(_described(settings, secure=secure))
    return app


def _wrapped(app: WSGIApplication, *, parts: Iterable[Part]) -> WSGIApplication:
    """Put all *parts* around *app*, the first one innermost; ConfigError has all that are wrong."""
    problems: list[str] = []
    for part in parts:
        try:
            app = part(app)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(*problems)
    return app


def _described(settings: Settings, *, secure: bool) -> str:
    """Say what is in use, and of what is not, why."""
    static, sessions = settings.static(), settings.sessions()
    stays_out = "off, as {} is not set".format
    parts = {
        "static files": f"below {static.prefix}" if static.root else stays_out("STATIC_ROOT"),
        **_limits(settings),
        "sessions": _kept(settings, secure=secure)
        if sessions.secrets
        else stays_out("SESSION_SECRET"),
    }
    return "harden: " + "; ".join(f"{name} {how}" for name, how in parts.items()) + "."


def _limits(settings: Settings) -> dict[str, str]:
    if settings.disabled:
        return {"limits": "off, as OTELMON_DISABLED says"}
    rate, longest = settings.limits().rate_limit, settings.bodies().max_content_length
    return {
        "rate limit": rate if isinstance(rate, str) else f"{rate.requests} in {rate.seconds} s",
        "body limit": longest if isinstance(longest, str) else f"{longest} bytes",
    }


def _kept(settings: Settings, *, secure: bool) -> str:
    where = "in Redis" if settings.redis().url else "in signed cookies"
    return f"{where}, over https only" if secure else f"{where}, over plain http too"
