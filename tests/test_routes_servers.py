"""Routes under real gunicorn workers: exact for each route, and no path among them."""

from __future__ import annotations

import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import pytest

from tests.apps import mounted_shops
from tests.gunicorn_server import Gunicorn
from tests.routed import ANSWERS
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


TIMES: Final = 5
_COUNT: Final = re.compile(
    r'^app_requests_total\{method="(\w+)",endpoint="([^"]*)",status="(\d+)"\} (\S+)$', re.MULTILINE
)

Counts = Counter[tuple[str, str, int]]


def counted(server: Gunicorn) -> Counts:
    """Return the requests of a scrape by method, route and status."""
    found = _COUNT.findall(server.get("/metrics", timeout=60).text)
    return Counter(
        {
            (method, route.replace(r"\\", "\\"), int(status)): round(float(count))
            for method, route, status, count in found
        }
    )


def send(
    server: Gunicorn,
    requests: Iterable[tuple[str, str]],
    headers: Mapping[str, str] | None = None,
) -> Counter[int]:
    """Send each request from eight clients at once; return the statuses."""

    def one(request: tuple[str, str]) -> int:
        method, path = request
        return server.get(path, method=method, headers=headers, timeout=60).status

    with ThreadPoolExecutor(8) as clients:
        return Counter(clients.map(one, requests))


@pytest.mark.parametrize("framework", sorted(ANSWERS))
def test_every_route_is_counted_exactly(tmp_path: Path, framework: str) -> None:
    """Over four workers each route and status of a framework has the requests that were sent."""
    answers = ANSWERS[framework]
    expected: Counts = Counter()
    for (method, _), (route, status) in answers.items():
        expected[method, route, status] += TIMES
    with Gunicorn(tmp_path, app=f"tests.apps.{framework}_shop:observed()") as server:
        statuses = send(server, list(answers) * TIMES)

        assert until(lambda: counted(server).total() >= expected.total(), 30), server.log
        assert counted(server) == expected
        assert server.get("/health").json()["otelmon"]["faults"] == {}

    assert statuses == Counter(
        {
            status: TIMES * sum(1 for _, one in answers.values() if one == status)
            for status in {status for _, status in answers.values()}
        }
    )


def test_every_mounted_route_is_counted_exactly(tmp_path: Path) -> None:
    """All frameworks in one mount table are counted, whatever prefix each client invents."""
    templates = mounted_shops.TEMPLATES
    with Gunicorn(tmp_path, app="tests.apps.mounted_shops:observed()") as server:
        for number in range(TIMES):
            prefix = f"/invented/{number}"
            send(
                server,
                [("GET", path) for path in templates],
                {"X-Forwarded-Prefix": f"{prefix}, {prefix}/below"},
            )

        expected: Counter[str] = Counter()
        for route in templates.values():
            expected[route] += TIMES
        assert until(lambda: counted(server).total() >= expected.total(), 30), server.log
        by_route: Counter[str] = Counter()
        for (_, route, _), times in counted(server).items():
            by_route[route] += times
        assert by_route == expected
