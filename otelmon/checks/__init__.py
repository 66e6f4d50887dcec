"""Health checks: what the application depends on, asked beside it and never in a request."""

from __future__ import annotations

from otelmon.checks.database import SqlAlchemyCheck
from otelmon.checks.disk import DiskCheck
from otelmon.checks.http import HttpCheck
from otelmon.checks.redis import RedisCheck


__all__ = ["DiskCheck", "HttpCheck", "RedisCheck", "SqlAlchemyCheck"]
