"""Bytes over the network."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

import psutil

from otelmon.instruments.source import Reading


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.metrics import Meter

    from otelmon.instruments.figures import Report, Row


# Linux, BSD and macOS, Windows.
_LOOPBACK = re.compile(r"lo\d*$|Loopback ")


class Traffic(Protocol):
    """What is asked of psutil's answer for one interface, in bytes since boot."""

    @property
    def bytes_sent(self) -> int:
        """What went out."""

    @property
    def bytes_recv(self) -> int:
        """What came in."""


def _counters() -> Mapping[str, Traffic]:
    # psutil can add up counters that wrap, but from the memory of one process: with the next
    # one to measure, the sums would fall.
    return psutil.net_io_counters(pernic=True, nowrap=False)


class Network:
    """Bytes sent and received since boot over all interfaces but loopback.

    They are unknown only where the system shows no interface at all, not even loopback.
    """

    def __init__(
        self, report: Report, *, read: Callable[[], Mapping[str, Traffic]] = _counters
    ) -> None:
        """Read the interfaces, by name, by *read*."""
        self._read = read
        fields = ("network_bytes_sent", "network_bytes_recv")
        self._reading = Reading("host_network", fields, self._row, report)

    def bind(self, meter: Meter) -> None:
        """Create the gauge on *meter*."""
        self._reading.bind(meter)

    def _row(self) -> Row:
        found = self._read()
        if not found:
            return {}
        outside = [traffic for name, traffic in found.items() if not _LOOPBACK.match(name)]
        return {
            "network_bytes_sent": sum(traffic.bytes_sent for traffic in outside),
            "network_bytes_recv": sum(traffic.bytes_recv for traffic in outside),
        }
