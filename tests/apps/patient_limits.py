"""Rate limits that wait for their counts also where the machine is busy."""

from __future__ import annotations

from functools import partial

from otelmon.ledger import quota_file
from otelmon.ledger.stripes import Stripes


def wait_for_counts() -> None:
    """Let no request of this process pass uncounted because a lock's holder waits for its turn.

    By default one does that cannot have the lock within a quarter of a second.
    """
    vars(quota_file)["Stripes"] = partial(Stripes, seconds=20.0)
