"""The route of a request in every framework, whatever becomes of the request."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

import bottle
import falcon
import pytest
from django.conf import settings
from werkzeug.routing import MapAdapter

from otelmon import faults, set_route
from otelmon.ledger.requests import RESPONSE_SIZE
from otelmon.middleware.routes import rules
from tests.apps import falcon_shop, pyramid_shop, werkzeug_shop
from tests.apps.bodies import PlannedError
from tests.routed import ANSWERS, NONE, Answers, create_app
from tests.wsgi_driver import Measured, Row, Seen, environ


if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed.wsgi import WSGIApplication


FRAMEWORKS: Final = ["bottle", "django", "falcon", "pyramid", "werkzeug"]
# Whose exceptions leave the application; the others answer them by 500.
RAISING: Final = ["pyramid", "werkzeug"]


@pytest.fixture(name="measured", params=FRAMEWORKS)
def _measured(request: pytest.FixtureRequest) -> Measured:
    return Measured(create_app(request.param))


def ask(measured: Measured, path: str, method: str = "GET", **more: Any) -> Seen:  # noqa: ANN401
    """Serve one request; what a framework complains of is not for the terminal."""
    return measured.ask(environ(method, path, **{"wsgi.errors": io.StringIO(), **more}))


def ask_all(measured: Measured, answers: Answers) -> None:
    """Serve all requests of a table."""
    for method, path in answers:
        ask(measured, path, method)


def found(measured: Measured) -> dict[tuple[str, str, int | str], int]:
    """Return how often each route was booked, by method and status too."""
    times: dict[tuple[str, str, int | str], int] = {}
    for row in measured.rows():
        key = (row.method, row.route, row.status)
        times[key] = times.get(key, 0) + row.times
    return times


def expected(answers: Answers) -> dict[tuple[str, str, int | str], int]:
    """Return how often each route stands in a table."""
    times: dict[tuple[str, str, int | str], int] = {}
    for (method, _), (route, status) in answers.items():
        times[method, route, status] = times.get((method, route, status), 0) + 1
    return times


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_answer_has_its_template(framework: str) -> None:
    """200, redirects, errors, streams and files have the template that matched; 404 has none."""
    measured = Measured(create_app(framework))

    ask_all(measured, ANSWERS[framework])

    assert found(measured) == expected(ANSWERS[framework])
    assert faults.seen() == {}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_an_exception_keeps_its_route(framework: str) -> None:
    """Whether it leaves the application or becomes a 500, an exception is an error of its route."""
    measured = Measured(create_app(framework))

    seen = ask(measured, "/raise")

    if framework in RAISING:
        assert isinstance(seen.raised, PlannedError)
        assert measured.row() == ("GET", "/raise", 500, "error", "PlannedError", 1)
    else:
        assert seen.status == "500 Internal Server Error"
        assert measured.row() == ("GET", "/raise", 500, "ok", "500", 1)


def test_a_stream_that_fails_keeps_its_route(measured: Measured) -> None:
    """An exception amid the body is an error of its route."""
    seen = ask(measured, "/midway")

    assert isinstance(seen.raised, PlannedError)
    assert seen.body == b"one"
    assert measured.row() == ("GET", "/midway", 200, "error", "PlannedError", 1)


def test_a_file_stays_the_server_s(measured: Measured) -> None:
    """A file reaches the server as its own file_wrapper, and is booked with its size."""
    seen = ask(measured, "/file")

    assert ("file", True) in seen.events
    assert len(seen.body) > 1000
    assert measured.row() == ("GET", "/file", 200, "ok", None, 1)
    assert measured.histogram(RESPONSE_SIZE) == (1, len(seen.body))


def test_the_routes_are_known_beforehand(measured: Measured) -> None:
    """Each framework tells the templates it has, so that none is hidden in silence."""
    assert {"/raise", "/stream", "/file"} <= rules(measured.metrics.app)


# -- what single ones do differently ---------------------------------------------------------------


def test_django_s_exceptions_can_leave_it() -> None:
    """With DEBUG_PROPAGATE_EXCEPTIONS the exception's class and the route are both known."""
    measured = Measured(create_app("django"))
    settings.DEBUG_PROPAGATE_EXCEPTIONS = True
    try:
        ask(measured, "/raise")
    finally:
        settings.DEBUG_PROPAGATE_EXCEPTIONS = False

    assert measured.row() == ("GET", "/raise", 500, "error", "PlannedError", 1)


def test_django_s_settings_are_not_touched() -> None:
    """MIDDLEWARE is what it was, and each handler is wrapped for itself."""
    plain = create_app("django")
    before = list(settings.MIDDLEWARE)
    measured = Measured(create_app("django"))

    ask(measured, "/u/1")

    assert before == settings.MIDDLEWARE
    assert "get_response" not in vars(plain)


