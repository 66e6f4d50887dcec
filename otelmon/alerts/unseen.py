"""Rules whose `metric` is the name of nothing: mistyped, most often, and without data for ever."""

from __future__ import annotations

import difflib
import logging
from typing import TYPE_CHECKING, Final

from otelmon.metrics.history import SERIES


if TYPE_CHECKING:
    from otelmon.alerts.moment import Moment
    from otelmon.alerts.rules import Rule


log = logging.getLogger("otelmon")

_PATIENCE: Final = 10
"""Moments with requests: an instrument has no series before something was recorded"""
_NEAR_NAMES: Final = 3


class Unseen:
    """Tells of each such rule once; for the keeper's thread of one process."""

    def __init__(self) -> None:
        """Nothing was missed so far."""
        self._moments: dict[str, int] = {}

    def told(self, rule: Rule, moment: Moment, before: str | None) -> str | None:
        """Return what is wrong with *rule*, which has no data; None if nothing is, or not yet.

        *before* is what was said of it at the moment before, whoever was the keeper then.
        """
        if rule.value is not None or rule.metric in SERIES:
            return None
        names = {series.instrument.name for series in moment.reading.series}
        if rule.metric in names:
            return None
        said = f"no series {rule.metric}"
        known = before if before is not None and before.startswith(said) else None
        seen = self._moments.get(rule.id, 0) + (moment.reading.finished > 0)
        self._moments[rule.id] = seen
        if known is not None or seen < _PATIENCE:
            return known
        near = difflib.get_close_matches(rule.metric, sorted({*names, *SERIES}), _NEAR_NAMES)
        if near:
            said += f"; near: {', '.join(near)}"
        log.warning(
            "The rule %s has no data: there is %s. It judges nothing until something is recorded by "
            "that name; if the name is mistyped, correct `metric` of the rule.",
            rule.id,
            said,
        )
        return said
