"""What the environment says, read in one place, checked once, passed on as frozen dataclasses."""

from __future__ import annotations

from otelmon.settings.declared import ENDPOINTS
from otelmon.settings.owned import OWNED, Bodies, Database, Limits, Redis, Sessions, Static
from otelmon.settings.resource import UNNAMED
from otelmon.settings.rules import OFF, Off, Rate
from otelmon.settings.settings import Settings, is_set
from otelmon.settings.text import value_in
from otelmon.settings.thresholds import ALERTS, Levels
from otelmon.settings.variables import Variable, variables


__all__ = [
    "ALERTS",
    "ENDPOINTS",
    "OFF",
    "OWNED",
    "UNNAMED",
    "Bodies",
    "Database",
    "Levels",
    "Limits",
    "Off",
    "Rate",
    "Redis",
    "Sessions",
    "Settings",
    "Static",
    "Variable",
    "is_set",
    "value_in",
    "variables",
]
