"""Where the endpoints get everything from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol


if TYPE_CHECKING:
    from collections.abc import Mapping

    from otelmon.board import Published
    from otelmon.checks.results import Results
    from otelmon.ledger.reader import Reading
    from otelmon.metrics.past import Past
    from otelmon.recommendations.advice import Advice
    from otelmon.settings import Settings


class Source(Protocol):
    """What this process knows of the instance."""

    settings: Settings

    def reading(self) -> Reading | None:
        """Return what all processes have counted; None before this process serves."""

    def published(self) -> Published | None:
        """Return what the keeper said last; None before its first sample."""

    def past(self) -> Past | None:
        """Return what the keeper remembers; None before its first sample."""

    def checks(self) -> Results | None:
        """Return what the health checks came to; None where there are none."""

    def advice(self) -> Advice | None:
        """Return what the keeper advises; None before its first sample."""

    def draining(self) -> bool:
        """Tell whether the server is about to end, as far as this process knows."""

    def adopted(self) -> str | None:
        """Say whether what is made through the OpenTelemetry API is recorded here, if known."""

    def dropped(self) -> int:
        """Return how many records were made before this process was forked, and are nobody's."""

    def port(self) -> Mapping[str, object]:
        """Say how the metrics port does: its state, and what goes with that."""
