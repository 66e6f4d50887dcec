"""Flask's `session` on otelmon's, in this process: its test client, and what Flask asks of a session."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from flask import Flask, flash, get_flashed_messages, session

from otelmon import Sessions
from otelmon.hardening.sessions.errors import SessionValueError
from otelmon.hardening.sessions.flask import FlaskSession, SessionInterface
from tests.metered import Metered
from tests.session_site import COOKIE, SECRET


if TYPE_CHECKING:
    from flask.testing import FlaskClient


@pytest.fixture(name="shop")
def _shop(monkeypatch: pytest.MonkeyPatch) -> Flask:
    monkeypatch.delenv("REDIS_URL", raising=False)
    metered = Metered()
    provider = "otelmon.stack.own_provider"
    monkeypatch.setattr(provider, lambda: metered._provider)
    shop = Flask("shop")
    shop.config["TESTING"] = True
    shop.session_interface = SessionInterface()

    @shop.get("/name")
    def name() -> dict[str, object]:
        return {"name": session.get("name"), "new": session.new, "flashed": get_flashed_messages()}

    @shop.get("/flash")
    def say() -> str:
        flash("said")
        session.permanent = True
        return repr(session)

    @shop.get("/forget")
    def forget() -> str:
        assert isinstance(session, FlaskSession)
        session.clear()
        session["name"] = "nobody"
        del session["name"]
        return f"{session.available} {len(session)} {session.destroy()}"

    @shop.get("/date")
    def date() -> str:
        session["at"] = datetime.now(UTC)
        return "never"

    @shop.get("/plain")
    def plain() -> str:
        return "plain"

    return shop


@pytest.fixture(name="client")
def _client(shop: Flask) -> FlaskClient:
    shop.wsgi_app = Sessions(shop.wsgi_app, secrets=[SECRET])  # type: ignore[method-assign]
    return shop.test_client()


def test_flasks_test_client_looks_into_a_session_and_changes_it(client: FlaskClient) -> None:
    """session_transaction, as tests of Flask applications use it, reads and writes what requests see."""
    with client.session_transaction() as inside:
        inside["name"] = "ada"
    assert client.get("/name").json == {"name": "ada", "new": False, "flashed": []}
    client.get("/flash")
    with client.session_transaction() as inside:
        assert sorted(inside) == ["_flashes", "_permanent", "name"]
    assert client.get("/name").json == {"name": "ada", "new": False, "flashed": ["said"]}
    assert client.get("/name").json == {"name": "ada", "new": False, "flashed": []}


def test_a_transaction_that_only_looks_sets_no_cookie(client: FlaskClient) -> None:
    """Neither does a request that has nothing to do with sessions, which has no Vary either."""
    with client.session_transaction() as inside:
        assert dict(inside) == {}
    assert client.get_cookie(COOKIE) is None
    assert {"Vary", "Set-Cookie"} & set(client.get("/plain").headers.keys()) == set()


def test_clear_takes_the_cookie_away(client: FlaskClient) -> None:
    """What is put in and taken out again after clear() leaves nothing; a copy of the cookie is good."""
    with client.session_transaction() as inside:
        inside["name"] = "ada"
    assert client.get("/forget").text == "True 0 False"
    assert client.get_cookie(COOKIE) is None
    assert client.get("/name").json == {"name": None, "new": True, "flashed": []}


def test_what_flask_alone_could_keep_is_refused_aloud(client: FlaskClient) -> None:
    """A date is no JSON: the error says so in the view."""
    with pytest.raises(SessionValueError, match=r"session\['at'\] is a datetime"):
        client.get("/date")


def test_nothing_of_it_is_in_its_text(client: FlaskClient) -> None:
    """repr() of the session shows no value."""
    assert client.get("/flash").text == "<Session new, 2 keys>"


def test_without_the_middleware_flask_refuses_writes(shop: Flask) -> None:
    """There is Flask's own session for applications without a secret."""
    client = shop.test_client()
    with pytest.raises(RuntimeError, match="session is unavailable"):
        client.get("/flash")
