"""Which figures count: the container's where it has a limit, else the host's.

The total and what is used of it are always of the same one. The host's CPU and memory stand beside
them under names of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otelmon.instruments.figures import CONTAINER_PRESSURE, HOST_SIDE, PRESSURE


if TYPE_CHECKING:
    from otelmon.instruments.figures import Row

    Known = dict[str, int | float | None]


HOST: Final = "host"
CONTAINER: Final = "container"

# By the limit that makes the container's figures count: what is shown, and what is measured.
_OF_CONTAINER: Final = {
    "container_cpu_limit": {
        "cpu_count": "container_cpu_limit",
        "cpu_percent": "container_cpu_percent",
    },
    "container_memory_limit": {
        "memory_total": "container_memory_limit",
        "memory_used": "container_memory_working_set",
        "memory_percent": "container_memory_percent",
        "memory_available": "container_memory_available",
    },
}
_PRESSURE: Final = tuple(figure.field for figure in PRESSURE)
_CONTAINER_PRESSURE: Final = tuple(figure.field for figure in CONTAINER_PRESSURE)
_SIDES: Final = tuple(figure.field for figure in HOST_SIDE)


def effective(measured: Row) -> Known:
    """Return the row to show for what was *measured* of the host and of the container."""
    row = {**measured, **{side: measured.get(_field(side)) for side in _SIDES}}
    for limit, fields in _OF_CONTAINER.items():
        if measured.get(limit) is not None:
            row |= {shown: measured.get(field) for shown, field in fields.items()}
    if _has_pressure(measured):
        pairs = zip(_PRESSURE, _CONTAINER_PRESSURE, strict=True)
        row |= {shown: measured.get(field) for shown, field in pairs}
    return row


def measured(row: Row) -> Known:
    """Return a row that is shown as it was measured: what may be of either is of the host.

    Pressure that is the container's stands under its own name only.
    """
    known = {**row, **{_field(side): row[side] for side in _SIDES if side in row}}
    if _has_pressure(row):
        known |= dict.fromkeys(_PRESSURE)
    return known


def sources(row: Row) -> dict[str, str | None]:
    """Say for a row that is shown whose figures it has; None where it has none at all."""
    return {
        "cpu": _source(row, CONTAINER if row.get("container_cpu_limit") is not None else HOST),
        "memory": _source(
            row, CONTAINER if row.get("container_memory_limit") is not None else HOST
        ),
        "pressure": (CONTAINER if _has_pressure(row) else HOST)
        if any(row.get(field) is not None for field in _PRESSURE)
        else None,
    }


def _source(row: Row, source: str) -> str | None:
    return source if row else None


def _has_pressure(row: Row) -> bool:
    return any(row.get(field) is not None for field in _CONTAINER_PRESSURE)


def _field(side: str) -> str:
    return side.removesuffix("_host")
