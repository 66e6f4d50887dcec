"""Applications are found in whatever wraps them, also those that are made late."""

from __future__ import annotations

import functools
import gc
import itertools
import subprocess
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import flask
import pytest
from werkzeug.local import LocalProxy
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from otelmon import Settings, faults, monitor
from otelmon.middleware.routes import attach, attaching, rules
from otelmon.middleware.routes.places import inside
from tests.apps import bottle_shop, flask_shop
from tests.apps.bodies import PlannedError, answering
from tests.gunicorn_server import ROOT
from tests.routed import ANSWERS, NONE, a_path, create_app, routes
from tests.wsgi_driver import Measured, environ, rows, serve


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


FRAMEWORKS: Final = sorted(ANSWERS)
MODULES: Final = (
    *("bottle", "django.core.handlers.wsgi", "falcon", "flask", "pyramid.router"),
    "werkzeug.routing",
)
"""Where their applications' classes are"""

# -- what wraps ------------------------------------------------------------------------------------


class Attribute:
    """A middleware that keeps the application under a name."""

    def __init__(self, name: str, app: WSGIApplication) -> None:
        """Wrap *app*."""
        self._name = name
        setattr(self, name, app)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Pass on."""
        answer: Iterable[bytes] = getattr(self, self._name)(environ, start_response)
        return answer

    def method(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Be an application as well."""
        return self(environ, start_response)


class Slotted:
    """A middleware that keeps the application in a slot."""

    __slots__ = ("app", "application")

    def __init__(self, app: WSGIApplication) -> None:
        """Wrap *app*."""
        self.app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Pass on."""
        return self.app(environ, start_response)


def closing_over(app: WSGIApplication) -> WSGIApplication:
    """Return a middleware that is a function."""

    def wrapped(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return app(environ, start_response)

    return wrapped


def passing(
    app: WSGIApplication, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    """Be an application once the first argument is given."""
    return app(environ, start_response)


WRAPPERS: Final[dict[str, Callable[[WSGIApplication], WSGIApplication]]] = {
    **{
        name: functools.partial(Attribute, name)
        for name in ("app", "application", "wsgi_app", "wsgi", "_app")
    },
    "slot": Slotted,
    "closure": closing_over,
    "partial": lambda app: functools.partial(passing, app),
    "bound method": lambda app: Attribute("app", app).method,
    "monitor": lambda app: Measured(app).app,
    "two deep": lambda app: closing_over(Attribute("application", closing_over(app))),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_an_application_is_found_in_a_middleware(wrapper: str) -> None:
    """Whatever way a middleware keeps the application, its routes are known."""
    assert routes(WRAPPERS[wrapper](create_app("falcon")), "/u/1") == ["/u/{number:int}"]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_framework_is_found_in_middlewares(framework: str) -> None:
    """Two middlewares around it hide no framework."""
    path, route = a_path(framework)
    app = WRAPPERS["two deep"](create_app(framework))

    assert routes(app, path, path) == [route, route]


def test_flask_is_found_by_its_bound_wsgi_app() -> None:
    """A Flask's `wsgi_app` leads to the Flask, and to what is wrapped around it later."""
    app = flask_shop.create_app()
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/old": bottle_shop.shop()})  # type: ignore[method-assign]

    assert routes(app, "/old/u/1", "/crash/x") == ["/old/u/<number:int>", "/crash/<word>"]


def test_circles_and_depths_end() -> None:
    """Applications that wrap themselves, or each other without end, are looked through once."""
    one = Attribute("app", answering(list))
    two = Attribute("application", one)
    one.app = two  # type: ignore[attr-defined]
    assert len(list(inside(one))) == 2

    deep: WSGIApplication = answering(list)
    for _ in range(500):
        deep = closing_over(deep)
    assert len(list(inside(deep))) < 100

    shop = bottle_shop.shop()
    app = DispatcherMiddleware(shop)
    app.mounts = {f"/{number}": app for number in range(5000)}
    assert {prefix for _, prefix in inside(app)} == {""}
    app.mounts = {f"/{number}": answering(list) for number in range(5000)}
    assert len(list(inside(app))) == 1000
    assert (shop, "") in inside(app)


class AwkwardTable(dict[str, object]):
    """A mount table that cannot be read."""

    def items(self) -> Any:  # noqa: ANN401 - it returns nothing
        """Fail."""
        raise PlannedError


class Awkward:
    """An application of which nothing can be asked."""

    def __getattr__(self, name: str) -> object:
        """Fail."""
        raise AssertionError(name)

    @property
    def app(self) -> object:
        """Fail."""
        raise AssertionError

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer."""
        start_response("200 OK", [])
        return [b"well"]


def test_an_application_is_looked_at_without_running_it() -> None:
    """No property and no `__getattr__` of an application is called to look into it."""
    attach(Awkward())

    assert faults.seen() == {}


def test_a_lazy_application_is_not_made_before_it_is_served() -> None:
    """To observe a proxy leaves it to the first request to make what it stands for."""
    made: list[WSGIApplication] = []

    def create() -> WSGIApplication:
        made.append(create_app("flask"))
        return made[-1]

    app = LocalProxy(create)
    attach(app)
    assert rules(app) == set()
    assert made == []

    assert routes(app, "/crash/x") == ["/crash/<word>"]
    assert len(made) == 1


def test_a_mount_table_that_cannot_be_read_is_reported() -> None:
    """What fails while an application is looked at is reported, and the application answers."""
    app = Attribute("app", create_app("falcon"))
    app.mounts = AwkwardTable()  # type: ignore[attr-defined]

    assert routes(app, "/u/1") == ["/u/{number:int}"]
    assert set(faults.seen()) == {"route_adapter"}


def test_an_adapter_that_fails_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails in one adapter stops neither the others nor the application."""
    app = create_app("falcon")

    class Failing:
        owns = staticmethod(callable)

        @staticmethod
        def attach(app: object, prefix: str) -> None:
            raise PlannedError

        @staticmethod
        def rules(app: object) -> list[str]:
            raise PlannedError

    monkeypatch.setattr(attaching, "ADAPTERS", (Failing, *attaching.ADAPTERS))

    assert routes(app, "/u/1") == ["/u/{number:int}"]
    assert "/raise" in rules(app)
    assert faults.seen()["route_adapter"].error == "PlannedError"


