"""`/api/metrics/alerts`: all rules with their state, what they did last, and who was told."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from otelmon.alerts import showing, transitions
from otelmon.ledger import layout
from otelmon.metrics import figures, standing
from otelmon.views.response import as_json


if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from otelmon.views.response import Response
    from otelmon.views.source import Source


def alerts(source: Source, _environ: WSGIEnvironment) -> Response:
    """Answer with every alert, worst first, and the last 200 transitions, newest first."""
    past = source.past()
    reading, published = source.reading(), source.published()
    labels = {} if published is None else published.labels
    found = standing.worst_first(standing.states(published, reading))
    upto = 0 if published is None else published.transitions
    records = [] if past is None else past.records(layout.TRANSITIONS, upto)
    return as_json(
        {
            "counts": standing.counts(published, reading),
            "state": standing.known(published, reading),
            "alerts": [showing.of_rule(each, labels) for each in found],
            "transitions": [
                showing.of_transition(each, labels)
                for each in reversed(transitions.decoded(records))
            ],
            "notifications": {} if published is None else published.channels,
            "keeper_age_seconds": figures.rounded(figures.keeper_age(reading, published)),
            "timestamp": figures.iso(time.time_ns() / 1e9),
        }
    )
