"""What an instance says once in the log, when it begins to serve."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from otelmon.announcement import announce
from otelmon.settings import Settings, owned
from otelmon.settings.variables import Group
from tests.routed import ANSWERS, create_app


if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def plain(_: WSGIEnvironment, __: StartResponse) -> Iterable[bytes]:
    """Be an application; nobody calls it."""
    raise AssertionError


@pytest.fixture(name="flask_app")
def _flask_app() -> Flask:
    app = Flask("shop")
    app.add_url_rule("/health", "health", lambda: "fine")
    app.add_url_rule("/orders", "orders", lambda: "none")
    return app


def warnings(
    caplog: pytest.LogCaptureFixture, settings: Settings, paths: list[str], *apps: WSGIApplication
) -> list[str]:
    """Return the warnings of one announcement."""
    with caplog.at_level(logging.INFO, "otelmon"):
        announce(settings, paths, apps, log=logging.getLogger("otelmon"))
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_it_says_what_is_mounted_and_where_the_metrics_port_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One line at level INFO names the endpoints and the port."""
    settings = Settings(token="secret", enable_prometheus=True, prometheus_port=9099)
    assert warnings(caplog, settings, ["/health", "/livez"], plain) == []
    assert "/health, /livez" in caplog.messages[0]
    assert "127.0.0.1:9099" in caplog.messages[0]
    assert "secret" not in caplog.text


def test_it_warns_that_the_endpoints_are_open(caplog: pytest.LogCaptureFixture) -> None:
    """Without a token one warning names the variable; with nothing mounted there is none."""
    (said,) = warnings(caplog, Settings(), ["/health"], plain)
    assert "OTELMON_TOKEN is not set" in said
    caplog.clear()
    assert warnings(caplog, Settings(), [], plain) == []


def test_a_route_of_the_application_is_never_hidden_in_silence(
    caplog: pytest.LogCaptureFixture, flask_app: Flask
) -> None:
    """A Flask route at one of our paths is named, with both ways out."""
    settings = Settings(token="secret")
    (said,) = warnings(caplog, settings, ["/health", "/livez"], flask_app.wsgi_app)
    assert "own /health is hidden" in said
    assert "OTELMON_PREFIX" in said
    assert "OTELMON_ENDPOINTS_OFF=/health" in said


@pytest.mark.parametrize("framework", sorted(ANSWERS))
@pytest.mark.parametrize("prefix", ["", "/mounted"], ids=["", "mounted"])
def test_no_framework_s_route_is_hidden_in_silence(
    caplog: pytest.LogCaptureFixture, framework: str, prefix: str
) -> None:
    """What any framework's application has at one of our paths is named, mounted or not."""
    app = create_app(framework)
    if prefix:
        app = DispatcherMiddleware(plain, {prefix: app})
    (said,) = warnings(caplog, Settings(token="secret"), [f"{prefix}/file", "/livez"], app)
    assert f"own {prefix}/file is hidden" in said


def test_a_prefix_takes_them_out_of_the_way(
    caplog: pytest.LogCaptureFixture, flask_app: Flask
) -> None:
    """Moved by a prefix, otelmon's endpoints hide nothing."""
    settings = Settings(token="secret", prefix="/_ops")
    assert warnings(caplog, settings, ["/_ops/health"], flask_app) == []


def test_a_variable_that_nothing_reads_is_named(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MAX_CONTENT_LENGTH under `monitor` alone does nothing, and the log says so."""
    # Other tests of this process may have used it.
    monkeypatch.setattr(owned, "_used", set[type[Group]]())
    settings = Settings.from_env({"MAX_CONTENT_LENGTH": "1000", "OTELMON_TOKEN": "secret"})
    (said,) = warnings(caplog, settings, ["/health"], plain)
    assert "MAX_CONTENT_LENGTH" in said


def test_what_silences_nothing_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """Ids and slugs that are none stand in one warning, beside those that there are."""
    given = {"OTELMON_TOKEN": "secret", "RECOMMENDATIONS_SILENCED": "nonsense,otm-r010,No-Checks"}
    (said,) = warnings(caplog, Settings.from_env(given), ["/health"], plain)
    assert "RECOMMENDATIONS_SILENCED has nonsense, which" in said
    assert "OTM-R010 (too-many-workers), OTM-R011" in said
    caplog.clear()
    right = Settings(token="secret", recommendations_silenced=("OTM-R010", "no-checks"))
    assert warnings(caplog, right, ["/health"], plain) == []
