"""The families that tell of the instance itself: saturation, and otelmon's own health."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from otelmon.metrics import caches, databases, figures, standing
from otelmon.metrics.names import label_text


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otelmon.board import Published
    from otelmon.ledger.reader import Reading, Worker

    Number = float | None
    Read = Callable[[Reading, Published | None], Number | dict[bytes, Number]]


@dataclass(frozen=True, slots=True)
class Fixed:
    """A family that is there whatever was recorded; *read* returns one value, or some by labels."""

    name: str  # without _total
    kind: Literal["counter", "gauge"]
    about: str
    read: Read

    def samples(
        self, reading: Reading, published: Published | None
    ) -> Iterator[tuple[bytes, Number]]:
        """Yield its values by labels, None where one is not known."""
        found = self.read(reading, published)
        yield from found.items() if isinstance(found, dict) else ((b"", found),)


def build_info(version: str) -> Fixed:
    """Return the family that names otelmon's version."""
    labels = label_text([("version", version)])
    return Fixed(
        "otelmon_build_info", "gauge", "The version of otelmon.", lambda _, __: {labels: 1}
    )


def _workers(reading: Reading, _: object) -> dict[bytes, Number]:
    busy = figures.busy(reading)
    return {b'state="busy"': busy, b'state="idle"': len(reading.workers) - busy}


def _of_each(read: Callable[[Worker], Number]) -> Read:
    return lambda reading, _: {_label(each.slot): read(each) for each in reading.workers}


def _label(slot: int) -> bytes:
    return b'worker="%d"' % slot


def _oldest(reading: Reading, _: object) -> Number:
    ages = (worker.oldest_age for worker in reading.workers)
    return max((age for age in ages if age is not None), default=None)


def _firing(reading: Reading, published: Published | None) -> dict[bytes, Number]:
    return {
        label_text([("alert", each.id), ("level", level)]): int(each.level == level)
        for each in standing.states(published, reading)
        for level in ("warning", "critical")
        if each.about[level] is not None or each.level == level
    }


def _transitions(_: object, published: Published | None) -> dict[bytes, Number]:
    found = () if published is None else published.alerts
    return {label_text([("alert", each.id)]): each.transitions for each in found}


def _push(name: str) -> Read:
    def read(_: object, published: Published | None) -> Number:
        found = None if published is None else published.push
        return None if found is None else found[name]

    return read


def _by_channel(name: str) -> Read:
    def read(_: object, published: Published | None) -> dict[bytes, Number]:
        found = {} if published is None else published.channels
        return {label_text([("channel", each)]): said.get(name) for each, said in found.items()}

    return read


_LOST_ABOUT: Final = "Requests that were in flight when their process died."
_STARTED_ABOUT: Final = "Requests that were begun: finished, lost or in flight now."
_ACTIVE_ABOUT: Final = "Requests in flight."
_HITS_ABOUT: Final = "Look-ups in caches that found something."
_MISSES_ABOUT: Final = "Look-ups in caches that found nothing."
_REDIS_ABOUT: Final = "Connections to Redis in use."

_DATABASES: Final = Fixed(
    "app_database_connections",
    "gauge",
    "Database connections in use.",
    lambda r, _: databases.in_use(r),
)

