"""Where an instrument is recorded in a process's slot, by attributes."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from otelmon.errors import LedgerError
from otelmon.ledger.instrument import OVERFLOW
from otelmon.ledger.pen import FREE_THREADED
from otelmon.metrics.api.attributes import normalised


if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from otelmon.ledger.hold import Hold
    from otelmon.ledger.instrument import Attributes, Instrument
    from otelmon.ledger.keys import Keys

    Raw = tuple[tuple[str, object], ...]
    Place = tuple[int, int]


# More ways to write attributes are not remembered: a view may drop one that has no end of values.
_MOST: Final = 8192
UNEQUALLED: Final[Any] = object()
_TEXTS: Final = frozenset((str,))
_EXACT: Final = frozenset((str, bool, int, float))


class Interrupted(Exception):  # noqa: N818 - not an error: it is recorded a moment later
    """Attributes have no place yet, and none can be made in what interrupts a change of the keys."""

    def __init__(self, keys: Keys, attributes: Attributes) -> None:
        """Say which *keys* are being changed."""
        super().__init__()
        self.keys = keys
        self.attributes = attributes


class NoPlaces:
    """What an instrument has before it was recorded to: nothing is found here."""

    fast: Any = UNEQUALLED
    texts: Final[Mapping[object, Place]] = MappingProxyType({})

    def typed(self, _: Raw) -> None:
        """Find nothing."""

    def known(self, _: Mapping[str, object] | None) -> None:
        """Find nothing."""


class Places:
    """Where one instrument's series lie in one memory: (first counting or value lane, lane of sums).

    Attributes that were seen before are looked up as the caller wrote them. As 1, 1.0 and True are
    equal and not the same, only those with texts alone are in `texts`, which hot paths ask; the
    others are found by their types too.
    """

    __slots__ = ("_hold", "_instrument", "_keep", "_typed", "fast", "pen", "texts")

    def __init__(self, hold: Hold, instrument: Instrument, keep: AbstractSet[str] | None) -> None:
        """Know none yet; of attributes only those to *keep* count, all if that is None."""
        self._hold = hold
        self._instrument = instrument
        self._keep = keep
        assert hold.pen is not None
        self.pen = hold.pen
        self.fast: Any = UNEQUALLED if FREE_THREADED else hold.pen
        """What the ledger's pen must be for the fast path; without the GIL all take turns"""
        self.texts: dict[Raw, Place] = {}
        self._typed: dict[object, Place] = {}

    def find(self, attributes: Mapping[str, object] | None) -> Place:
        """Return the place of a set of attributes, or of the overflow series.

        Raises:
            Interrupted: this interrupts a change of the ledger's keys.
            LedgerError: the ledger has no place at all, not even for an overflow series.
        """
        known, key = self._key(attributes)
        found = known.get(key)
        if found is None:
            found, own = self._place(attributes)
            # Perhaps an overflow is over next time; and there is no end of such attributes.
            if own and key is not None:
                if len(known) >= _MOST:
                    known.clear()
                known[key] = found
        return found

    def typed(self, raw: Raw) -> Place | None:
        """Return the place of attributes that are not all texts, if they were found before."""
        return self._typed.get((raw, tuple([value.__class__ for _, value in raw])))

    def known(self, attributes: Mapping[str, object] | None) -> Place | None:
        """Return the place of attributes that were found before and have one of their own."""
        known, key = self._key(attributes)
        return known.get(key)

    def _key(self, attributes: Mapping[str, object] | None) -> tuple[dict[Any, Place], object]:
        """Return where attributes are remembered, and as what; as None they never are."""
        raw: Raw = tuple(attributes.items()) if attributes else ()
        types = tuple([value.__class__ for _, value in raw])
        if _TEXTS.issuperset(types):
            return self.texts, raw
        # Lists can be changed, and subclasses can lie.
        return self._typed, (raw, types) if _EXACT.issuperset(types) else None

    def _place(self, attributes: Mapping[str, object] | None) -> tuple[Place, bool]:
        """Return a place, and whether it is of these attributes alone."""
        wanted = normalised(attributes or {}, self._keep)
        series = self._hold.series(self._instrument, wanted)
        own = series is not None and (series.attributes != OVERFLOW or wanted == OVERFLOW)
        if not own and self._hold.keys.interrupted():
            raise Interrupted(self._hold.keys, wanted)
        if series is None:
            raise LedgerError(f"The ledger has no lanes for {self._instrument.name}.")
        return (series.base, series.sums), own
