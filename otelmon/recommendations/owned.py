"""The database settings as they are, where they can be read at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otelmon.errors import ConfigError
from otelmon.settings.owned import Database


if TYPE_CHECKING:
    from otelmon.recommendations.evidence import Evidence


def database(evidence: Evidence) -> Database | None:
    """Return them; None if they are another program's and no pool's."""
    try:
        return Database.read(evidence.settings.owned)
    except ConfigError:
        return None
