"""What the ledger has counted as Prometheus text, 0.0.4 or OpenMetrics 1.0.

Which samples a series is shown as is found out once; a text is then the filling-in of numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from otelmon.instruments.figures import SHOWN
from otelmon.metrics import instance, vocabulary
from otelmon.metrics.families import head, taken
from otelmon.metrics.names import number
from otelmon.metrics.plan import Plan
from otelmon.metrics.recent import WINDOWS, Windowed


if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from otelmon.board import Published
    from otelmon.ledger.reader import Reading
    from otelmon.metrics.instance import Fixed
    from otelmon.metrics.summary import Recent


Names = Literal["seed", "semconv", "both"]

# Which of them are shown depends on the host; none may come to mean something else.
_HOST: Final = frozenset(figure.prometheus for figure in SHOWN)
_BESIDE: Final = taken(instance.CHECK_UP.name, instance.CHECK_UP.kind)
_FIXED: Final = {
    "seed": (*instance.SEED, *instance.OWN),
    "semconv": (*instance.SEMCONV, *instance.OWN),
    "both": (*instance.SEED, *instance.SEMCONV, *instance.OWN),
}


class Renderer:
    """Renders one process's readings; any thread may ask for a text."""

    def __init__(self, *, names: Names = "seed", version: str) -> None:
        """Use these *names* for requests; *version* is otelmon's own."""
        self._fixed = (*_FIXED[names], instance.build_info(version))
        requests = {} if names == "semconv" else vocabulary.SEED
        self._plan = Plan(
            {**requests, **vocabulary.PROCESS},
            own_names=vocabulary.SEED.keys() if names == "both" else frozenset(),
            others=_HOST.union(
                *(taken(each.name, each.kind) for each in self._fixed),
                *(taken(each.name, each.kind) for each in WINDOWS),
                _BESIDE,
            ),
        )

    def text(
        self,
        reading: Reading | None,
        published: Published | None,
        *,
        openmetrics: bool,
        recent: Recent | None = None,
        host: bytes = b"",
        others: Callable[[Container[str]], bytes] | None = None,
    ) -> bytes:
        """Return the whole document; *host* are the host's families in the same format.

        The windows are those of *recent*, without it none.

        *others* is given the names that are taken, and returns whatever else is to be shown.
        """
        parts = [host]
        if reading is not None:
            # Two threads may both do this; they come to the same.
            plan = self._plan = self._plan.upto(reading.series)
            parts += plan.samples(reading, openmetrics=openmetrics)
            for fixed in self._fixed:
                values = dict(fixed.samples(reading, published))
                parts.append(text_of(fixed, values, openmetrics=openmetrics))
        if recent is not None:
            for windowed in WINDOWS:
                values = dict(windowed.samples(recent))
                parts.append(text_of(windowed, values, openmetrics=openmetrics))
        if others is not None:
            parts.append(others(self._plan.taken().union(_HOST)))
        if openmetrics:
            parts.append(b"# EOF\n")
        return b"".join(parts)


def text_of(
    family: Fixed | Windowed, values: Mapping[bytes, float | None], *, openmetrics: bool
) -> bytes:
    """Return the text of a family with these values by labels; nothing if none is known."""
    known = [(labels, value) for labels, value in values.items() if value is not None]
    if not known:
        return b""
    name = f"{family.name}_total" if family.kind == "counter" else family.name
    lines = [head(family.name, family.kind, family.about, openmetrics=openmetrics)]
    for labels, value in known:
        braces = b"{%b}" % labels if labels else b""
        lines.append(b"%b%b %b\n" % (name.encode(), braces, number(value)))
    return b"".join(lines)
