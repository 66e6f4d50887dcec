"""Observe any WSGI application under any server, exactly over all of its processes.

from otelmon import monitor

app = monitor(app)
"""

from __future__ import annotations

from otelmon.alerts.registry import add_rule
from otelmon.alerts.rules import Rule
from otelmon.caches.clients import redis_client
from otelmon.caches.query_cache import QueryCache
from otelmon.checks import DiskCheck, HttpCheck, RedisCheck, SqlAlchemyCheck
from otelmon.checks.registry import add_check
from otelmon.engines import create_engine, engine_options
from otelmon.errors import ConfigError, LedgerError, OtelmonError
from otelmon.hardening.body_limit import BodyLimit
from otelmon.hardening.harden import harden
from otelmon.hardening.policies import Policy
from otelmon.hardening.rate_limit import RateLimit
from otelmon.hardening.sessions.middleware import Sessions
from otelmon.hardening.static import Static, static_url
from otelmon.metrics.api.view import View
from otelmon.middleware.requests import RequestMetrics
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


__all__ = [
    "BodyLimit",
    "ConfigError",
    "DiskCheck",
    "HttpCheck",
    "LedgerError",
    "Monitor",
    "OtelmonError",
    "Policy",
    "QueryCache",
    "RateLimit",
    "RedisCheck",
    "RequestMetrics",
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
