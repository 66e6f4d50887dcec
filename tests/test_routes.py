"""The route of a request: Flask's template, whatever becomes of the request."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import flask
import pytest

from otelmon import Settings, faults, monitor, set_route
from otelmon.ledger.requests import RESPONSE_SIZE
from otelmon.middleware.routes import ROUTE, attach, matched
from tests.apps.bodies import PlannedError, answering
from tests.apps.flask_shop import create_app
from tests.booked import Booked, has_begun
from tests.gunicorn_server import ROOT, Gunicorn
from tests.waiting import until
from tests.wsgi_driver import Measured, Row, Seen, environ, histogram, rows, serve


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from otelmon.ledger.reader import Reading


FLASK_SHOP: Final = ROOT / "tests" / "apps" / "flask_shop.py"


class Shop:
    """The Flask application under `monitor`, and what was booked."""

    def __init__(self, app: flask.Flask, how: str, directory: Path) -> None:
        """Wrap *app* from outside, or its wsgi_app from inside."""
        self.flask = app
        self.app: WSGIApplication = app
        settings = Settings(ledger_dir=str(directory / "ledger"), enable_prometheus=False)
        if how == "outside":
            self.app = self.monitor = monitor(app, settings)
        else:
            app.wsgi_app = self.monitor = monitor(app.wsgi_app, settings)  # type: ignore[method-assign]

    def ask(self, path: str, method: str = "GET", **more: Any) -> Seen:  # noqa: ANN401
        """Serve one request."""
        return serve(self.app, environ(method, path, **more))

    def reading(self) -> Reading:
        """Return what was counted."""
        reading = self.monitor._ledger.read()
        assert reading is not None
        return reading

    def row(self) -> Row:
        """Return the one row."""
        (row,) = rows(self.reading())
        return row


@pytest.fixture(name="shop", params=["outside", "inside"])
def _shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "style.css").write_text("a{}")
    shop = Shop(
        create_app(static=tmp_path / "static", file=str(tmp_path / "static" / "style.css")),
        request.param,
        tmp_path,
    )
    yield shop
    shop.monitor.close()


def test_a_middleware_may_begin_the_answer_late(tmp_path: Path) -> None:
    """One that buffers calls `start_response` when Flask has forgotten the request."""
    app = create_app()

    def buffering(given: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        begun: list[Any] = []

        def begin(*args: Any) -> Any:  # noqa: ANN401 - as WSGI has it
            begun.append(args)

        whole = b"".join(app(given, begin))
        start_response(*begun[0])
        return [whole]

    settings = Settings(ledger_dir=str(tmp_path / "ledger"), enable_prometheus=False)
    shop = Shop.__new__(Shop)
    shop.app = shop.monitor = monitor(buffering, settings)
    try:
        shop.ask("/")
        assert shop.row().route == "/"
    finally:
        shop.monitor.close()


ANSWERS: Final = {
    ("GET", "/"): ("/", 200),
    ("HEAD", "/"): ("/", 200),
    ("OPTIONS", "/"): ("/", 200),
    ("GET", "/slashed/"): ("/slashed/", 200),
    ("GET", "/away"): ("/away", 302),
    ("GET", "/shop/orders/42"): ("/shop/orders/<int:number>", 200),
    ("POST", "/shop/orders"): ("/shop/orders", 201),
    ("DELETE", "/shop/orders/42/items/a/b"): (
        "/shop/orders/<int:number>/items/<path:rest>",
        200,
    ),
    ("GET", "/static/style.css"): ("/static/<path:filename>", 200),
    ("GET", "/static/none.css"): ("/static/<path:filename>", 404),
    ("GET", "/abort/418"): ("/abort/<int:code>", 418),
    ("GET", "/abort/404"): ("/abort/<int:code>", 404),
    # Flask redirects these before it has matched a route.
    ("GET", "/slashed"): ("{unmatched}", 308),
    ("GET", "/nowhere"): ("{unmatched}", 404),
    ("GET", "/shop/orders/x"): ("{unmatched}", 404),
    ("GET", "/shop/orders"): ("{unmatched}", 405),
    ("BREW", "/"): ("{unmatched}", 405),
}


def test_every_answer_has_its_template(shop: Shop) -> None:
    """200, redirects, aborts, statics and blueprints have their rule; 404 and 405 have none."""
    for method, path in ANSWERS:
        shop.ask(path, method)

    expected = {
        Row("_OTHER" if method == "BREW" else method, route, status, "ok", None, 1)
        for (method, _), (route, status) in ANSWERS.items()
    }
    times = {row._replace(times=1): row.times for row in rows(shop.reading())}
    assert set(times) == expected
    assert sum(times.values()) == len(ANSWERS)
    assert faults.seen() == {}


def test_a_handled_500_keeps_its_route(shop: Shop) -> None:
    """An exception that Flask answers is a 500 of its route, and counts once."""
    shop.flask.logger.disabled = True

    assert shop.ask("/crash/secret").status == "500 INTERNAL SERVER ERROR"

    assert shop.row() == ("GET", "/crash/<word>", 500, "ok", "500", 1)


def test_an_exception_that_propagates_keeps_its_route(shop: Shop) -> None:
    """With PROPAGATE_EXCEPTIONS the exception's class and the route are both known."""
    shop.flask.config["PROPAGATE_EXCEPTIONS"] = True

    seen = shop.ask("/crash/secret")

    assert isinstance(seen.raised, PlannedError)
    assert shop.row() == ("GET", "/crash/<word>", 500, "error", "PlannedError", 1)