@pytest.mark.parametrize("name", MODULES)
def test_a_framework_that_is_being_imported_is_no_fault(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keeper's thread may look at an application while the process still imports another one."""
    monkeypatch.setitem(sys.modules, name, ModuleType(name))

    app = answering(list)
    attach(app)
    assert rules(app) == set()
    assert faults.seen() == {}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_to_attach_again_is_harmless(framework: str) -> None:
    """Ten times attached, a framework names its routes as attached once, through as many hooks."""
    path, route = a_path(framework)
    app = create_app(framework)
    for _ in range(10):
        attach(app)

    assert routes(app, path) == [route]
    hooks = {
        "falcon": lambda: len(app._unprepared_middleware),  # type: ignore[attr-defined]
        "bottle": lambda: len(app._hooks["after_request"]),  # type: ignore[attr-defined]
        "flask": lambda: len(list(flask.got_request_exception.receivers_for(app))),
    }
    assert hooks.get(framework, lambda: 1)() == 1


def test_a_copied_environ_hides_the_route() -> None:
    """A middleware that hands on a copy of the environ leaves no route, and never the path."""

    def copying(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return app(dict(environ), start_response)

    app = create_app("falcon")
    assert routes(copying, "/u/1", "/u/2") == [NONE, NONE]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_route_leaves_no_garbage(framework: str) -> None:
    """To name routes makes no cycle that a request without it would not have made."""
    path, _ = a_path(framework)
    bare, attached = create_app(framework), create_app(framework)
    attach(attached)

    assert garbage(attached, path) <= garbage(bare, path)


def garbage(app: WSGIApplication, path: str) -> int:
    """Return what the garbage collector finds after 50 requests."""
    serve(app, environ(path=path))
    gc.collect()
    # What is there already need not be looked through once more.
    gc.freeze()
    gc.disable()
    try:
        for _ in range(50):
            serve(app, environ(path=path))
        return gc.collect()
    finally:
        gc.enable()
        gc.unfreeze()


# -- what is made later ----------------------------------------------------------------------------


class Lazy:
    """An application that is made by the first request to it."""

    def __init__(self, make: Callable[[], WSGIApplication]) -> None:
        """Make nothing yet."""
        self._make = make
        self.app: WSGIApplication | None = None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Pass on."""
        if self.app is None:
            self.app = self._make()
        return self.app(environ, start_response)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_an_application_that_its_first_request_makes_is_found(framework: str) -> None:
    """From the second request on its routes are known; Flask's and werkzeug's own may be at once."""
    path, route = a_path(framework)

    first, *others = routes(Lazy(lambda: create_app(framework)), path, path, path)

    assert first in (NONE, route)
    assert others == [route, route]


def test_an_application_that_is_made_after_monitor_is_found(tmp_path: Path) -> None:
    """What is put into a middleware after `monitor()` is found by the first request."""
    late = Attribute("app", answering(list))
    monitored = monitor(late, Settings(ledger_dir=str(tmp_path), enable_prometheus=False))
    try:
        late.app = create_app("falcon")  # type: ignore[attr-defined]
        serve(monitored, environ(path="/u/1"))
        reading = monitored._ledger.read()
        assert reading is not None
        assert [row.route for row in rows(reading)] == ["/u/{number:int}"]
    finally:
        monitored.close()


PROGRAM: Final = """
import sys
from otelmon import Settings, monitor
from tests.wsgi_driver import environ, rows, serve

def lazy(environ, start_response):
    if not hasattr(lazy, "app"):
        from tests.routed import create_app
        lazy.app = create_app(sys.argv[2])
    return lazy.app(environ, start_response)

app = monitor(lazy, Settings(enable_prometheus=False, ledger_dir=sys.argv[1]))
assert sys.argv[2] not in sys.modules
for _ in range(3):
    serve(app, environ(path=sys.argv[3]))
print([row.route for row in rows(app._ledger.read()) if row.times >= 2])
app.close()
assert not {"bottle", "django", "falcon", "flask", "pyramid"} - {sys.argv[2]} & set(sys.modules)
"""


@pytest.mark.parametrize("framework", ["django", "pyramid"])
def test_a_framework_that_is_imported_by_a_request_is_known(tmp_path: Path, framework: str) -> None:
    """monitor() imports no framework, and learns of one that is imported only to answer."""
    path, route = a_path(framework)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), framework, path],
        cwd=ROOT,
        check=True,
        timeout=60,
        capture_output=True,
        text=True,
    )
    assert done.stdout == f"['{route}']\n"


def test_new_kinds_of_unmatched_requests_do_not_look_for_ever() -> None:
    """Only the first of each kind without a route looks through the application again."""
    looks = itertools.count()

    class Table(dict[str, object]):
        def items(self) -> Any:  # noqa: ANN401 - as dict has it
            next(looks)
            return super().items()

    app = Attribute("app", answering(list))
    app.mounts = Table()  # type: ignore[attr-defined]
    measured = Measured(app)
    for number in range(50):
        measured.ask(environ(path=f"/{number}"))
        measured.ask(environ("BREW", f"/{number}"))

    # When it is measured, and for GET and _OTHER.
    assert next(looks) == 3
