"""What a process has of the running server: all parts of it, put together. It decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otelmon import faults
from otelmon.alerts import registry
from otelmon.alerts.watch import Watch
from otelmon.announcement import announce
from otelmon.checks import results
from otelmon.checks.registry import REGISTRY
from otelmon.checks.results import Results
from otelmon.checks.rounds import Rounds
from otelmon.instruments.libraries import observe_libraries
from otelmon.instruments.observing import SCOPE
from otelmon.keeper import Keeper
from otelmon.ledger.sockets import place
from otelmon.loading import apart_from_forks
from otelmon.metrics import rows
from otelmon.metrics.api import adoption
from otelmon.metrics.otlp import Push
from otelmon.metrics.seen import Seen
from otelmon.port import Port
from otelmon.recommendations import advice
from otelmon.recommendations.advisor import Advisor
from otelmon.serving import Serving
from otelmon.views.ops import OpsApp


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from _typeshed.wsgi import WSGIApplication

    from otelmon.board import Published
    from otelmon.instruments.observing import Observing
    from otelmon.instruments.runtime import Runtime
    from otelmon.ledger.reader import Reading
    from otelmon.metrics.api.provider import MeterProvider
    from otelmon.metrics.data import MetricsData
    from otelmon.metrics.past import Past
    from otelmon.recommendations.advice import Advice
    from otelmon.settings import Settings


class Instance:
    """What this process has of the running server, whatever applications it holds."""

    def __init__(self, settings: Settings, provider: MeterProvider, runtime: Runtime) -> None:
        """Put it together; nothing is taken before the process serves."""
        self.settings = settings
        self.provider = provider
        self.runtime = runtime
        self.ledger = provider.ledger
        self.serving = Serving(settings, self.ledger)
        ops = OpsApp(self, fallback=None)
        self.keeper = self.serving.keeper = Keeper(
            self.ledger,
            settings,
            port=Port(ops, host=settings.prometheus_host, port=settings.prometheus_port)
            if settings.enable_prometheus
            else None,
            watch=Watch(settings, rules=registry.rules, labels=self.labels),
            announce=self.announce,
            draining=self.serving.draining,
            descriptors=self.serving.descriptors,
            measure=runtime.measure,
            observe=provider.observe,
            checks=Rounds(REGISTRY, settings),
            advisor=Advisor(
                settings, server=self.serving.server, checks=lambda: len(REGISTRY.checks)
            ),
            push=Push(settings, self.metrics_data),
        )
        self.apps: list[WSGIApplication] = []
        self.libraries: Observing | None = None
        if not provider.silent:
            meter = provider.get_meter(SCOPE)
            self.libraries = observe_libraries(meter, off=settings.libraries_off)
        self._board = Seen()

    def labels(self) -> dict[str, str]:
        """Return whose the alerts are: the service, and the host with the port that it serves."""
        settings = self.settings
        instance = settings.instance or place(self.serving.descriptors())
        return {"service": settings.service_name, "instance": instance}

    def announce(self) -> None:
        """Log once per instance what is mounted where, and what stands open."""
        paths = {path for app in self.apps for path in OpsApp(self, fallback=app).paths}
        announce(self.settings, sorted(paths), self.apps, log=self.serving.log)

    def reading(self) -> Reading | None:
        """Return what all processes have counted."""
        return self.ledger.read()

    def published(self) -> Published | None:
        """Return what the keeper knows."""
        segment = self.ledger.segment
        return None if segment is None else self._board.published(segment)

    def past(self) -> Past | None:
        """Return what the keeper remembers."""
        segment = self.ledger.segment
        return None if segment is None else self._board.past(segment)

    def checks(self) -> Results | None:
        """Return what the health checks came to, or that they were not asked yet."""
        segment = self.ledger.segment
        found = None if segment is None else results.read(segment)
        if found is None and REGISTRY.checks and self.keeper.beats:
            unasked = tuple(map(results.unasked, REGISTRY.checks.values()))
            return Results(self.settings.health_check_interval, unasked)
        return found

    def advice(self) -> Advice | None:
        """Return what the keeper advises."""
        segment = self.ledger.segment
        return None if segment is None else advice.read(segment)

    def draining(self) -> bool:
        """Tell whether the server is about to end, as far as this process knows."""
        return self.serving.ending()

    def port(self) -> Mapping[str, object]:
        """Say how the metrics port does."""
        return self.keeper.port()

    def metrics_data(self) -> MetricsData | None:
        """Return everything for an exporter; see the function of this name."""
        reading = self.reading()
        if reading is None:
            return None
        # Here, because only who exports is to pay for the import of the SDK.
        with apart_from_forks():
            from otelmon.metrics.data import metrics_data

        found = [*rows.of_ledger(reading), *rows.of_host(self.published())]
        return metrics_data(found, reading, resource=self._resource())

    def _resource(self) -> dict[str, str]:
        settings, stem = self.settings, self.ledger.stem
        known = {"service.name": settings.service_name, "service.version": settings.service_version}
        # One for all processes and for as long as the server listens: the same series go on.
        return known if stem is None else {**known, "service.instance.id": stem.stem}

    def adopted(self) -> str:
        """Say whether the OpenTelemetry API records here."""
        return adoption.described(self.provider)

    def dropped(self) -> int:
        """Return how many records this process's ancestors made and nobody counts."""
        return self.ledger.dropped

    def forget(self) -> None:
        """Leave to the parent what is the parent's, in a forked child."""
        for part in (self.keeper.forget, self.serving.forget):
            guarded(part)
        self.serving.watch_child()


def guarded(forget: Callable[[], None]) -> None:
    """Have a part forget what was its parent's; what it raises is reported."""
    try:
        forget()
    except Exception as error:  # noqa: BLE001 - the other parts must forget too
        faults.report("fork", error)
