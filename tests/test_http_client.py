"""Outgoing requests: the figures are what the server saw."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest
import requests
import urllib3
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.metrics.export import HistogramDataPoint
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from otelmon.instruments.http_client import observe_http_client
from otelmon.ledger.requests import SECONDS
from tests.http_clients import (  # noqa: F401 - fixtures
    CLIENTS,
    DURATION,
    HERE,
    PATIENCE,
    each_client,
    metered_clients,
    near_peer,
    refused,
    seen_by,
)
from tests.http_peer import Peer, http_peer
from tests.metered import Metered


if TYPE_CHECKING:
    from collections.abc import Callable

    Ask = Callable[..., int]


# -- figures ---------------------------------------------------------------------------------------


@each_client
def test_a_request_is_one_with_all_its_attributes(ask: Ask, peer: Peer, metered: Metered) -> None:
    """A request is recorded once, in seconds, under the conventions' names and bounds."""
    began = time.perf_counter()
    assert ask("GET", peer.url("/ok?secret=1")) == 200
    took = time.perf_counter() - began

    (point,) = metered.points(DURATION).values()
    assert isinstance(point, HistogramDataPoint)
    assert point.attributes == {
        "http.request.method": "GET",
        "server.address": HERE,
        "server.port": peer.port,
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
        "url.scheme": "http",
    }
    assert point.count == 1
    assert tuple(point.explicit_bounds) == SECONDS
    assert 0 < point.sum <= took
    metric = metered.metric(DURATION)
    assert metric is not None
    assert metric.unit == "s"


ANSWERS: Final = {
    ("GET", "/status/404"): (404, "404"),
    ("POST", "/status/201"): (201, None),
    ("DELETE", "/status/204"): (204, None),
    ("HEAD", "/ok"): (200, None),
    ("PUT", "/status/500"): (500, "500"),
    ("GET", "/status/599"): (599, "599"),
    ("GET", "/status/304"): (304, None),
    ("GET", "/status/799"): (None, "_OTHER"),
    ("BREW", "/status/400"): (400, "400"),
}


@each_client
def test_every_answer_is_counted_by_its_status(ask: Ask, peer: Peer, metered: Metered) -> None:
    """Statuses from 400 on are errors by their number; unknown methods and statuses are no label."""
    for method, path in ANSWERS:
        ask(method, peer.url(path))

    names = ("http.request.method", "http.response.status_code", "error.type")
    assert metered.by(DURATION, *names) == {
        ("_OTHER" if method == "BREW" else method, *answer): 1
        for (method, _), answer in ANSWERS.items()
    }


@each_client
def test_each_hop_of_a_redirect_is_a_request(ask: Ask, peer: Peer, metered: Metered) -> None:
    """A call that is redirected three times is four requests, as the server saw."""
    assert ask("GET", peer.url("/redirect/3")) == 200

    assert seen_by(metered) == peer.seen == {("GET", 302): 3, ("GET", 200): 1}


@each_client
def test_a_streamed_body_is_one_request(ask: Ask, peer: Peer, metered: Metered) -> None:
    """A body in pieces changes nothing."""
    assert ask("GET", peer.url("/stream")) == 200

    assert seen_by(metered) == peer.seen == {("GET", 200): 1}


def test_a_body_is_the_application_s_to_read(peer: Peer, metered: Metered) -> None:
    """A response that is streamed is recorded before its body is read, and read as ever."""
    with requests.Session() as session, session.get(peer.url("/stream"), stream=True) as response:
        assert seen_by(metered) == {("GET", 200): 1}
        assert b"".join(response.iter_content(2)) == b"abc" * 5
    with (
        httpx.Client(timeout=PATIENCE) as client,
        client.stream("GET", peer.url("/stream")) as answer,
    ):
        assert seen_by(metered) == {("GET", 200): 2}
        assert b"".join(answer.iter_bytes()) == b"abc" * 5

    assert seen_by(metered) == peer.seen


@pytest.mark.parametrize("library", ["requests", "urllib3"])
def test_each_attempt_of_a_retry_is_a_request(library: str, peer: Peer, metered: Metered) -> None:
    """What urllib3 tries again is a request each time, because the server gets each of them."""
    retry = Retry(5, status_forcelist=[503], backoff_factor=0)
    url = peer.url("/flaky/2")
    if library == "requests":
        with requests.Session() as session:
            session.mount("http://", HTTPAdapter(max_retries=retry))
            assert session.get(url, timeout=PATIENCE).status_code == 200
    else:
        with urllib3.PoolManager(retries=retry) as pools:
            assert pools.request("GET", url).status == 200

    assert seen_by(metered) == peer.seen == {("GET", 503): 2, ("GET", 200): 1}


REQUEST: Final = st.tuples(
    st.sampled_from(sorted(CLIENTS)),
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD"]),
    st.sampled_from(["/ok", "/stream", "/redirect/1", "/status/404", "/status/204", "/status/503"]),
)


@given(st.lists(REQUEST, max_size=12))
@settings(max_examples=8)
def test_whatever_is_asked_the_figures_are_the_server_s(asked: list[tuple[str, str, str]]) -> None:
    """After any row of requests by any client, method and status are counted as the server did."""
    metered = Metered()
    with http_peer() as peer, observe_http_client(hosts={HERE}, meter=metered.meter):
        for client, method, path in asked:
            CLIENTS[client](method, peer.url(path if method != "HEAD" else "/ok"))
        assert seen_by(metered) == peer.seen


