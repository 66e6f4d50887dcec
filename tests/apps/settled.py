"""The plain application with Settings of its own, which go before the environment's."""

from __future__ import annotations

import os

from otelmon import Settings, monitor
from tests.apps.answers import application


app = monitor(
    application,
    Settings(
        enable_prometheus=True,
        prometheus_port=int(os.environ["PROMETHEUS_PORT"]),  # noqa: TID251 - a test's own
        ledger_dir=os.environ["OTELMON_DIR"],  # noqa: TID251 - as above
        token="0123456789abcdef",
    ),
)
