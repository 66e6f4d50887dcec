"""The room on the board: how an alert stands lies there, with the words of its rule and its samples.

Without a bound, one application's rules could keep everything else off it. What is asked here is
the most that a rule may come to need, so that none is judged now and left out later.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from otelmon import faults
from otelmon.alerts.reading import MOST_SAMPLES
from otelmon.alerts.showing import about
from otelmon.errors import LedgerError
from otelmon.ledger import layout


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from otelmon.alerts.rules import Rule


# The rest is for the built-in rules, the host's figures and the last minute's points.
BYTES: Final = layout.BOARD_BUFFER * 3 // 4
"""What the application's rules may take of the board together"""

# As JSON, with numbers of the usual length: an alert without samples, and a sample of one or two.
_STATE_BYTES: Final = 700
_NUMBER_BYTES: Final = 40
_NUMBERS_BYTES: Final = 60
# A young instance is judged more often than once per interval.
_FIRST_SAMPLES: Final = 8


def with_room(rules: Iterable[Rule], interval: float) -> Iterator[Rule]:
    """Yield the rules that have room, in the order in which they come; of the others say so."""
    left = BYTES
    for rule in rules:
        needed = size(rule, interval)
        if needed <= left:
            left -= needed
            yield rule
        else:
            error = LedgerError(
                f"The board has no room for the rule {rule.id!r}, beside those added before it: "
                "add fewer rules, or ones with fewer words."
            )
            faults.report("alert_rule", error, of=rule.id)


def size(rule: Rule, interval: float) -> int:
    """Return how many bytes of the board a rule may come to need, judged every *interval* seconds."""
    samples = min(MOST_SAMPLES, rule.window_seconds / interval) + _FIRST_SAMPLES
    plain = rule.value is None and rule.aggregation not in ("rate", "average")
    each = _NUMBER_BYTES if plain else _NUMBERS_BYTES
    return len(json.dumps(about(rule))) + _STATE_BYTES + round(samples * each)