def test_threads_lose_nothing(peer: Peer, metered: Metered) -> None:
    """Eight threads that share a session are all counted."""
    with requests.Session() as session:

        def ask() -> None:
            for _ in range(10):
                session.get(peer.url(), timeout=PATIENCE).close()

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert seen_by(metered) == peer.seen == {("GET", 200): 80}


# -- failures --------------------------------------------------------------------------------------


FAILURES: Final[dict[str, dict[str, tuple[type[Exception], str]]]] = {
    "connect": {
        "requests": (requests.ConnectionError, "NewConnectionError"),
        "urllib3": (urllib3.exceptions.NewConnectionError, "NewConnectionError"),
        "httpx": (httpx.ConnectError, "ConnectError"),
    },
    "timeout": {
        "requests": (requests.ReadTimeout, "ReadTimeoutError"),
        "urllib3": (urllib3.exceptions.ReadTimeoutError, "ReadTimeoutError"),
        "httpx": (httpx.ReadTimeout, "ReadTimeout"),
    },
    "cut": {
        "requests": (requests.ConnectionError, "RemoteDisconnected"),
        "urllib3": (urllib3.exceptions.ProtocolError, "RemoteDisconnected"),
        "httpx": (httpx.RemoteProtocolError, "RemoteProtocolError"),
    },
    "tls": {
        "requests": (requests.exceptions.SSLError, "SSLError"),
        "urllib3": (urllib3.exceptions.SSLError, "SSLError"),
        "httpx": (httpx.ConnectError, "ConnectError"),
    },
}


@pytest.mark.parametrize("library", ["requests", "urllib3", "httpx"])
@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_is_one_request_without_a_status(
    failure: str, library: str, peer: Peer, metered: Metered
) -> None:
    """Refused, unanswered, cut and without TLS: the exception is the client's, and counted once."""
    url = {
        "connect": f"http://{HERE}:{refused()}/",
        "timeout": peer.url("/hang"),
        "cut": peer.url("/cut"),
        "tls": peer.url("/ok", "https"),
    }[failure]
    raised, name = FAILURES[failure][library]
    more: dict[str, Any] = {"retries": False} if library == "urllib3" else {}

    with pytest.raises(raised):
        # A machine that stands still must not make a time-out of another failure.
        CLIENTS[library]("GET", url, timeout=0.2 if failure == "timeout" else 20, **more)

    names = ("http.response.status_code", "error.type", "url.scheme")
    assert metered.by(DURATION, *names) == {(None, name, url.partition(":")[0]): 1}


def test_each_failed_attempt_is_counted(metered: Metered) -> None:
    """A connection that urllib3 tries three times is three failed requests, and raises once."""
    with urllib3.PoolManager() as pools, pytest.raises(urllib3.exceptions.MaxRetryError):
        pools.request("GET", f"http://{HERE}:{refused()}/", retries=2)

    assert metered.by(DURATION, "error.type") == {("NewConnectionError",): 3}


def test_a_cancelled_request_is_counted(peer: Peer, metered: Metered) -> None:
    """A task that is cancelled while it waits for the answer ends its request."""

    async def ask() -> None:
        async with httpx.AsyncClient(timeout=PATIENCE) as client:
            request = asyncio.ensure_future(client.get(peer.url("/hang")))
            await asyncio.to_thread(peer.asked.wait, 20)
            request.cancel()
            with pytest.raises(asyncio.CancelledError):
                await request

    asyncio.run(ask())

    assert metered.by(DURATION, "error.type") == {("CancelledError",): 1}


# -- proxies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["requests", "httpx"])
def test_through_a_proxy_the_host_is_the_one_asked(library: str, peer: Peer) -> None:
    """Behind a proxy in plain HTTP the address is the origin's, not the proxy's."""
    metered = Metered()
    with observe_http_client(hosts={"api.example.org"}, meter=metered.meter):
        if library == "requests":
            requests.get(
                "http://api.example.org/ok", proxies={"http": peer.url("")}, timeout=PATIENCE
            )
        else:
            with httpx.Client(proxy=peer.url(""), timeout=PATIENCE) as client:
                client.get("http://api.example.org/ok")

    assert metered.by(DURATION, "server.address", "server.port") == {("api.example.org", 80): 1}


@pytest.mark.parametrize("library", ["requests", "httpx"])
def test_a_tunnel_that_fails_is_one_request(library: str, peer: Peer) -> None:
    """A proxy that makes no tunnel fails one request to the origin, with its own exception."""
    metered = Metered()
    with observe_http_client(hosts={"api.example.org"}, meter=metered.meter):
        url = "https://api.example.org/ok"
        if library == "requests":
            with pytest.raises(requests.exceptions.ProxyError):
                requests.get(url, proxies={"https": peer.url("")}, timeout=PATIENCE)
        else:
            with (
                httpx.Client(proxy=peer.url(""), timeout=PATIENCE) as client,
                pytest.raises(httpx.ProxyError),
            ):
                client.get(url)

    names = ("http.request.method", "server.address", "server.port", "error.type")
    assert metered.by(DURATION, *names) == {
        ("CONNECT", "api.example.org", 443, "OSError")
        if library == "requests"
        else ("GET", "api.example.org", 443, "ProxyError"): 1
    }
