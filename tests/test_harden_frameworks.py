"""harden() before Bottle, Falcon and plain WSGI, under gunicorn: in memory, and in Redis by gevent."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.gunicorn_server import Gunicorn, ask
from tests.redis_server import RedisServer
from tests.visitor import Visitor


if TYPE_CHECKING:
    from collections.abc import Iterator


FRAMEWORKS = ("bottle", "falcon", "plain")


@pytest.fixture(name="server", scope="module", params=["sync", "gevent"])
def _server(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Gunicorn]:  # noqa: ANN401 - pytest's
    directory = tmp_path_factory.mktemp(request.param)
    env = {
        "SESSION_SECRET": "made up for these tests alone",
        "RATE_LIMIT": "off",
        "MAX_CONTENT_LENGTH": "1000",
        "TRUSTED_PROXIES": "0",
    }
    with RedisServer(directory) as store:
        if request.param == "gevent":
            env["REDIS_URL"] = store.patient_url
        with Gunicorn(
            directory,
            app="tests.apps.hardened_frameworks:app",
            workers=2,
            worker_class=request.param,
            env=env,
        ) as server:
            server.wait_for_workers(seconds=60)
            yield server


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_each_visitor_has_a_session_over_all_workers(server: Gunicorn, framework: str) -> None:
    """Six who come at once count their own ten visits, whoever answers them."""

    def visit(_: int) -> list[str]:
        visitor = Visitor(server.port)
        return [visitor.get(f"/{framework}/").text for _ in range(10)]

    with ThreadPoolExecutor(6) as visitors:
        found = [*visitors.map(visit, range(6))]
    assert found == [[str(number) for number in range(1, 11)]] * 6


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_policy_lets_exactly_its_number_pass(server: Gunicorn, framework: str) -> None:
    """Of twenty at once five log in, over all workers; looking at the form is not limited."""

    def login(_: int) -> int:
        return ask(server.port, f"/{framework}/login", method="POST", body=b"").status

    with ThreadPoolExecutor(6) as visitors:
        found = sorted(visitors.map(login, range(20)))
    assert found == [200] * 5 + [429] * 15
    assert server.get(f"/{framework}/login").status == 200


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_what_is_too_long_touches_no_session(server: Gunicorn, framework: str) -> None:
    """413, without a cookie; exactly the limit is a visit."""
    refused = server.get(f"/{framework}/", method="POST", body=b"x" * 1001)
    assert (refused.status, "Set-Cookie" in refused.headers) == (413, False)
    passed = server.get(f"/{framework}/", method="POST", body=b"x" * 1000)
    assert (passed.status, passed.text, "Set-Cookie" in passed.headers) == (200, "1", True)
