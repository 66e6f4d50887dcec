"""The client libraries, each behind one call, and what was recorded of their requests."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest
import requests
import urllib3

from otelmon import faults
from otelmon.instruments.http_client import observe_http_client
from tests.free_ports import free_port
from tests.http_peer import Peer, http_peer
from tests.metered import Metered


if TYPE_CHECKING:
    from collections.abc import Iterator


DURATION: Final = "http.client.request.duration"
HERE: Final = "127.0.0.1"
PATIENCE: Final = 60.0
"""Seconds that a client waits for its answer, where no time-out is what is tested"""

# Each makes one request, follows redirects and returns the status.


def by_requests(method: str, url: str, **more: Any) -> int:  # noqa: ANN401 - handed on
    """Ask by requests."""
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, url, **{"timeout": PATIENCE, **more}).status_code


def by_urllib3(method: str, url: str, **more: Any) -> int:  # noqa: ANN401 - handed on
    """Ask by urllib3."""
    with urllib3.PoolManager(timeout=PATIENCE) as pools:
        return pools.request(method, url, **more).status


def by_httpx(method: str, url: str, **more: Any) -> int:  # noqa: ANN401 - handed on
    """Ask by httpx."""
    with httpx.Client(trust_env=False, follow_redirects=True, timeout=PATIENCE) as client:
        return client.request(method, url, **more).status_code


def by_async_httpx(method: str, url: str, **more: Any) -> int:  # noqa: ANN401 - handed on
    """Ask by httpx's asynchronous client."""

    async def ask() -> int:
        async with httpx.AsyncClient(
            trust_env=False, follow_redirects=True, timeout=PATIENCE
        ) as client:
            return (await client.request(method, url, **more)).status_code

    return asyncio.run(ask())


CLIENTS: Final = {
    "requests": by_requests,
    "urllib3": by_urllib3,
    "httpx": by_httpx,
    "httpx, async": by_async_httpx,
}


def seen_by(metered: Metered) -> Counter[tuple[str, int]]:
    """Return what was recorded in the words of the server."""
    return Counter(metered.by(DURATION, "http.request.method", "http.response.status_code"))  # type: ignore[arg-type]


def refused() -> int:
    """Return a port that nobody listens on, and nobody begins to."""
    return free_port()


each_client = pytest.mark.parametrize("ask", CLIENTS.values(), ids=CLIENTS.keys())


@pytest.fixture(name="peer")
def near_peer() -> Iterator[Peer]:
    """Serve what is asked."""
    with http_peer() as peer:
        yield peer


@pytest.fixture(name="metered")
def metered_clients() -> Iterator[Metered]:
    """Measure what is asked of this machine; nothing of it may fail."""
    metered = Metered()
    with observe_http_client(hosts={HERE}, meter=metered.meter):
        yield metered
    assert faults.seen() == {}
