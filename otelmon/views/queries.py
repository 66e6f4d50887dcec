"""Queries by what they do, and what requests ask for by route, of all processes, as JSON."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from otelmon.instruments.databases.queries import ERROR, OPERATION, SYSTEM
from otelmon.instruments.databases.tally import QUERY_TEXT, REPEATED
from otelmon.metrics.databases import times
from otelmon.metrics.quantiles import quantile


if TYPE_CHECKING:
    from collections.abc import Mapping

    from otelmon.ledger.instrument import Attribute
    from otelmon.metrics.rows import Row

    Route = tuple[Attribute | None, Attribute | None]


_MOST_ROUTES: Final = 50
"""Those with most time in queries; the Prometheus text and exporters have all"""
_METHOD: Final = "http.request.method"
_ROUTE: Final = "http.route"


def shown(found: Mapping[str, list[Row]]) -> dict[str, Any]:
    """Return operations, and routes by their time in queries, out of the rows of databases."""
    routes = [_route(route, its) for route, its in _by_route(found).items()]
    routes.sort(key=lambda each: -(each["seconds"] or 0.0))
    return {
        "operations": [_operation(row) for row in found.get("db.client.operation.duration", ())],
        "routes": routes[:_MOST_ROUTES],
        "routes_left_out": max(0, len(routes) - _MOST_ROUTES),
    }


def _operation(row: Row) -> dict[str, Any]:
    attributes = dict(row.attributes)
    return {
        "system": attributes.get(SYSTEM),
        "operation": attributes.get(OPERATION),
        "error": attributes.get(ERROR),
        **times(row),
    }


def _by_route(found: Mapping[str, list[Row]]) -> dict[Route, dict[str, list[Row]]]:
    by_route: defaultdict[Route, dict[str, list[Row]]] = defaultdict(dict)
    for name, each in found.items():
        if name.startswith("otelmon.http.server."):
            for row in each:
                attributes = dict(row.attributes)
                route = (attributes.get(_METHOD), attributes.get(_ROUTE))
                by_route[route].setdefault(name, []).append(row)
    return by_route


def _route(route: Route, found: dict[str, list[Row]]) -> dict[str, Any]:
    counts = next(iter(found.get("otelmon.http.server.queries", ())), None)
    time = next(iter(found.get("otelmon.http.server.query.duration", ())), None)
    requests = 0 if counts is None else counts.count
    p95 = None
    if counts is not None:
        p95 = quantile(counts.instrument.bounds, counts.buckets, 0.95).value
    return {
        "method": route[0],
        "route": route[1],
        "requests": requests,
        "queries": 0 if counts is None else int(counts.value),
        "queries_per_request": round(counts.value / requests, 2) if counts and requests else None,
        # Whole ones: between two bounds no query is a fraction.
        "queries_p95": None if p95 is None else math.ceil(p95),
        "seconds": None if time is None else round(time.value, 3),
        "repeated": [
            {"statement": dict(row.attributes).get(QUERY_TEXT), "requests": int(row.value)}
            for row in found.get("otelmon.http.server.n_plus_one", ())
        ],
        "repeated_from": REPEATED,
    }
