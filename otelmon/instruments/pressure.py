"""Pressure: the share of the last ten seconds in which tasks waited for CPU, memory or I/O."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from otelmon.instruments.cgroup import UNIFIED, Cgroups, text
from otelmon.instruments.figures import CONTAINER_PRESSURE, PRESSURE
from otelmon.instruments.source import Reading


if TYPE_CHECKING:
    from opentelemetry.metrics import Meter

    from otelmon.instruments.figures import Report, Row


RESOURCES: Final = ("cpu", "memory", "io")
_LINE: Final = re.compile(r"^(some|full) avg10=([0-9]{1,3}\.[0-9]{2}) ", re.MULTILINE | re.ASCII)


class Pressure:
    """The machine's pressure, and that of the process's own group where version 2 tells it.

    *some*: at least one task waited; *full*: all of them did at once. A kernel without pressure,
    or one in which it is switched off, tells none, and that is no failure.
    """

    def __init__(
        self, report: Report, *, cgroups: Cgroups | None = None, root: Path = Path("/")
    ) -> None:
        """Read below *root*."""
        self._cgroups = Cgroups(root) if cgroups is None else cgroups
        self._host = root / "proc/pressure"
        self._report = report

    def bind(self, meter: Meter) -> None:
        """Create the gauges on *meter*."""
        for kind, figures, read in (
            ("host_pressure", PRESSURE, self._of_host),
            ("container_pressure", CONTAINER_PRESSURE, self._of_group),
        ):
            fields = [figure.field for figure in figures]
            Reading(kind, fields, read, self._report).bind(meter)

    def _of_host(self) -> Row:
        said = {resource: text(self._host / resource) for resource in RESOURCES}
        return _row("pressure", said)

    def _of_group(self) -> Row:
        group = self._cgroups.group(UNIFIED)
        if group is None:
            return {}
        own = group.path[0]
        said = {resource: text(own / f"{resource}.pressure") for resource in RESOURCES}
        return _row("container_pressure", said)


def _row(prefix: str, said: dict[str, str | None]) -> Row:
    return {
        f"{prefix}_{resource}_{stalled}": share
        for resource, words in said.items()
        if words is not None
        for stalled, share in shares(words).items()
    }


def shares(said: str) -> dict[str, float]:
    """Return the averages of ten seconds as fractions, by `some` and `full`.

    Raises:
        ValueError: there is not one of them.
    """
    found = {stalled: float(percent) / 100 for stalled, percent in _LINE.findall(said)}
    if not found:
        raise ValueError(f"Pressure is expected, not {said[:40]!r}.")
    return found
