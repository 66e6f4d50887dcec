"""The board: what the keeper publishes and every process reads."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, TypeVar

from otelmon.ledger import layout, twin


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otelmon.ledger.segment import Segment


Number = float | int | None

WINDOW_SECONDS: Final = 60.0
"""What rates are of; see `Published.points`"""


@dataclass(frozen=True, slots=True)
class Point:
    """What all processes together had counted at one moment."""

    monotonic: int  # ns
    requests: int
    errors: int
    duration: int  # ns, the sum of all requests'


@dataclass(frozen=True, slots=True)
class AlertState:
    """How the alert of one rule stands. Times with `_at` are Unix time, all others monotonic ns."""

    id: str
    about: Mapping[str, Any] = field(default_factory=dict)
    """What the rule is, because who shows it need not have the rule; see `alerts.showing.about`"""
    state: str = "no_data"
    """ok, pending, firing, recovering or no_data"""
    level: str | None = None
    """warning or critical while it fires or recovers: what was announced"""
    value: float | None = None
    samples: int | None = None
    bad: int | None = None
    peak: float | None = None
    """The worst value since it fires"""
    started: int | None = None
    started_at: float | None = None
    level_at: float | None = None
    updated_at: float | None = None
    judged: int | None = None
    """When it was last, and so with all that is said here"""
    data: int | None = None
    """When there was data last"""
    warning_since: int | None = None
    """Since when the warning is breached without a break; so with the others"""
    critical_since: int | None = None
    clear_since: int | None = None
    calm_since: int | None = None
    """Since when the value is clear of the critical level"""
    memory: Sequence[Sequence[float]] = ()
    """Samples of its window, see `alerts.reading`"""
    transitions: int = 0
    errors: int = 0
    """How often the rule's own code failed"""
    error: str | None = None
    """By what, the last time, if that was the last time it was asked; or what it has no data for"""


@dataclass(frozen=True, slots=True)
class Published:
    """What a keeper knew at one moment."""

    at: float  # Unix time
    monotonic: int  # ns; comparable between the processes of one machine
    interval: float  # seconds until the next one
    keeper: int  # slot of the process that published it
    host: Mapping[str, Number]
    """The `system` figures by their names in `/api/metrics`, null where unknown, and the container's"""
    points: tuple[Point, ...] = ()
    """Oldest first; the last is of this moment, the first at least a window older if it can be"""
    baseline: Sequence[float] | None = None
    """Busy and total CPU seconds, from which the next keeper goes on measuring"""
    container_baseline: Sequence[float] | None = None
    """The same of the container: seconds used, at which moment, at which level of its groups"""
    backlog: int | None = None
    """Connections that wait to be accepted; null where the system does not tell"""
    alerts: tuple[AlertState, ...] = ()
    transitions: int = 0
    """The number of the last transition of an alert; they lie in the ring of this name"""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Who the alerts are of: service and instance"""
    channels: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """How each way of telling somebody of the alerts does, by its name"""
    push: Mapping[str, Any] | None = None
    """How the push over OTLP does; None where it is off"""


def trimmed(points: tuple[Point, ...]) -> tuple[Point, ...]:
    """Drop the points that no window needs: all but one of those older than the window."""
    newest = points[-1].monotonic
    old = sum(newest - point.monotonic >= WINDOW_SECONDS * 1e9 for point in points)
    return points[max(0, old - 1) :]


_Part = TypeVar("_Part", Published, AlertState, Point)
_FIELDS: Final = {
    kind: frozenset(each.name for each in fields(kind)) for kind in (Published, AlertState, Point)
}


def publish(segment: Segment, published: Published) -> None:
    """Write the next state of the board; only the keeper may.

    Raises:
        LedgerError, OSError: there is no space for it; the board stays as it was.
    """
    # Not by `asdict`, which makes a deep copy of all that lies inside first.
    payload = json.dumps(_named(published), default=_named, separators=(",", ":")).encode()
    twin.write(segment, layout.BOARD, payload)


def _named(part: Published | AlertState | Point) -> dict[str, Any]:
    return {name: getattr(part, name) for name in part.__slots__}


def newest(segment: Segment) -> int:
    """Return the number of the last publication, 0 before the first."""
    return twin.newest(segment, layout.BOARD)


def read(segment: Segment) -> Published | None:
    """Return the newest state of the board; None before the first."""
    payload = twin.read(segment, layout.BOARD)
    return None if payload is None else _decode(payload)


def _decode(payload: bytes) -> Published:
    said = json.loads(payload)
    said["points"] = tuple(_known(Point, point) for point in said["points"])
    said["alerts"] = tuple(_known(AlertState, state) for state in said.get("alerts", ()))
    return _known(Published, said)


def _known(kind: type[_Part], said: Mapping[str, Any]) -> _Part:
    """Return a part of the board; a keeper of another version, during an upgrade, may say more."""
    return kind(**{name: value for name, value in said.items() if name in _FIELDS[kind]})
