"""Which lanes of the ledger a request is booked to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otelmon.errors import LedgerError
from otelmon.ledger.instrument import Series
from otelmon.ledger.requests import (
    DURATION,
    FIRST_BYTE,
    QUEUE,
    REQUEST_SIZE,
    RESPONSE_SIZE,
    SECONDS,
    SIZES,
)
from otelmon.middleware.routes import UNMATCHED


if TYPE_CHECKING:
    from collections.abc import Callable

    from otelmon.ledger.instrument import Attribute, Attributes, Instrument
    from otelmon.ledger.ledger import Ledger
    from otelmon.ledger.pen import Pen

    Words = tuple[str, str | None, str | None, str | None, str]
    Key = tuple[str, str, int | str, str | None, str]


# https://opentelemetry.io/docs/specs/semconv/http/http-metrics/: any other method is _OTHER.
METHODS: Final = frozenset(
    ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE")
)
OTHER: Final = "_OTHER"

OK: Final = "ok"
ERROR: Final = "error"
ABORTED: Final = "aborted"
DISCONNECTED: Final = "client_disconnected"

# Exception classes are the application's own and few; somebody may still make them by the dozen.
_MAX_ERROR_TYPES: Final = 100
_MAX_KNOWN: Final = 20_000
_SERVER_ERROR: Final = 500
_NOBODY: Final = ("", "", "", None, "")


class Cells:
    """The first lane of each series that a request is booked to, and the lane of its sum."""

    __slots__ = (
        "by_route",
        "duration",
        "duration_sum",
        "first_byte",
        "first_byte_sum",
        "overflow",
        "queue",
        "queue_sum",
        "request_size",
        "request_size_sum",
        "response_size",
        "response_size_sum",
    )

    def __init__(self, find: Callable[[Instrument, Attributes], Series], key: Key) -> None:
        """Find all series of the requests of one kind; `overflow` tells that not all are its own."""
        method, route, status, error, outcome = key
        by_route: Attributes = (("http.request.method", method), ("http.route", route))
        self.by_route = by_route
        attributes: dict[str, Attribute] = {
            **dict(by_route),
            "http.response.status_code": status,
            "otelmon.outcome": outcome,
        }
        if error is not None:
            attributes["error.type"] = error
        wanted: tuple[tuple[Instrument, Attributes], ...] = (
            (DURATION, tuple(sorted(attributes.items()))),
            (FIRST_BYTE, by_route),
            (QUEUE, ()),
            (REQUEST_SIZE, by_route),
            (RESPONSE_SIZE, by_route),
        )
        found = [find(*each) for each in wanted]
        self.overflow = [(one.instrument, one.attributes) for one in found] != list(wanted)
        self.duration, self.first_byte, self.queue, self.request_size, self.response_size = (
            one.base for one in found
        )
        self.duration_sum = self.duration + len(SECONDS) + 1
        self.first_byte_sum = self.first_byte + len(SECONDS) + 1
        self.queue_sum = self.queue + len(SECONDS) + 1
        self.request_size_sum = self.request_size + len(SIZES) + 1
        self.response_size_sum = self.response_size + len(SIZES) + 1


class CellCache(dict["Words", Cells]):
    """Which lanes of one pen belong to which kind of request.

    The keys are the words in which server, application and we put it, so that a request of a kind
    that was seen before costs one look-up. What clients choose is no key: they would never end.
    """

    def __init__(
        self, ledger: Ledger, pen: Pen, *, unmatched: Callable[[], None] = lambda: None
    ) -> None:
        """Know nothing yet; *unmatched* hears of each new kind of request that has no route."""
        super().__init__()
        self.pen = pen
        self._unmatched = unmatched
        self._ledger = ledger
        self._found: dict[Key, Cells] = {}
        self._error_types: set[str] = set()
        # For requests that outlive the pen: it writes nowhere then, whatever the lane.
        self._nowhere = Cells(lambda one, attributes: Series(one, attributes, 0), _NOBODY)

    def __missing__(self, words: Words) -> Cells:
        """Find the lanes of a kind of request that was not seen before.

        Raises:
            LedgerError: the ledger has none, not even those of the overflow series.
        """
        if self.pen is not self._ledger.pen:
            return self._nowhere
        method, route, status, error, outcome = words
        if status is None and outcome == OK:
            # The application never called `start_response`; the server cannot have liked it.
            outcome = ERROR
        code = status_code(status)
        if error is None and isinstance(code, int) and code >= _SERVER_ERROR:
            error = str(code)
        known_method = method if method in METHODS else OTHER
        key = (known_method, str(route or UNMATCHED), code, self._bounded(error), outcome)
        cells = self._found.get(key)
        if cells is None:
            cells = Cells(self._find, key)
            if cells.overflow:
                # Such keys have no end, and perhaps there is a series of its own next time.
                return cells
            self._found[key] = cells
            if route is None:
                # The application may have made, or imported, what knows routes only to answer it.
                self._unmatched()
        if known_method is method and len(self) < _MAX_KNOWN:
            self[words] = cells
        return cells

    def _find(self, instrument: Instrument, attributes: Attributes) -> Series:
        series = self._ledger.series(instrument, attributes)
        if series is None:
            raise LedgerError(f"The ledger has no lanes for {instrument.name}.")
        return series

    def _bounded(self, error: str | None) -> str | None:
        if error is None or error in self._error_types:
            return error
        if len(self._error_types) >= _MAX_ERROR_TYPES:
            return OTHER
        self._error_types.add(error)
        return error


def status_code(status: str | None) -> int | str:
    """Return the code that a status line begins with.

    An application that never called `start_response` made its server answer 500.
    """
    if status is None:
        return 500
    digits = status[:3]
    return int(digits) if len(digits) == 3 and digits.isdecimal() else OTHER
