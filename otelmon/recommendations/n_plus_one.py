"""A request asks the database the same thing again and again."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from otelmon.recommendations.amounts import share
from otelmon.recommendations.verdict import (
    PASS,
    Action,
    Finding,
    Verdict,
    not_applicable,
    recommend,
)


if TYPE_CHECKING:
    from collections.abc import Iterable

    from otelmon.metrics.rows import Row
    from otelmon.recommendations.evidence import Evidence


QUERIES: Final = "otelmon.http.server.queries"
REPEATED: Final = "otelmon.http.server.n_plus_one"
REPEATS: Final = 10
"""Above this many runs of one statement in one request; `instruments.databases` counts these"""

_TEXT: Final = "db.query.text"
_SHARE: Final = 0.05
_REQUESTS: Final = 5
_LONGEST: Final = 120


def judge(evidence: Evidence) -> Verdict:
    """Ask whether 5 % of a route's requests ran one statement 10 times or more, 5 of them lately."""
    asked = _by_route(evidence.measured.get(QUERIES, ()))
    if not asked:
        return not_applicable("No request is seen to ask a database.")
    lately = round(evidence.counts.get("n_plus_one", 0))
    found = _by_route(evidence.measured.get(REPEATED, ()))
    shares = {route: times / asked[route] for route, times in found.items() if asked.get(route)}
    if lately < _REQUESTS or max(shares.values(), default=0.0) < _SHARE:
        return PASS
    route = max(shares, key=lambda each: found[each])
    statement = _statement(evidence, route)
    return recommend(
        Finding(
            message=f"{_named(route)} runs one statement {REPEATS} times or more in "
            f"{share(shares[route])} of its requests ({_shortened(statement)}). "
            "Consider: eager loading, or one query for all.",
            evidence={
                "route": _named(route),
                "share": round(shares[route], 4),
                "requests": found[route],
                "requests_lately": lately,
                "window_seconds": 900,
                "statement": statement,
                "threshold": _SHARE,
            },
            actions=(
                Action(f"Load what {_named(route)} shows with the query that finds it."),
                Action("With SQLAlchemy selectinload(), with Django prefetch_related()."),
            ),
        )
    )


Route = tuple[object, object]


def _route(row: Row) -> Route:
    found: dict[str, Any] = dict(row.attributes)
    return found.get("http.request.method"), found.get("http.route")


def _named(route: Route) -> str:
    return " ".join(str(each) for each in route if each is not None) or "a request without a route"


def _by_route(rows: Iterable[Row]) -> Counter[Route]:
    """Return how many requests there are of each route."""
    found = Counter[Route]()
    for row in rows:
        found[_route(row)] += row.count if row.buckets else int(row.value)
    return found


def _statement(evidence: Evidence, route: Route) -> str:
    """Return what is run most often again and again there, without its values."""
    rows = [each for each in evidence.measured.get(REPEATED, ()) if _route(each) == route]
    worst = max(rows, key=lambda each: each.value)
    return str(dict(worst.attributes).get(_TEXT, "?"))


def _shortened(statement: str) -> str:
    return statement if len(statement) <= _LONGEST else f"{statement[: _LONGEST - 3]}..."
