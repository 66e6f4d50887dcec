"""Outgoing requests: the application's calls and libraries stay their own."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpcore
import httpx
import pytest
import requests
import urllib3
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, detach, set_value
from opentelemetry.instrumentation.requests import RequestsInstrumentor

from otelmon import faults
from otelmon.instruments.http_client import METHODS, observe_http_client
from otelmon.middleware import cells
from tests.gunicorn_server import ROOT
from tests.http_clients import (  # noqa: F401 - fixtures
    DURATION,
    HERE,
    PATIENCE,
    by_httpx,
    by_requests,
    by_urllib3,
    each_client,
    metered_clients,
    near_peer,
    refused,
    seen_by,
)
from tests.metered import Metered


if TYPE_CHECKING:
    from collections.abc import Callable

    Ask = Callable[..., int]
    from tests.http_peer import Peer


@each_client
def test_two_observations_are_one(ask: Ask, peer: Peer) -> None:
    """A second call adds its hosts and counts nothing twice; the last that is closed ends all."""
    metered = Metered()
    first = observe_http_client(hosts={"elsewhere.example"}, meter=metered.meter)
    second = observe_http_client(hosts={HERE}, meter=metered.meter)
    ask("GET", peer.url())
    first.close()
    first.close()
    ask("GET", peer.url())
    second.close()
    ask("GET", peer.url())

    assert metered.by(DURATION, "server.address") == {(HERE,): 2}


def test_what_is_closed_leaves_the_libraries_as_they_were() -> None:
    """Closing puts back the very methods that were there."""
    places: tuple[tuple[Any, str], ...] = (
        (urllib3.HTTPConnectionPool, "_make_request"),
        (urllib3.HTTPSConnectionPool, "_prepare_proxy"),
        (httpcore.ConnectionPool, "handle_request"),
        (httpcore.AsyncConnectionPool, "handle_async_request"),
    )
    before = [vars(owner)[name] for owner, name in places]
    with observe_http_client(hosts=(), meter=Metered().meter):
        during = [vars(owner)[name] for owner, name in places]

    assert [vars(owner)[name] for owner, name in places] == before
    assert not set(during) & set(before)
    assert [method.__name__ for method in during] == [name for _, name in places]
    assert inspect.iscoroutinefunction(during[-1])


def test_a_wrapper_of_somebody_else_s_stays(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another has wrapped our method, closing ends the figures and nothing is wrapped twice."""
    metered, calls = Metered(), []
    first = observe_http_client(hosts={HERE}, meter=metered.meter)
    ours = urllib3.HTTPConnectionPool._make_request

    def theirs(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - handed on
        calls.append(args)
        return ours(*args, **kwargs)

    monkeypatch.setattr(urllib3.HTTPConnectionPool, "_make_request", theirs)
    first.close()
    by_requests("GET", peer.url())
    assert seen_by(metered) == {}

    with observe_http_client(hosts={HERE}, meter=metered.meter):
        by_requests("GET", peer.url())
        assert vars(urllib3.HTTPConnectionPool)["_make_request"] is theirs
    monkeypatch.undo()
    with observe_http_client(hosts={HERE}, meter=metered.meter):
        by_requests("GET", peer.url())

    assert len(calls) == 2
    assert seen_by(metered) == {("GET", 200): 2}
    assert urllib3.HTTPConnectionPool._make_request.__module__ == "urllib3.connectionpool"
    assert not hasattr(urllib3.HTTPConnectionPool._make_request, "__wrapped__")


@pytest.mark.parametrize("first", ["theirs", "ours"])
def test_opentelemetry_s_instrumentation_goes_on(first: str, peer: Peer) -> None:
    """Beside OpenTelemetry's instrumentation of requests each records once, in either order."""
    metered, others = Metered(), Metered()
    instrumentor = RequestsInstrumentor()
    steps: list[Callable[[], object]] = [
        lambda: instrumentor.instrument(meter_provider=others._provider),
        lambda: observe_http_client(hosts={HERE}, meter=metered.meter),
    ]
    done = [step() for step in (steps if first == "theirs" else reversed(steps))]
    try:
        by_requests("GET", peer.url())
    finally:
        instrumentor.uninstrument()
    by_requests("GET", peer.url())
    for observing in done:
        if observing is not None:
            observing.close()  # type: ignore[attr-defined]
    by_requests("GET", peer.url())

    assert seen_by(metered) == {("GET", 200): 2}
    assert sum(others.figures("http.client.duration").values()) == 1


def test_sessions_and_clients_made_before_are_seen(peer: Peer) -> None:
    """What was made, and has connected, before the call is measured too."""
    metered = Metered()
    with requests.Session() as session, httpx.Client(timeout=PATIENCE) as client:
        session.get(peer.url(), timeout=PATIENCE)
        client.get(peer.url())
        with observe_http_client(hosts={HERE}, meter=metered.meter):
            session.get(peer.url(), timeout=PATIENCE)
            client.get(peer.url())

    assert seen_by(metered) == {("GET", 200): 2}


def test_what_exporters_send_is_not_the_application_s(peer: Peer, metered: Metered) -> None:
    """Where OpenTelemetry says that nothing is to be recorded, nothing is."""
    token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
    try:
        by_requests("GET", peer.url())
    finally:
        detach(token)

    assert seen_by(metered) == {}


class BrokenHistogram:
    """An instrument that fails."""

    def record(self, *args: object) -> None:
        """Fail."""
        raise RuntimeError


class BrokenMeter:
    """A meter whose instruments fail."""

    def create_histogram(self, *args: object, **more: object) -> BrokenHistogram:
        """Return one."""
        return BrokenHistogram()


@each_client
def test_a_failure_inside_harms_no_request(
    ask: Ask, peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    """If recording fails, answers and exceptions are as ever; it is logged once and counted."""
    with observe_http_client(hosts=(), meter=BrokenMeter()):  # type: ignore[arg-type]
        assert ask("GET", peer.url("/status/418")) == 418
        with pytest.raises((OSError, httpx.ConnectError, urllib3.exceptions.HTTPError)):
            ask("GET", f"http://{HERE}:{refused()}/", **_no_retry(ask))

    assert {kind: fault.times for kind, fault in faults.seen().items()} == {"http_client": 2}
    assert [record.name for record in caplog.records if record.name == "otelmon"] == ["otelmon"]


def _no_retry(ask: object) -> dict[str, object]:
    return {"retries": False} if ask is by_urllib3 else {}


def test_a_library_that_is_other_than_known_is_reported(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version without the method is a fault; the other libraries are measured."""
    metered = Metered()
    monkeypatch.delattr(httpcore.AsyncConnectionPool, "handle_async_request")
    with observe_http_client(hosts={HERE}, meter=metered.meter):
        by_requests("GET", peer.url())
        by_httpx("GET", peer.url())

    assert seen_by(metered) == {("GET", 200): 2}
    assert [(kind, fault.error) for kind, fault in faults.seen().items()] == [
        ("http_client_hook", "KeyError")
    ]


def test_the_methods_are_those_of_the_server_side() -> None:
    """One list of methods holds for requests that come in and that go out."""
    assert METHODS == cells.METHODS


def test_nothing_is_imported_before_the_call() -> None:
    """The modules import neither a client library nor OpenTelemetry's SDK; the call needs some."""
    program = (
        "import sys\n"
        "from otelmon.instruments import http_client, logs, queues\n"
        "names = {'requests', 'urllib3', 'httpx', 'httpcore', 'opentelemetry.sdk'}\n"
        "assert not names & set(sys.modules), names & set(sys.modules)\n"
        "from opentelemetry.metrics import NoOpMeterProvider\n"
        "meter = NoOpMeterProvider().get_meter('x')\n"
        "with http_client.observe_http_client(hosts=(), meter=meter):\n"
        "    print(sorted(names & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert (done.stderr, done.stdout) == ("", "['httpcore', 'urllib3']\n")
