"""The service's name and version as OpenTelemetry's resource attributes tell them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from otelmon.settings.text import value_in
from otelmon.settings.variables import warn_once


if TYPE_CHECKING:
    from collections.abc import Mapping


UNNAMED: Final = "unknown_service"
"""What OpenTelemetry calls a service that nobody has named"""
_VARIABLE = "OTEL_RESOURCE_ATTRIBUTES"
_USED: Final = ("service.name", "service.version")


def service_attributes(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the used ones of the attributes as variables of their own, named by `attribute`.

    None if one of all cannot be read, as specified.
    """
    items = [item for item in value_in(environ.get(_VARIABLE, "")).split(",") if item.strip()]
    try:
        pairs = [_attribute(item) for item in items]
    except ValueError:
        warn_once(f"{_VARIABLE} is not read: give key=value pairs separated by commas, in UTF-8.")
        return {}
    return {attribute(key): value for key, value in pairs if key in _USED}


def attribute(key: str) -> str:
    """Return under which name a variable is declared that is one of the attributes."""
    return f"{_VARIABLE}[{key}]"


def _attribute(item: str) -> tuple[str, str]:
    key, equals, value = item.partition("=")
    if not (equals and key.strip()):
        raise ValueError
    return unquote(key.strip(), errors="strict"), unquote(value.strip(), errors="strict")
