"""Instruments to switch on with one call, on the meter of this process unless another is given.

Each is imported by that call, because only who switches it on is to pay for it.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from otelmon.instruments.lookups import LookUps
from otelmon.instruments.observing import SCOPE
from otelmon.stack import own_provider


if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable

    from opentelemetry.metrics import Meter, MeterProvider

    from otelmon.instruments.observing import Observing


def observe_http_client(*, hosts: Iterable[str], meter: Meter | None = None) -> Observing:
    """Measure requests that `requests`, `urllib3` and `httpx` make, until the result is closed.

    *hosts* are names and patterns such as `*.example.org`; all other hosts are `_OTHER`.
    `http.client.request.duration` in seconds, by host, method, status and error. See
    docs/instruments.md for this and the others.

    Raises:
        ConfigError: a host is none.
    """
    from otelmon.instruments import http_client

    return http_client.observe_http_client(hosts=hosts, meter=meter or _own())


def observe_queue(queue: object, name: str, *, meter: Meter | None = None) -> Observing:
    """Measure what waits in *queue* as *name*, and the tasks of a ThreadPoolExecutor.

    `otelmon.queue.depth` in items; of a pool its threads, and how long tasks waited and ran in
    seconds. The queue is held weakly.

    Raises:
        ConfigError: *queue* has no length, or *name* is no text.
    """
    from otelmon.instruments import queues

    return queues.observe_queue(queue, name, meter=meter or _own())


def observe_log(
    *,
    logger: logging.Logger | str | None = None,
    level: int | str = "WARNING",
    loggers: Iterable[str] | None = None,
    meter: Meter | None = None,
) -> Observing:
    """Count records from *level* on by level and logger, and exceptions by class.

    Of *logger* and all below it, else of the root; *loggers* are those to tell apart. Call it when
    logging is set up.

    Raises:
        ConfigError: there is no such level or logger.
    """
    from otelmon.instruments import logs

    return logs.observe_log(meter=meter or _own(), logger=logger, level=level, loggers=loggers)


def cache_hit(name: str, *, count: int = 1) -> None:
    """Count *count* look-ups that found something in the application's own cache *name*.

    They are a part of `cache_hit_rate`. After 100 names all further ones are `_OTHER`. It raises
    nothing.
    """
    _lookups().book(name, count, 0)


def cache_miss(name: str, *, count: int = 1) -> None:
    """Count *count* look-ups that found nothing; see `cache_hit`."""
    _lookups().book(name, 0, count)


def _lookups() -> LookUps:
    return _lookups_of(own_provider())


# Of one provider only: a first monitor with settings of its own may bring another.
@functools.lru_cache(maxsize=1)
def _lookups_of(provider: MeterProvider) -> LookUps:
    return LookUps(provider.get_meter(SCOPE))


def _own() -> Meter:
    return own_provider().get_meter(SCOPE)
