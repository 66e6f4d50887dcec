"""The same application on a ledger that forgets the dead, as one file per process would."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otelmon.ledger import slots


if TYPE_CHECKING:
    from otelmon.ledger.instrument import Series


def _forget(counts: memoryview, known: list[Series]) -> None:
    for lane in range(len(counts)):
        counts[lane] = 0


slots._settle = _forget

from tests.apps.plain import app  # noqa: E402 - it must find the ledger changed


__all__ = ["app"]
