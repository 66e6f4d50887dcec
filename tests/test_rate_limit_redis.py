"""The counter in a real Redis, at its bounds: time passes there by taking it from all that expires."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otelmon.hardening.limit_redis import LimitRedis
from otelmon.hardening.policies import Policy, ruled
from tests.redis_server import RedisServer


if TYPE_CHECKING:
    from collections.abc import Iterator


PERIOD: Final = 60_000
"""Milliseconds"""
PASS: Final = """
for _, key in ipairs(redis.call('KEYS', '*')) do
  local left = redis.call('PTTL', key) - ARGV[1]
  if left > 0 then redis.call('PEXPIRE', key, left) else redis.call('DEL', key) end
end
"""


class Asked:
    """A client that asks a Redis whose time passes as it is told, and when it was let through."""

    def __init__(self, server: RedisServer, limit: int) -> None:
        """Have a limit in a minute."""
        server.reset()
        self.limits = LimitRedis(server.url, "tests")
        (ruling,) = ruled([Policy("p", f"{limit}/minute")])
        self._quotas = ruling.quotas
        self._client = uuid.uuid4().hex
        self._began, self._passed = time.monotonic(), 0
        self.admitted: list[tuple[float, float]] = []
        """When each began to ask, and had its answer: ms"""

    def wait(self, ms: int) -> None:
        """Let time pass."""
        self.limits._client.eval(PASS, 0, ms)
        self._passed += ms

    def ask(self) -> bool:
        """Ask once; tell whether it passed."""
        began = self._now()
        (standing,) = self.limits.hit(self._quotas, self._client).standings
        if standing.admitted:
            self.admitted.append((began, self._now()))
        return standing.admitted

    def most(self) -> int:
        """Return how many passed at the most in one stretch of a period, for certain."""
        return max(
            sum(end - PERIOD < began and had <= end for began, had in self.admitted)
            for _, end in self.admitted
        )

    def _now(self) -> float:
        return (time.monotonic() - self._began) * 1000 + self._passed


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: Any) -> Iterator[RedisServer]:  # noqa: ANN401 - pytest's
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


GAPS: Final = st.lists(
    st.one_of(
        st.just(0),
        st.integers(0, 3 * PERIOD),
        st.sampled_from([1, PERIOD - 1, PERIOD, PERIOD + 1, 2 * PERIOD - 1, 2 * PERIOD]),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=50)
@given(limit=st.integers(1, 8), gaps=GAPS)
def test_in_no_stretch_of_a_period_more_than_twice_the_limit_pass(
    server: RedisServer, limit: int, gaps: list[int]
) -> None:
    """Over any hits at any times, as in memory; and from idle the first one passes."""
    asked = Asked(server, limit)
    try:
        assert asked.ask()
        for gap in gaps:
            asked.wait(gap)
            asked.ask()
        assert asked.most() <= 2 * limit
    finally:
        asked.limits.close()


def test_the_worst_case_comes_near_twice_the_limit_and_not_above(server: RedisServer) -> None:
    """Whoever holds 99 of 100 back to the window's end and then asks evenly gets at most 200."""
    asked = Asked(server, 100)
    try:
        assert asked.ask()
        asked.wait(PERIOD - 2000)
        assert sum(asked.ask() for _ in range(150)) == 99
        for _ in range(300):
            asked.wait(PERIOD // 300)
            asked.ask()
        assert 180 <= asked.most() <= 200
    finally:
        asked.limits.close()
