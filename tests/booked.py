"""What a running gunicorn has booked, read from its ledger as a stranger would."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from otelmon.ledger import identity, layout, reader
from otelmon.ledger.keys import Keys
from otelmon.ledger.segment import SharedSegment
from tests.waiting import until
from tests.wsgi_driver import Histogram, Row, histogram, rows


if TYPE_CHECKING:
    from otelmon.ledger.instrument import Instrument
    from otelmon.ledger.reader import Reading
    from tests.gunicorn_server import Gunicorn


def has_begun(server: Gunicorn) -> bool:
    """Tell whether a worker has a slot of the ledger: before, its file may be half made."""
    for path in server.ledgers.glob("*.ledger"):
        with path.open("rb") as file:
            page = os.pread(file.fileno(), layout.PAGE, 0)
        return len(page) == layout.PAGE and memoryview(page).cast("Q")[layout.HEADER_SLOTS_USED] > 0
    return False


def read(server: Gunicorn) -> Reading:
    """Read the instance's ledger from outside, as a stranger."""
    (path,) = server.ledgers.glob("*.ledger")
    header = layout.Header(0, identity.boot_id(), identity.network_namespace())
    segment = SharedSegment(path, header=header)
    try:
        return reader.read(segment, Keys(segment, series_limit=0), own=None)
    finally:
        segment.close()


class Booked:
    """What was booked since a moment."""

    def __init__(self, server: Gunicorn) -> None:
        """Begin now, with nothing in flight."""
        self._server = server
        assert until(lambda: read(server).in_flight == 0)
        self._before = read(server)

    def settled(self) -> Reading:
        """Wait until nothing is in flight; return what was read then."""
        assert until(lambda: read(self._server).in_flight == 0), self._server.log
        after = read(self._server)
        assert after.started == after.finished + after.lost
        return after

    def rows(self) -> list[Row]:
        """Return the requests that were booked since, by kind."""
        before = {row._replace(times=0): row.times for row in rows(self._before)}
        since = [
            row._replace(times=row.times - before.get(row._replace(times=0), 0))
            for row in rows(self.settled())
        ]
        return [row for row in since if row.times]

    def of(self, instrument: Instrument) -> Histogram:
        """Return what an instrument has counted since."""
        before, after = histogram(self._before, instrument), histogram(self.settled(), instrument)
        return Histogram(after.times - before.times, after.total - before.total)

    @property
    def started(self) -> int:
        """Return how many requests were begun since."""
        return self.settled().started - self._before.started
