"""The beat that every serving process has, and the duties of the one that is the keeper.

Every second each process shows that it lives and tries to get the duty lock. Whoever has it is the
keeper: it samples the host and publishes the board. It dies, another takes over at its next beat;
nothing is lost, because the state is on the board.
"""

from __future__ import annotations

import random
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from otelmon import board, faults, threads
from otelmon.board import Point, Published
from otelmon.ledger import sockets
from otelmon.ledger.ageing import Ageing
from otelmon.ledger.locks import Lease
from otelmon.loading import apart_from_forks
from otelmon.metrics import figures
from otelmon.metrics.remembered import Remembered, remember
from otelmon.metrics.seen import Seen
from otelmon.port import lease_of, shown


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otelmon.alerts.watch import Watch
    from otelmon.board import Number
    from otelmon.checks.rounds import Rounds
    from otelmon.ledger.ledger import Ledger
    from otelmon.ledger.reader import Reading
    from otelmon.ledger.segment import Segment
    from otelmon.metrics.host import HostMeter
    from otelmon.metrics.otlp import Push
    from otelmon.port import Port
    from otelmon.recommendations.advisor import Advisor
    from otelmon.settings import Settings


BEAT_SECONDS: Final = 1.0
# So that the processes of an instance do not beat together.
_JITTER: Final = 0.1
# A disk that hangs must not take the keeper's other duties with it.
_HOST_SECONDS: Final = 5.0
# The first samples come after 1, 1, 2, 4, ... seconds, so that a young instance soon has figures.
_FIRST_PAUSE_SECONDS: Final = 1.0
# What fails in each beat is not to be tried without a pause.
_SHORTEST_PAUSE: Final = 0.05
# Two publications are never nearer to each other than this share of what should be between them.
_LEAST_OF_PAUSE: Final = 0.6
# The end of a beat in which the host's sample hangs and the port has answers to give.
_STOP_SECONDS: Final = 10.0