def test_django_s_urls_are_not_loaded_to_tell_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Django itself has imported the URLconf, nothing is known of it, and nothing imported."""
    app = create_app("django")
    monkeypatch.setattr(settings, "ROOT_URLCONF", "tests.apps.no_such_module")

    assert rules(app) == set()
    assert faults.seen() == {}


@pytest.mark.parametrize("framework", ["bottle", "falcon"])
def test_an_exception_that_is_let_through_keeps_its_route(framework: str) -> None:
    """Where a framework is told to let exceptions pass, they are errors of their route."""
    app: Any = create_app(framework)
    if framework == "bottle":
        app.catchall = False
    else:
        app.add_error_handler(Exception, _raise_again)
    measured = Measured(app)

    assert isinstance(ask(measured, "/raise").raised, PlannedError)

    assert measured.row() == ("GET", "/raise", 500, "error", "PlannedError", 1)


def _raise_again(_req: object, _resp: object, error: Exception, _params: object) -> None:
    raise error


def test_falcon_s_dependent_middlewares_are_the_same() -> None:
    """With `independent_middleware=False` all routes are those of the other way."""
    measured = Measured(falcon_shop.create_app(independent=False))

    ask_all(measured, ANSWERS["falcon"])

    assert found(measured) == expected(ANSWERS["falcon"])


class Refusing:
    """A Falcon middleware that lets nobody in."""

    def process_resource(self, _req: object, _resp: object, *_: object) -> None:
        """Refuse."""
        raise falcon.HTTPForbidden


class Completing:
    """A Falcon middleware that answers itself."""

    def process_request(self, _req: object, resp: falcon.Response) -> None:
        """Answer."""
        resp.complete = True


@pytest.mark.parametrize(
    ("middleware", "path", "row"),
    [
        (Refusing(), "/u/1", Row("GET", "/u/{number:int}", 403, "ok", None, 1)),
        (Completing(), "/u/1", Row("GET", NONE, 200, "ok", None, 1)),
        (Completing(), "/sink/a", Row("GET", NONE, 200, "ok", None, 1)),
    ],
    ids=["refused", "answered", "answered for a sink"],
)
def test_falcon_s_own_middlewares_change_nothing(middleware: object, path: str, row: Row) -> None:
    """A request that a middleware refuses has its route; one it answers before has none."""
    app = falcon_shop.create_app()
    app.add_middleware(middleware)  # type: ignore[arg-type]
    measured = Measured(app)

    ask(measured, path)

    assert measured.row() == row


def test_pyramid_s_default_root_is_no_resource() -> None:
    """An application of routes alone has no route for what none of them matches."""
    measured = Measured(pyramid_shop.create_app(resources=False))

    for path in ("/", "/missing", "/missing/missing"):
        ask(measured, path)

    assert measured.row() == ("GET", NONE, 404, "ok", None, 3)


def test_werkzeug_s_adapter_answers_as_before() -> None:
    """Watched, a map's adapter returns what it did: endpoint or rule, and the values."""
    app = werkzeug_shop.create_app()
    bare = app.url_map.bind_to_environ(environ(path="/u/7")).match()
    Measured(app).ask(environ(path="/u/1"))
    request = environ(path="/u/7")
    adapter = app.url_map.bind_to_environ(request)

    rule, values = adapter.match(return_rule=True)

    assert adapter.match() == bare == ("user", {"number": 7})
    assert (rule.rule, values) == ("/u/<int:number>", {"number": 7})
    assert adapter.match("/stream", "GET") == ("stream", {})
    assert adapter.match("/stream", "GET", False, {"q": "1"}) == ("stream", {})
    assert isinstance(adapter, MapAdapter)
    assert request["otelmon.route"] == "/u/<int:number>"
    assert adapter.allowed_methods("/u/1") == app.url_map.bind("x").allowed_methods("/u/1")


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_set_route_goes_before_the_framework_s(framework: str) -> None:
    """What the application says itself wins."""
    measured = Measured(SAYING[framework]())

    ask(measured, "/u/1")

    assert measured.row().route == "/mine"


def _bottle_saying() -> Any:  # noqa: ANN401 - Bottle has no types
    def mine(x: str) -> str:
        set_route(bottle.request.environ, "/mine")
        return x

    app = bottle.Bottle()
    app.route("/u/<x>", callback=mine)
    return app


def _django_saying() -> WSGIApplication:
    app: Any = create_app("django")
    resolve = app.resolve_request

    def resolved(request: Any) -> Any:  # noqa: ANN401 - Django's classes
        set_route(request.environ, "/mine")
        return resolve(request)

    app.resolve_request = resolved
    return app  # type: ignore[no-any-return]


def _falcon_saying() -> WSGIApplication:
    class Mine:
        def on_get(self, req: falcon.Request, _: object, x: str) -> None:
            set_route(req.env, "/mine")

    app = falcon.App()
    app.add_route("/u/{x}", Mine())
    return app


def _pyramid_saying() -> WSGIApplication:
    def mine(request: Any) -> Any:  # noqa: ANN401 - Pyramid's classes
        set_route(request.environ, "/mine")
        return pyramid_shop.Response("")

    with pyramid_shop.Configurator() as config:
        config.add_route("mine", "/u/{x}")
        config.add_view(mine, route_name="mine")
        app: WSGIApplication = config.make_wsgi_app()
        return app


def _werkzeug_saying() -> WSGIApplication:
    class Mine(werkzeug_shop.Shop):
        def on_user(self, request: Any, number: int) -> Any:  # noqa: ANN401 - werkzeug's classes
            set_route(request.environ, "/mine")
            return super().on_user(request, number)

    return Mine()


SAYING: Final[dict[str, Callable[[], WSGIApplication]]] = {
    "bottle": _bottle_saying,
    "django": _django_saying,
    "falcon": _falcon_saying,
    "pyramid": _pyramid_saying,
    "werkzeug": _werkzeug_saying,
}
