"""Observe any WSGI application under any server, exactly over all of its processes.

from otelmon import monitor

app = monitor(app)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from otelmon.alerts.registry import add_rule
from otelmon.alerts.rules import Rule
from otelmon.checks import DiskCheck, HttpCheck, RedisCheck, SqlAlchemyCheck
from otelmon.checks.registry import add_check
from otelmon.errors import ConfigError, OtelmonError
from otelmon.metrics.api.view import View
from otelmon.middleware.routes import set_route
from otelmon.observers import (
    cache_hit,
    cache_miss,
    observe_http_client,
    observe_log,
    observe_queue,
)
from otelmon.settings import Settings
from otelmon.stack import Monitor, meter_provider, metrics_data, monitor


if TYPE_CHECKING:
    from otelmon.caches.clients import redis_client
    from otelmon.caches.query_cache import QueryCache
    from otelmon.engines import create_engine, engine_options
    from otelmon.hardening.body_limit import BodyLimit
    from otelmon.hardening.harden import harden
    from otelmon.hardening.policies import Policy
    from otelmon.hardening.rate_limit import RateLimit
    from otelmon.hardening.sessions.middleware import Sessions
    from otelmon.hardening.static import Static, static_url


__all__ = [
    "BodyLimit",
    "ConfigError",
    "DiskCheck",
    "HttpCheck",
    "Monitor",
    "OtelmonError",
    "Policy",
    "QueryCache",
    "RateLimit",
    "RedisCheck",
    "Rule",
    "Sessions",
    "Settings",
    "SqlAlchemyCheck",
    "Static",
    "View",
    "add_check",
    "add_rule",
    "cache_hit",
    "cache_miss",
    "create_engine",
    "engine_options",
    "harden",
    "meter_provider",
    "metrics_data",
    "monitor",
    "observe_http_client",
    "observe_log",
    "observe_queue",
    "redis_client",
    "set_route",
    "static_url",
]
__version__ = "0.1.0"

# What many applications do without is imported where its name is first used, in their set-up: each
# worker imports this package, and the rest of it is a fifth of what that costs.
_LATER: Final = {
    "BodyLimit": "hardening.body_limit",
    "Policy": "hardening.policies",
    "QueryCache": "caches.query_cache",
    "RateLimit": "hardening.rate_limit",
    "Sessions": "hardening.sessions.middleware",
    "Static": "hardening.static",
    "create_engine": "engines",
    "engine_options": "engines",
    "harden": "hardening.harden",
    "redis_client": "caches.clients",
    "static_url": "hardening.static",
}


def _of_later(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    return found


def __dir__() -> list[str]:
    """Return all names, those too that are not imported yet."""
    return sorted({*globals(), *_LATER})


# Not where types are checked: a name that does not exist is to be found there.
if not TYPE_CHECKING:
    __getattr__ = _of_later
