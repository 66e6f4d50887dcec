"""Whether the OpenTelemetry API of this process records here.

There is one global provider in the life of a process, and whoever sets it first keeps it. Where the
application or `opentelemetry-instrument` has set one, what is made through the API goes there, and
ours stands beside it for otelmon's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from opentelemetry import metrics


if TYPE_CHECKING:
    from otelmon.metrics.api.provider import MeterProvider


# What the API hands out until there is a provider; it has no public name.
_NONE_YET: Final = "_ProxyMeterProvider"


def adopt(provider: MeterProvider) -> None:
    """Make *provider* the global one, unless there is one or it is to record nothing."""
    if not provider.silent and type(metrics.get_meter_provider()).__name__ == _NONE_YET:
        metrics.set_meter_provider(provider)


def described(provider: MeterProvider) -> str:
    """Say in a few words who records what is made through the API."""
    if provider.silent:
        return "off: nothing is recorded through the OpenTelemetry API"
    found = metrics.get_meter_provider()
    if found is provider:
        return "global: what is made through the OpenTelemetry API is of all processes"
    kind = f"{type(found).__module__}.{type(found).__qualname__}"
    return f"beside {kind}, which records what is made through the OpenTelemetry API"
