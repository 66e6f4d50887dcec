"""What is logged once when an instance begins to serve: what is mounted, open, hidden or idle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from otelmon.middleware import routes
from otelmon.settings import is_set
from otelmon.settings.owned import used


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from _typeshed.wsgi import WSGIApplication

    from otelmon.settings import Settings


# Read by parts that are not always in use: whoever sets one of them may wait for nothing.
_IDLE: Final = (
    "DB_POOL_SIZE",
    "DB_MAX_OVERFLOW",
    "DB_POOL_TIMEOUT",
    "DB_POOL_RECYCLE",
    "DB_POOL_PRE_PING",
    "MAX_CONTENT_LENGTH",
)


_notes: dict[str, None] = {}


def note(line: str) -> None:
    """Have a line said too, once, when this process's instance begins to serve."""
    _notes[line] = None


class Log(Protocol):
    """Where to say it: a logging.Logger, or gunicorn's."""

    def info(self, message: str, /, *args: object) -> None:
        """Say what is as it should be."""

    def warning(self, message: str, /, *args: object) -> None:
        """Say what somebody should look at."""


def announce(
    settings: Settings, paths: Sequence[str], apps: Iterable[WSGIApplication], *, log: Log
) -> None:
    """Say what answers at *paths* before each of *apps*, and what there is to know about it."""
    port = (
        f"{settings.prometheus_host}:{settings.prometheus_port}"
        if settings.enable_prometheus
        else "off"
    )
    log.info("otelmon answers %s; metrics port: %s.", ", ".join(paths) or "nothing", port)
    for line in _notes:
        log.info("%s", line)
    if settings.token is None and paths:
        _warn_of_open(", ".join(paths), log)
    for path in sorted(set(paths) & {rule for app in apps for rule in routes.rules(app)}):
        log.warning(
            "The application's own %s is hidden by otelmon's. OTELMON_PREFIX moves otelmon's "
            "endpoints, OTELMON_ENDPOINTS_OFF=%s leaves this one to the application.",
            path,
            path.removeprefix(settings.prefix),
        )
    idle = [name for name in _IDLE if name in settings.owned and name not in used()]
    if idle:
        log.warning(
            "%s: set, but no part of otelmon that is in use reads it. Unset it, unless the "
            "application itself does.",
            ", ".join(idle),
        )
    if settings.recommendations_silenced:
        _warn_of_unknown(settings.recommendations_silenced, log)


def _warn_of_open(paths: str, log: Log) -> None:
    how, way_out = "not set", "Set it"
    if is_set("OTELMON_TOKEN"):
        how = "set, but not in force, as the settings given in code have no token"
        way_out = "Give Settings.from_env(...)"
    log.warning(
        "OTELMON_TOKEN is %s, so anybody who reaches the application can read %s. "
        "%s to ask for a Bearer token or Basic password.",
        how,
        paths,
        way_out,
    )


def _warn_of_unknown(silenced: Iterable[str], log: Log) -> None:
    # Only who silences one is to pay for the import.
    from otelmon.recommendations.catalogue import RULES

    known = {name for rule in RULES for name in (rule.id.lower(), rule.slug)}
    unknown = [each for each in silenced if each.lower() not in known]
    if unknown:
        log.warning(
            "RECOMMENDATIONS_SILENCED has %s, which silences nothing. There are %s.",
            ", ".join(unknown),
            ", ".join(f"{rule.id} ({rule.slug})" for rule in RULES),
        )
