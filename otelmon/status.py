"""`otelmon status`: the instances of this machine as their files tell, when no port answers.

It asks no process and waits for none, so it also shows workers that hang, are stopped or are gone.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otelmon.alerts import showing
from otelmon.checks import results
from otelmon.errors import LedgerError, OtelmonError
from otelmon.ledger.files import candidates
from otelmon.ledger.inspection import Inspection
from otelmon.metrics import caches, figures, processes, standing, windows
from otelmon.metrics.seen import Seen
from otelmon.port import lease_of
from otelmon.views.monitoring import summary
from otelmon.views.response import as_json


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from otelmon.board import Published
    from otelmon.ledger.reader import Reading
    from otelmon.settings import Settings


_UNKNOWN: Final = "unknown"


class Found(NamedTuple):
    """What lies in the directories: instances, and what of it cannot be read and why."""

    places: Sequence[Path]
    instances: Sequence[Mapping[str, Any]]
    unreadable: Mapping[str, str]


def run(settings: Settings, say: Callable[[str], None], *, as_json: bool) -> None:
    """Tell of all instances of this user's on this machine, in lines or *as_json*.

    Raises:
        OtelmonError: there is none; the message says where was looked.
    """
    found = find(settings)
    for line in [_document(found)] if as_json else _lines(found):
        say(line)
    if not found.instances:
        raise OtelmonError(_nothing(found))


def find(settings: Settings) -> Found:
    """Read every ledger in the directories that the library would try, and change nothing there."""
    places = candidates(
        chosen=settings.ledger_dir, runtime_dir=settings.runtime_dir, tmp_dir=settings.tmp_dir
    )
    # One may be named twice, where TMPDIR is /dev/shm.
    places = list(dict.fromkeys(places))
    instances, unreadable = [], {}
    for place in places:
        try:
            paths = sorted(each for each in place.iterdir() if each.suffix == ".ledger")
        except FileNotFoundError:
            continue
        except OSError as error:
            unreadable[str(place)] = str(error)
            continue
        for path in paths:
            try:
                with Inspection(path) as inspection:
                    instances.append(shown(inspection))
            except (LedgerError, OSError) as error:
                unreadable[str(path)] = str(error)
            except Exception as error:  # noqa: BLE001 - one that is damaged must not hide the others
                unreadable[str(path)] = f"It cannot be read: {type(error).__name__}."
    return Found(places, instances, unreadable)


# -- one instance ---------------------------------------------------------------------------------


def shown(inspection: Inspection) -> dict[str, Any]:
    """Return what a file tells, its parts as in `/health` and `/api/metrics`; unknown is None."""
    segment, seen = inspection.segment, Seen()
    # In the order of the views: what the keeper remembers is named by series of a later reading.
    past, published = seen.past(segment), seen.published(segment)
    reading = inspection.read()
    recent = windows.shown(past, reading, published)
    checks = results.read(segment)
    judged = () if checks is None else checks.as_of(reading.monotonic).checks
    server, labels = inspection.server, {} if published is None else published.labels
    return {
        "file": str(inspection.path),
        "labels": dict(labels),
        "since": figures.iso(reading.created),
        "timestamp": figures.iso(reading.at),
        "server": {
            "pid": None if server is None else server.pid,
            "alive": inspection.server_alive,
        },
        "stale": figures.is_stale(reading, published),
        "totals": _totals(reading),
        "monitoring": summary(reading, published, judged),
        "services": results.shown(judged, reading.monotonic),
        "system": figures.system(published),
        "container": figures.container(published),
        "application": figures.application(
            reading,
            published,
            cache_hit_rate=recent.cache_hit_rate,
            redis_connections=caches.connections(reading),
        ),
        "workers": _workers(reading, published),
        "alerts": [showing.shown(each, labels) for each in standing.active(published, reading)],
        "otelmon": _own(inspection, reading, published),
    }


def _totals(reading: Reading) -> dict[str, int]:
    return {
        "requests": reading.finished,
        "errors": figures.totals(reading).errors,
        "lost": reading.lost,
        "starts": reading.worker_starts,
        "deaths": reading.worker_deaths,
    }


def _workers(reading: Reading, published: Published | None) -> dict[str, Any]:
    found = figures.workers(reading, published)
    told = processes.by_slot(reading)
    oldest = {each.slot: figures.rounded(each.oldest_age) for each in reading.workers}
    each = [
        {**each, "oldest_request_seconds": oldest[each["slot"]], **told[each["slot"]]}
        for each in found["each"]
    ]
    return {**found, "each": each}


def _own(inspection: Inspection, reading: Reading, published: Published | None) -> dict[str, Any]:
    said = published
    return {
        "instance": {"shared": reading.shared, "complete": reading.complete},
        "keeper": {
            "slot": None if said is None else said.keeper,
            "age_seconds": figures.rounded(figures.keeper_age(reading, said)),
            "interval_seconds": None if said is None else said.interval,
        },
        "port": _port(inspection.path),
        "notifications": {} if said is None else dict(said.channels),
        "otlp": None if said is None else said.push,
    }


def _port(path: Path) -> dict[str, object]:
    """Return what the process that has, or had, the metrics port left as a word."""
    noted = lease_of(path).noted()
    if noted.isdecimal():
        return {"state": "elsewhere", "port": int(noted)}
    return {"state": "failed" if noted else _UNKNOWN, "port": None, "error": noted or None}


# -- all of it as text ----------------------------------------------------------------------------


def _document(found: Found) -> str:
    body = {
        "timestamp": figures.iso(time.time_ns() / 1e9),
        "directories": [str(place) for place in found.places],
        "instances": found.instances,
        "unreadable": found.unreadable,
    }
    return as_json(body).body.decode()


def _lines(found: Found) -> Iterator[str]:
    for instance in found.instances:
        yield from _of_instance(instance)
    # Where there is no instance at all, the refusal names them.
    for path, error in found.unreadable.items() if found.instances else ():
        yield f"not read: {path}: {error}"


def _of_instance(known: Mapping[str, Any]) -> Iterator[str]:
    totals, server, workers = known["totals"], known["server"], known["workers"]
    runs = {True: "runs", False: "has ended", None: "may run or not"}[server["alive"]]
    names = [each for each in map(known["labels"].get, ("service", "instance")) if each]
    yield " ".join([known["file"], *names])
    yield f"  since {known['since']}; server process {_said(server['pid'])} {runs}"
    yield f"  status {known['monitoring']['status']} at {known['timestamp']}"
    yield (
        f"  totals: requests {totals['requests']}, errors {totals['errors']}, lost {totals['lost']}, "
        f"worker starts {totals['starts']}, worker deaths {totals['deaths']}"
    )
    if not known["otelmon"]["instance"]["complete"]:
        yield "  incomplete: a process counts for itself, and is not in these totals"
    yield (
        f"  now: {workers['total']} workers alive, {workers['busy']} busy, "
        f"{known['application']['active_connections']} requests in flight"
    )
    yield from map(_of_worker, workers["each"])
    recent = known["application"]
    yield (
        f"  last 60 s: {_said(recent['request_rate'], 'requests/s')}, errors "
        f"{_said(recent['error_rate'], '%')}, mean {_said(recent['avg_response_time'], 'ms')}"
    )
    yield from _of_keeper(known)


def _of_worker(worker: Mapping[str, Any]) -> str:
    oldest = worker["oldest_request_seconds"]
    waiting = "" if oldest is None else f", oldest request {_said(oldest, 's')}"
    draining = ", ends" if worker["draining"] else ""
    return (
        f"  worker pid {worker['pid']}, slot {worker['slot']}: {worker['in_flight']} in flight"
        f"{waiting}, last beat {_said(worker['beat_age_seconds'], 's')} ago{draining}"
    )


def _of_keeper(known: Mapping[str, Any]) -> Iterator[str]:
    keeper, system = known["otelmon"]["keeper"], known["system"]
    if keeper["age_seconds"] is None:
        yield "  keeper: has said nothing yet, so host, alerts and checks are unknown"
        return
    stale = "; it is stale, what follows is of then" if known["stale"] else ""
    yield (
        f"  keeper, slot {keeper['slot']}: last word {_said(keeper['age_seconds'], 's')} ago, "
        f"due every {_said(keeper['interval_seconds'], 's')}{stale}"
    )
    yield (
        f"  host: CPU {_said(system['cpu_percent'], '%')}, memory {_said(system['memory_percent'], '%')}, "
        f"disk {_said(system['disk_percent'], '%')}, load {_said(system['load_avg'])}"
    )
    for alert in known["alerts"]:
        yield f"  alert {alert['level']}, {alert['state']}: {alert['message']}"
    if not known["alerts"]:
        yield "  alerts: none fires" + (" as far as was known then" if known["stale"] else "")
    for name, check in known["services"].items():
        yield f"  check {name}: {check['status']}{_because(check['error'])}"
    port = known["otelmon"]["port"]
    yield f"  metrics port: {_said(port['port'])}{_because(port.get('error'))}"


def _because(error: str | None) -> str:
    return "" if error is None else f" ({error})"


def _said(value: float | None, unit: str = "") -> str:
    if value is None:
        return _UNKNOWN
    return (
        f"{value:g} {unit}".rstrip() if isinstance(value, int) else f"{value:.1f} {unit}".rstrip()
    )


def _nothing(found: Found) -> str:
    looked = ", ".join(map(str, found.places))
    more = "".join(f" Not read: {path}: {error}" for path, error in found.unreadable.items())
    others = ", ".join(map(str, _of_others(found.places)))
    if others:
        more += f" Other users have {others}."
    return (
        f"No instance was found in {looked}. Give the server's OTELMON_DIR, XDG_RUNTIME_DIR and "
        f"TMPDIR (or its --env-file), and run this as the user of its workers.{more}"
    )


def _of_others(places: Iterable[Path]) -> Iterator[Path]:
    """Return the directories beside these that the library would take for other users."""
    for place in places:
        if place.name.startswith("otelmon-"):
            beside = place.parent.glob("otelmon-*")
            yield from sorted(each for each in beside if each != place and each.is_dir())