def test_an_exception_without_a_route_is_unmatched(shop: Shop) -> None:
    """What fails before a route was found has none."""
    shop.flask.config["PROPAGATE_EXCEPTIONS"] = True
    shop.flask.before_request(_fail)

    shop.ask("/nowhere")

    assert shop.row() == ("GET", "{unmatched}", 500, "error", "PlannedError", 1)


def _fail() -> None:
    raise PlannedError


def test_a_stream_keeps_its_route_and_its_context(shop: Shop) -> None:
    """A body that is made while the request's context is kept is measured with its route."""
    assert shop.ask("/stream/3").body == b"/stream/3" * 3

    assert shop.row() == ("GET", "/stream/<int:pieces>", 200, "ok", None, 1)


@pytest.mark.parametrize(
    ("path", "size"), [("/midway", 5), ("/late", 10)], ids=["midway", "on close"]
)
def test_a_body_that_fails_keeps_its_route(shop: Shop, path: str, size: int) -> None:
    """An exception in the body, or while it is closed, is an error of the route."""
    seen = shop.ask(path)

    assert isinstance(seen.raised, PlannedError)
    assert len(seen.body) == size
    assert shop.row() == ("GET", path, 200, "error", "PlannedError", 1)


def test_a_file_stays_the_server_s(shop: Shop) -> None:
    """send_file() reaches the server as its own file_wrapper, and is booked with its size."""
    seen = shop.ask("/file")

    assert ("file", True) in seen.events
    assert seen.body == b"a{}"
    assert shop.row() == ("GET", "/file", 200, "ok", None, 1)
    assert histogram(shop.reading(), RESPONSE_SIZE) == (1, 3)


def test_flask_s_own_commands_live_on(shop: Shop) -> None:
    """Whichever way it is wrapped, the application's test client and its url_map still work."""
    assert shop.flask.test_client().get("/shop/orders/1").text == "1"
    assert any(rule.rule == "/away" for rule in shop.flask.url_map.iter_rules())


def test_a_real_worker_s_routes_are_the_same(tmp_path: Path) -> None:
    """Under gunicorn, made by a factory and wrapped from inside, each request has its template."""
    with Gunicorn(
        tmp_path, app="tests.apps.flask_shop:observed()", workers=1, prometheus=False
    ) as server:
        assert until(lambda: has_begun(server), 60), server.log
        booked = Booked(server)
        assert server.get("/shop/orders/7").text == "7"
        assert server.get("/stream/2").text == "/stream/2" * 2
        assert server.get("/file").body == FLASK_SHOP.read_bytes()
        assert server.get("/crash/x").status == 500
        assert server.get("/nowhere").status == 404

        assert {(row.route, row.status, row.times) for row in booked.rows()} == {
            ("/shop/orders/<int:number>", 200, 1),
            ("/stream/<int:pieces>", 200, 1),
            ("/file", 200, 1),
            ("/crash/<word>", 500, 1),
            ("{unmatched}", 404, 1),
        }


# -- the parts -------------------------------------------------------------------------------------


def test_set_route_goes_before_the_framework_s() -> None:
    """What the application says itself wins."""
    app = flask.Flask(__name__)

    @app.route("/raw/<word>")
    def raw(word: str) -> str:
        set_route(flask.request.environ, "/mine")
        return word

    measured = Measured(app)
    measured.ask(environ(path="/raw/x"))

    assert measured.row().route == "/mine"


def test_the_last_route_wins() -> None:
    """An application that knows better by and by names the route again."""
    request = environ()
    set_route(request, "/guess")
    set_route(request, "/sure")

    assert request[ROUTE] == "/sure"


@pytest.mark.parametrize(
    "request_object",
    [None, object(), SimpleNamespace(url_rule=None)],
    ids=["gone", "without routes", "unmatched"],
)
def test_werkzeug_without_a_rule_has_no_route(request_object: object) -> None:
    """A werkzeug application without Flask's routing is unmatched."""
    assert matched({"werkzeug.request": request_object}) is None
    assert matched({}) is None


def test_only_flask_applications_are_listened_to() -> None:
    """attach() takes any application, and connects to Flask's signal for Flask's alone."""
    before = len(flask.got_request_exception.receivers)

    attach(answering(list))
    assert len(flask.got_request_exception.receivers) == before

    app = create_app()
    attach(app)
    attach(app.wsgi_app)
    assert [one.__name__ for one in flask.got_request_exception.receivers_for(app)] == [
        "_keep_route"
    ]


def test_flask_is_not_imported_for_others(tmp_path: Path) -> None:
    """An application without Flask is wrapped and served without importing it."""
    program = (
        "import sys; from otelmon import monitor, Settings\n"
        "from tests.wsgi_driver import serve\n"
        "from tests.apps.bodies import writing\n"
        "app = monitor(writing, Settings(enable_prometheus=False, ledger_dir=sys.argv[1]))\n"
        "assert serve(app).body == b'onetwo'\n"
        "app.close()\n"
        "assert 'flask' not in sys.modules and 'werkzeug' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, check=True, timeout=60)