class Keeper:
    """One thread per serving process: the beat, and what the keeper does beside it."""

    def __init__(  # noqa: PLR0913 - what it needs of the others, by name
        self,
        ledger: Ledger,
        settings: Settings,
        *,
        port: Port | None,
        watch: Watch,
        announce: Callable[[], None],
        draining: Callable[[], bool],
        descriptors: Callable[[], list[int]],
        measure: Callable[[], object],
        observe: Callable[[], object],
        checks: Rounds,
        advisor: Advisor,
        push: Push,
    ) -> None:
        """Do nothing yet.

        *port* is None where the metrics port is off; *announce* is called once per instance;
        *measure* and *observe* in every process, once per interval, and the latter may hang;
        *checks* are asked at the keeper's beats, and *advisor* looks at what it publishes.
        """
        self._ledger = ledger
        self._settings = settings
        self._port = port
        self._watch = watch
        self._announce = announce
        self._draining = draining
        self._descriptors = descriptors
        self._alarm = threads.Alarm()
        self._ended: threads.Alarm | None = None
        self._leases: tuple[Lease, Lease] | None = None
        self._outside = False
        self._host: HostMeter | None = None
        self._sample: threads.Errand[Mapping[str, Number]]
        self._due: float | None = None
        self._ageing = Ageing(settings.series_idle_seconds)
        self._observing = threads.Errand(observe)
        self._observe, self._observe_at = observe, 0.0
        self._measure, self._measure_at = measure, 0.0
        self._checks, self._advisor, self._push = checks, advisor, push
        self._board = Seen()

    @property
    def beats(self) -> bool:
        """Tell whether this process may come to be the keeper."""
        return self._ended is not None

    def start(self) -> None:
        """Begin to beat, in a thread that goes on beside whatever the application does.

        Raises:
            RuntimeError: no thread can be had; it does not beat.
        """
        alarm, ended = threads.Alarm(), threads.Alarm()
        threads.start(partial(self._run, alarm, ended))
        self._alarm, self._ended = alarm, ended

    def rest(self, error: Exception) -> None:
        """Never beat in this process, because of *error*, which `/health` shows."""
        if self._port is not None:
            self._port.refuse(error)

    def stop(self) -> None:
        """Beat no longer, and leave every duty to others."""
        self._alarm.ring()
        if self._ended is not None:
            self._ended.wait(_STOP_SECONDS)
            self._ended = None

    def forget(self) -> None:
        """Be as new in a forked child: thread and duties are its parent's."""
        self._alarm, self._ended = threads.Alarm(), None
        for lease in self._leases or ():
            lease.forget()
        self._leases = None
        if self._port is not None:
            self._port.forget()
        self._host, self._due = None, None
        self._watch.forget()
        self._observing, self._observe_at = threads.Errand(self._observe), 0.0
        self._checks.forget()
        self._advisor.forget()
        self._push.forget()
        self._measure_at = 0.0

    def _run(self, alarm: threads.Alarm, ended: threads.Alarm) -> None:
        try:
            while not alarm.rung:
                self._work()
                alarm.wait(self._pause())
        finally:
            # Whatever ends the thread, no other process could have a duty that it kept.
            self._leave()
            ended.ring()

    def _work(self) -> None:
        for work in (self._beat, self._measure_itself, self._ask, self._serve_port, self._keep):
            try:
                work()
            except Exception as error:  # noqa: BLE001 - the next beat tries again
                faults.report(work.__name__.strip("_"), error)

    def _pause(self) -> float:
        """Return the seconds until the next beat; the keeper's come when it is to publish."""
        pause = BEAT_SECONDS * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311
        left = pause if self._due is None else self._due - time.monotonic()
        return min(pause, max(_SHORTEST_PAUSE, left))

    def _leave(self) -> None:
        # By the thread that takes them: another one could come between a look and a take.
        try:
            if self._port is not None:
                self._port.close()
            self._push.end()
        finally:
            self._give()

    def _give(self) -> None:
        for lease in self._leases or ():
            lease.give()
        self._leases = None

    # -- every process ---------------------------------------------------------------------------

    def _beat(self) -> None:
        self._ledger.beat(draining=self._draining())

    def _measure_itself(self) -> None:
        if time.monotonic() >= self._measure_at:
            self._measure_at = time.monotonic() + self._settings.monitoring_interval
            self._measure()

    def _ask(self) -> None:
        """Have what is observable observed, beside the beat: the application's callbacks may hang."""
        if time.monotonic() >= self._observe_at and self._observing.start():
            self._observe_at = time.monotonic() + self._settings.monitoring_interval

    def _lease(self, which: int) -> Lease | None:
        """Return the instance's lease, None where this process is all there is.

        Only for the keeper's own thread: a second pair of leases would hold the first one's lock
        against it.
        """
        stem = self._ledger.stem
        if stem is None:
            if self._leases is not None:
                # It has lost its place in the instance, which goes on without it.
                self._give()
                self._outside = True
            return None
        self._outside = False
        if self._leases is None:
            self._leases = (Lease(stem.with_suffix(".duty")), lease_of(stem))
        return self._leases[which]

    # -- one of them -----------------------------------------------------------------------------

    def _serve_port(self) -> None:
        if self._port is None:
            return
        segment, lease = self._ledger.segment, self._lease(1)
        if self._outside or (segment is not None and segment.port_claimed()):
            self._port.leave(lease)
        elif not self._draining() or self._all_drain():
            self._port.tick(lease)

    def _all_drain(self) -> bool:
        """Tell whether there is nobody with a future: then the last ones show how it ends."""
        reading = self._ledger.read()
        return reading is not None and all(worker.draining for worker in reading.workers)

    def port(self) -> Mapping[str, object]:
        """Say for `/health` how the metrics port does."""
        if self._port is None:
            return {"state": "off"}
        return shown(self._port, self._ledger.stem)

    def _keep(self) -> None:
        segment = self._ledger.segment
        lease = self._lease(0)
        if segment is None or (lease is not None and not lease.take()):
            if self._due is not None:
                self._host, self._due = None, None
                self._watch.forget()
                self._push.forget()
            self._ageing = Ageing(self._settings.series_idle_seconds)
            self._checks.rest()
            return
        self._ask_checks(segment)
        before = self._board.published(segment)
        if before is not None:
            self._watch.tell(segment, before)
        if self._due is None:
            # A keeper that takes over keeps the rhythm of the one before.
            self._due = 0.0 if before is None else before.monotonic / 1e9 + before.interval
            if before is None:
                self._announce()
        if time.monotonic() >= self._due:
            self._publish(segment, before)
        self._push.tick(before)

    def _ask_checks(self, segment: Segment) -> None:
        try:
            self._checks.tick(segment)
        except Exception as error:  # noqa: BLE001 - the other duties go on
            faults.report("health_checks", error)

    def _publish(self, segment: Segment, before: Published | None) -> None:
        interval = self._settings.monitoring_interval
        pause = min(interval, max(_FIRST_PAUSE_SECONDS, _age(before)))
        self._due = self._following(pause)
        host = self._sampled(before)
        reading = self._ledger.read()
        assert reading is not None
        # The first sample takes long: what follows it must not come at once.
        self._due = max(self._due, reading.monotonic / 1e9 + _LEAST_OF_PAUSE * pause)
        self._rest_idle(reading)
        point = Point(reading.monotonic, *figures.totals(reading))
        pen = self._ledger.pen
        published = Published(
            at=reading.at,
            monotonic=reading.monotonic,
            interval=interval,
            keeper=pen.number if pen is not None else 0,
            host=host,
            points=board.trimmed((*(before.points if before is not None else ()), point)),
            baseline=self._host.baseline if self._host is not None else None,
            container_baseline=self._host.container_baseline if self._host else None,
            backlog=sockets.backlog(self._descriptors()),
            push=self._push.shown(),
        )
        remembered = Remembered()
        try:
            remembered = remember(segment, reading, published)
        except Exception as error:  # noqa: BLE001 - what is of now is worth publishing
            faults.report("history", error)
        published = self._watch.judged(segment, reading, before, published, remembered)
        self._board.publish(segment, published)
        self._watch.tell(segment, published)
        self._advise(segment, reading, published)

    def _rest_idle(self, reading: Reading) -> None:
        try:
            self._ledger.age(self._ageing, reading)
        except Exception as error:  # noqa: BLE001 - what does not rest is shown
            faults.report("ageing", error)

    def _advise(self, segment: Segment, reading: Reading, published: Published) -> None:
        try:
            self._advisor.tick(segment, reading, published)
        except Exception as error:  # noqa: BLE001 - the figures are published
            faults.report("recommendations", error)

    def _following(self, pause: float) -> float:
        """Return when to publish next: in the rhythm, unless this time came too late for that."""
        now = time.monotonic()
        rhythm = (self._due or 0.0) + pause
        return rhythm if rhythm > now + _LEAST_OF_PAUSE * pause else now + pause

    def _sampled(self, before: Published | None) -> Mapping[str, Number]:
        """Sample the host; nothing is known of it if a source hangs, or OpenTelemetry is off."""
        if self._settings.sdk_disabled:
            return {}
        if self._host is None:
            # Here, because only the keeper is to pay for the import.
            with apart_from_forks():
                from otelmon.metrics.host import HostMeter

            self._host = HostMeter.of_this_machine(
                faults.report,
                baseline=before.baseline if before is not None else None,
                container_baseline=before.container_baseline if before is not None else None,
                disk_path=self._settings.disk_path or ".",
            )
            self._sample = threads.Errand(self._host.collect)
        try:
            return self._sample.run(_HOST_SECONDS)
        except Exception as error:  # noqa: BLE001 - the requests' figures are worth publishing
            faults.report("host_sample", error)
            return {}


def _age(published: Published | None) -> float:
    """Return for how many seconds the board has been kept, as far as it remembers."""
    if published is None or not published.points:
        return 0.0
    return time.monotonic() - published.points[0].monotonic / 1e9