SEED: Final = (
    _DATABASES,
    Fixed("app_cache_hits", "counter", _HITS_ABOUT, lambda r, _: caches.looked_up(r).hits),
    Fixed("app_cache_misses", "counter", _MISSES_ABOUT, lambda r, _: caches.looked_up(r).misses),
    Fixed("app_redis_connections", "gauge", _REDIS_ABOUT, lambda r, _: caches.connections(r)),
    Fixed("app_active_connections", "gauge", _ACTIVE_ABOUT, lambda r, _: r.in_flight),
    Fixed("app_requests_started", "counter", _STARTED_ABOUT, lambda r, _: r.started),
    Fixed("app_requests_lost", "counter", _LOST_ABOUT, lambda r, _: r.lost),
)
SEMCONV: Final = (
    Fixed("http_server_active_requests", "gauge", _ACTIVE_ABOUT, lambda r, _: r.in_flight),
    Fixed("otelmon_requests_started", "counter", _STARTED_ABOUT, lambda r, _: r.started),
    Fixed("otelmon_requests_lost", "counter", _LOST_ABOUT, lambda r, _: r.lost),
)
OWN: Final = (
    Fixed(
        "otelmon_start_time_seconds",
        "gauge",
        "When the instance began to count, in Unix time.",
        lambda r, _: r.created,
    ),
    Fixed("otelmon_workers", "gauge", "Live workers, by what they do.", _workers),
    Fixed(
        "otelmon_capacity",
        "gauge",
        "Requests that all workers can serve at once.",
        lambda r, published: figures.workers(r, published)["capacity"],
    ),
    Fixed(
        "otelmon_worker_requests",
        "counter",
        "Requests begun, by the worker's slot: those of all processes that had it.",
        lambda r, _: {_label(slot): begun for slot, begun in r.begun.items()},
    ),
    Fixed(
        "otelmon_worker_requests_active",
        "gauge",
        "Requests that a worker has in flight.",
        _of_each(lambda worker: worker.in_flight),
    ),
    Fixed(
        "otelmon_worker_beat_age_seconds",
        "gauge",
        "Time since a worker's last sign of life; it gives one each second.",
        _of_each(lambda worker: worker.beat_age),
    ),
    Fixed(
        "otelmon_worker_starts",
        "counter",
        "Processes that began to serve.",
        lambda r, _: r.worker_starts,
    ),
    Fixed(
        "otelmon_worker_deaths",
        "counter",
        "Processes that served and serve no longer.",
        lambda r, _: r.worker_deaths,
    ),
    Fixed(
        "otelmon_oldest_request_seconds",
        "gauge",
        "Age of the oldest request in flight, as of its worker's last beat.",
        _oldest,
    ),
    Fixed(
        "otelmon_accept_backlog",
        "gauge",
        "Connections that wait to be accepted.",
        lambda _, published: None if published is None else published.backlog,
    ),
    Fixed(
        "otelmon_ledger_complete",
        "gauge",
        "1 if every process of the instance counts into the shared ledger, else 0.",
        lambda r, _: int(r.complete),
    ),
    Fixed("otelmon_series", "gauge", "Series in the ledger.", lambda r, _: len(r.series)),
    Fixed(
        "otelmon_keeper_age_seconds",
        "gauge",
        "Time since the keeper last sampled the host.",
        figures.keeper_age,
    ),
    Fixed(
        "otelmon_collector_last_run_timestamp_seconds",
        "gauge",
        "When the keeper last published, in seconds since 1970.",
        lambda _, published: None if published is None else published.at,
    ),
    Fixed("otelmon_alert_firing", "gauge", "1 while an alert is at this level, else 0.", _firing),
    Fixed("otelmon_alert_transitions", "counter", "Changes of an alert's level.", _transitions),
    Fixed(
        "otelmon_notifications_delivered",
        "counter",
        "Messages about alerts that were taken.",
        _by_channel("delivered"),
    ),
    Fixed(
        "otelmon_notification_failures",
        "counter",
        "Tries to tell of alerts that failed; what failed is tried again.",
        _by_channel("failures"),
    ),
    Fixed(
        "otelmon_notifications_dropped",
        "counter",
        "Messages about alerts that nobody will get.",
        _by_channel("dropped"),
    ),
    Fixed("otelmon_otlp_pushes", "counter", "Pushes over OTLP that were taken.", _push("pushes")),
    Fixed(
        "otelmon_otlp_push_failures",
        "counter",
        "Pushes over OTLP that were not taken; the next one carries all of it.",
        _push("failures"),
    ),
)
CHECK_UP: Final = Fixed(
    "otelmon_check_up",
    "gauge",
    "1 if a health check is up, 0 if it is down.",
    lambda *_: None,
)
"""Its values are not in a reading: who shows them has them of the checks"""
