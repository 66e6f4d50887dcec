"""The keeper's part: to judge all rules at each of its moments, and have told what came of it.

What it knows lies on the board, so that another keeper goes on with it; a `Watch` only holds what can
be had anew: the rules, the threads that ask the application's own ones, and those that tell.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from otelmon import board, faults, threads
from otelmon.alerts import transitions
from otelmon.alerts.built_in import IDS, built_in
from otelmon.alerts.courier import Courier
from otelmon.alerts.moment import Moment
from otelmon.alerts.places import places
from otelmon.alerts.reading import figure, judged
from otelmon.alerts.room import with_room
from otelmon.alerts.showing import about
from otelmon.alerts.state import Clock, ended, interrupted, step
from otelmon.alerts.transitions import transition
from otelmon.alerts.trends import Trends
from otelmon.alerts.unseen import Unseen
from otelmon.board import AlertState
from otelmon.metrics import figures, past, processes
from otelmon.metrics.history import SERIES
from otelmon.metrics.standing import COLLECTOR


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from otelmon.alerts.courier import Place
    from otelmon.alerts.moment import Figure
    from otelmon.alerts.rules import Rule
    from otelmon.alerts.state import Step
    from otelmon.alerts.transitions import Transition
    from otelmon.board import Number, Published
    from otelmon.ledger.reader import Reading
    from otelmon.ledger.segment import Segment
    from otelmon.metrics.history import Point
    from otelmon.metrics.remembered import Remembered
    from otelmon.settings import Settings


# For all rules of the application's together; one that is not back by then has no data.
_RULES_SECONDS: Final = 2.0


class Judged(NamedTuple):
    """What became of the alerts."""

    states: tuple[AlertState, ...]
    transitions: tuple[Transition, ...]


class Watch:
    """For the keeper's thread of one process."""

    def __init__(
        self,
        settings: Settings,
        *,
        rules: Callable[[], Iterable[Rule]] = tuple,
        labels: Callable[[], Mapping[str, str]] = dict,
        told: Sequence[Place] | None = None,
    ) -> None:
        """Judge by the settings' rules, and by *rules*, which are asked for each time.

        *labels* say whose the alerts are; *told* are those of the settings unless given.
        """
        self._settings = settings
        self._labels = labels
        self._built_in = built_in(settings)
        self._rules = rules
        self._told = told
        self.forget()

    def forget(self) -> None:
        """Be as new in a forked child, and where this process is the keeper no longer."""
        self._trends = Trends(processes.resident)
        found = places(self._settings) if self._told is None else self._told
        self._couriers = [Courier(place) for place in found]
        self._asked: dict[str, tuple[Rule, threads.Errand[Figure]]] = {}
        self._moment: Moment | None = None
        self._unseen = Unseen()

    def judged(
        self,
        segment: Segment,
        reading: Reading,
        before: Published | None,
        published: Published,
        remembered: Remembered,
    ) -> Published:
        """Return what is to be published, with the alerts; as they were, if they cannot be judged.

        The changes of level are remembered, and seen once the board says so.
        """
        known = published if before is None else before
        published = replace(
            published,
            alerts=known.alerts,
            transitions=known.transitions,
            labels=self._labels(),
            channels={courier.name: courier.shown() for courier in self._couriers},
        )
        try:
            moment = self._seen(segment, reading, before, published.host, remembered)
            found = self.judge(moment, published)
            transitions.keep(segment, found.transitions)
        except Exception as error:  # noqa: BLE001 - the figures are worth publishing
            faults.report("alerts", error)
            return published
        number = published.transitions + len(found.transitions)
        return replace(published, alerts=found.states, transitions=number)

    def judge(self, moment: Moment, before: Published) -> Judged:
        """Return the states that follow from those of *before*, and the changes of level."""
        self._moment = moment
        clock = Clock(moment.monotonic, moment.at)
        old = {each.id: each for each in before.alerts}
        late = moment.gap is not None and figures.is_late(moment.gap * 1e9, moment.interval)
        deadline = time.monotonic() + _RULES_SECONDS
        steps: list[tuple[AlertState, Step]] = []
        for rule in self._all():
            state = old.pop(rule.id, None) or AlertState(rule.id)
            if late and rule.id != COLLECTOR:
                state = interrupted(state)
            steps.append((state, self._step(rule, state, moment, deadline - time.monotonic())))
        judged = tuple(after.state for _, after in steps)
        steps += [(state, ended(state, clock)) for state in old.values()]
        changed = [each for each in steps if each[1].reason is not None]
        return Judged(
            judged,
            tuple(
                transition(before.transitions + number, state, after, clock)
                for number, (state, after) in enumerate(changed, start=1)
            ),
        )

    def _all(self) -> Iterable[Rule]:
        """Return the rules, each id once; those that took too long last, or no other had time left."""
        own = with_room(self._rules(), self._settings.monitoring_interval)
        rules = {rule.id: rule for rule in (*own, *self._built_in)}
        return sorted(rules.values(), key=self._is_late)

    def _is_late(self, rule: Rule) -> bool:
        known = self._asked.get(rule.id)
        return known is not None and known[1].late

    def _seen(
        self,
        segment: Segment,
        reading: Reading,
        before: Published | None,
        host: Mapping[str, Number],
        remembered: Remembered,
    ) -> Moment:
        spans, point = remembered
        trend = self._trends.now(segment, reading, host, lambda: _points(segment))
        return Moment(
            at=reading.at,
            monotonic=reading.monotonic,
            interval=self._settings.monitoring_interval,
            reading=reading,
            host=host,
            figures={} if point is None else dict(zip(SERIES, point.values, strict=True)),
            spans=spans,
            gap=None if before is None else max(0, reading.monotonic - before.monotonic) / 1e9,
            disk_full_hours=trend.disk_full_hours,
            worker_growth=trend.worker_growth,
        )

    def _step(self, rule: Rule, before: AlertState, moment: Moment, seconds: float) -> Step:
        """Judge one rule; what its own code raises is no data, and said."""
        measured, error, said = None, None, None
        memory = tuple(tuple(each) for each in before.memory)
        try:
            found = self._figure(rule, moment, seconds)
            measured, memory = judged(rule, found, memory, moment.monotonic)
        except Exception as failure:  # noqa: BLE001 - the other rules are worth judging
            error, said = failure, type(failure).__name__
            faults.report("alert_rule", failure, of=rule.id)
        if measured is None and error is None:
            said = self._unseen.told(rule, moment, before.error)
        return step(
            rule,
            before,
            measured,
            Clock(moment.monotonic, moment.at),
            about=about(rule),
            memory=memory,
            errors=before.errors + (error is not None),
            error=said,
        )

    def _figure(self, rule: Rule, moment: Moment, seconds: float) -> Figure:
        """Ask the application's code in a thread of its own: it may hang, and is left behind."""
        if rule.value is None or rule.id in IDS:
            return figure(rule, moment)
        known = self._asked.get(rule.id)
        if known is None or known[0] is not rule:
            known = (rule, threads.Errand(partial(self._ask, rule)))
            self._asked[rule.id] = known
        return known[1].run(seconds)

    def _ask(self, rule: Rule) -> Figure:
        assert self._moment is not None
        return figure(rule, self._moment)

    # -- telling ---------------------------------------------------------------------------------

    def tell(self, segment: Segment, published: Published) -> None:
        """Have everybody told who was not yet; never waits. Only for who holds the duty."""
        for courier in self._couriers:
            try:
                courier.tick(segment, published)
            except Exception as error:  # noqa: BLE001 - as no thread to be had; tried again, others go on
                faults.report("alert_telling", error, of=courier.name)


def _points(segment: Segment) -> Sequence[Point]:
    return past.Past(segment, board.newest(segment)).points
