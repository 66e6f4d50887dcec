"""Outgoing HTTP requests of `requests`, `urllib3` and `httpx`: how long, to whom, how they ended.

Names, attributes and bounds are those of the semantic conventions for HTTP clients,
https://opentelemetry.io/docs/specs/semconv/http/http-metrics/#http-client.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from otelmon import faults
from otelmon.instruments.hosts import Hosts
from otelmon.instruments.http_hooks import HOOKS
from otelmon.instruments.observing import OTHER, Few, Observing, turns
from otelmon.ledger.requests import SECONDS


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.metrics import Meter

    from otelmon.instruments.http_hooks import Seen

    Attributes = dict[str, str | int]


METHODS: Final = frozenset(
    ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE")
)
_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_VERSIONS: Final = frozenset(("1.0", "1.1", "2", "3"))
_MAX_ERROR_TYPES: Final = 50
_MAX_KNOWN: Final = 1000
# What most servers answer; of hosts that are not allowed nothing else is told apart.
_COMMON: Final = frozenset(
    (
        *(200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308),
        *(400, 401, 403, 404, 405, 409, 410, 413, 422, 429, 500, 502, 503, 504),
    )
)


class Exchange(NamedTuple):
    """What tells one request's series from another's; each of its words is one of a few."""

    method: str
    scheme: str
    host: str
    port: int | None
    status: int | None
    version: str | None
    error: str | None

    def attributes(self) -> Attributes:
        """Return it under the names of the conventions, without what is not known."""
        named = {
            "http.request.method": self.method,
            "server.address": self.host,
            "server.port": self.port,
            "http.response.status_code": self.status,
            "error.type": self.error,
            "network.protocol.version": self.version,
            "url.scheme": self.scheme,
        }
        return {name: value for name, value in named.items() if value is not None}


class HttpClients:
    """The instrument, and what a request is booked with."""

    def __init__(self, hosts: Iterable[str], meter: Meter) -> None:
        """Create the instrument on *meter*."""
        # Only whoever observes pays for the API.
        from opentelemetry import context

        self._hosts = Hosts(hosts)
        self._duration = meter.create_histogram(
            "http.client.request.duration",
            unit="s",
            description="Time from the begin of a request until its response's headers were read.",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        self._errors = Few(_MAX_ERROR_TYPES)
        self._known: dict[tuple[Seen, str | None], Attributes] = {}
        self._context = context.get_value
        # The API has no other name for it. Exporters set it: what they send is not the app's.
        self._suppressed = getattr(context, "_SUPPRESS_INSTRUMENTATION_KEY", "")

    def book(
        self, took: int, describe: Callable[[], Seen | None], error: BaseException | None
    ) -> None:
        """Book a request of *took* ns, once; whatever fails here is ours."""
        try:
            if self._context(self._suppressed):
                return
            seen = describe()
            if seen is None:
                return
            raised = None if error is None else type(error).__qualname__
            attributes = self._known.get((seen, raised)) or self._attributes(seen, raised)
            self._duration.record(took / 1e9, attributes)
        except Exception as fault:  # noqa: BLE001 - the request is done; only the figure is lost
            faults.report("http_client", fault)

    def _attributes(self, seen: Seen, raised: str | None) -> Attributes:
        attributes = self._exchange(seen, raised).attributes()
        # Hosts that are not allowed may be without end.
        if len(self._known) < _MAX_KNOWN:
            self._known[seen, raised] = attributes
        return attributes

    def _exchange(self, seen: Seen, raised: str | None) -> Exchange:
        host = self._hosts.shown(seen.host)
        status = seen.status
        if status is not None and not _is_shown(status, host):
            status = None
        kind = None
        if raised is not None:
            kind = self._errors(raised)
        elif seen.status is not None and seen.status >= 400:
            kind = str(status or OTHER)
        return Exchange(
            seen.method if seen.method in METHODS else OTHER,
            seen.scheme if seen.scheme in _PORTS else OTHER,
            host,
            self._hosts.port(host, seen.port or _PORTS.get(seen.scheme)),
            status,
            seen.version if seen.version in _VERSIONS and host is not OTHER else None,
            kind,
        )


def _is_shown(status: int, host: str) -> bool:
    """Tell if a status is one of a few: a host that is not allowed may be of a client's choice."""
    return status in _COMMON if host is OTHER else 100 <= status < 600


class _Process:
    """What this process observes: several calls may ask for it, and a request is booked once."""

    def __init__(self) -> None:
        self._asked: list[tuple[frozenset[str], Meter]] = []

    def observe(self, hosts: frozenset[str], meter: Meter) -> Observing:
        """Observe these hosts too."""
        asked = (hosts, meter)
        with turns.lock:
            clients = HttpClients(self._all() | hosts, meter)
            self._asked.append(asked)
            HOOKS.observe(clients.book)
        return Observing(partial(self._end, asked))

    def _end(self, asked: tuple[frozenset[str], Meter]) -> None:
        self._asked = [other for other in self._asked if other is not asked]
        if self._asked:
            HOOKS.observe(HttpClients(self._all(), self._asked[-1][1]).book)
        else:
            HOOKS.remove()

    def _all(self) -> frozenset[str]:
        return frozenset[str]().union(*(hosts for hosts, _ in self._asked))


_process = _Process()


def observe_http_client(*, hosts: Iterable[str], meter: Meter) -> Observing:
    """Measure this process's outgoing requests on *meter* until the result is closed.

    *hosts* are the names and patterns (`*.example.org`) that are told apart; a host that matches
    none is `_OTHER`. Calls that are open at the same time are one observation, of all their
    hosts, on the meter of the last. ConfigError if a name is none.
    """
    names = frozenset((hosts,) if isinstance(hosts, str) else hosts)
    return _process.observe(names, meter)
