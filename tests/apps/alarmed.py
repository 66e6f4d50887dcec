"""An application with rules of its own: one goes by a file, one by a counter, one fails, one hangs."""

from __future__ import annotations

import os
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import otelmon
from tests.apps.answers import application, tagged


if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from otelmon.alerts.moment import Moment


LEVEL = Path(os.environ["LEVEL"])  # noqa: TID251 - how a test tells its application something
at_once = partial(otelmon.Rule, for_seconds=0.0, resolve_seconds=0.0, window_seconds=0.0)


def level(_: Moment) -> float:
    """Return what stands in the file."""
    return float(LEVEL.read_text())


def other(_: Moment) -> float:
    """Return what stands in the file beside it."""
    return float(LEVEL.with_suffix(".other").read_text())


def fail(_: Moment) -> float:
    """Fail, with something that nobody is to see."""
    raise RuntimeError("secret")


def hang(_: Moment) -> float:
    """Never come back."""
    threading.Event().wait()
    return 0.0


otelmon.add_rule(
    at_once(id="level", value=level, warning=10, critical=20, subject="The level", unit="m")
)
otelmon.add_rule(at_once(id="other", value=other, warning=10))
otelmon.add_rule(
    otelmon.Rule(id="slow_to_fire", value=level, warning=10, window_seconds=0.0, for_seconds=600.0)
)
otelmon.add_rule(otelmon.Rule(id="failing", value=fail, warning=1))
otelmon.add_rule(otelmon.Rule(id="hanging", value=hang, warning=1))
sold = partial(
    otelmon.Rule, metric="shop.orders", aggregation="rate", warning=0.5, for_seconds=0.0, unit="/s"
)
otelmon.add_rule(sold(id="orders", where={"kind": "book"}))
otelmon.add_rule(sold(id="all_orders"))
orders = otelmon.meter_provider().get_meter("shop").create_counter("shop.orders")


def shop(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Count an order where one comes in."""
    if environ["PATH_INFO"] == "/order":
        orders.add(1, {"kind": environ["QUERY_STRING"]})
    return application(environ, start_response)


app = tagged(otelmon.monitor(shop))
