"""Routes of mounted applications begin with their place, which no client chooses."""

from __future__ import annotations

from typing import Final

import bottle
import pytest
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from otelmon import faults
from otelmon.middleware.routes import ROUTE, attach, rules
from otelmon.middleware.routes.mounts import Mounts
from tests.apps import bottle_shop, falcon_shop, flask_shop, mounted_shops
from tests.routed import ANSWERS, NONE, a_path, create_app, routes
from tests.wsgi_driver import environ, serve


FRAMEWORKS: Final = sorted(ANSWERS)


def test_mounted_applications_have_their_prefix() -> None:
    """Routes begin with the place in the mount table, of every framework and at every depth."""
    paths = list(mounted_shops.TEMPLATES)

    assert dict(zip(paths, routes(mounted_shops.create_app(), *paths), strict=True)) == (
        mounted_shops.TEMPLATES
    )
    assert faults.seen() == {}


@pytest.mark.parametrize("prefix", ["/evil", "/api/v1", "/bottle", "/u/1", "//", "/a/" * 50])
def test_a_client_s_prefix_changes_no_route(prefix: str) -> None:
    """What a client writes into X-Forwarded-Prefix, below us or above, is in no route."""
    paths = list(mounted_shops.TEMPLATES)
    app = mounted_shops.create_app()

    below = routes(app, *paths, HTTP_X_FORWARDED_PREFIX=prefix)
    above = routes(app, *paths, SCRIPT_NAME=prefix)

    assert below == above == list(mounted_shops.TEMPLATES.values())


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_an_application_that_is_mounted_twice_is_named_by_the_place_that_was_asked(
    framework: str,
) -> None:
    """One application at two places, and at the root, has three routes and never a fourth."""
    path, route = a_path(framework)
    app = create_app(framework)
    table = DispatcherMiddleware(app, {"/one": app, "/two": app})
    asked = [f"/one{path}", f"/two{path}", path]

    for script_name in ("", "/evil"):
        expected = [f"/one{route}", f"/two{route}", route]
        assert routes(table, *asked, SCRIPT_NAME=script_name) == expected


def test_a_mount_that_is_told_later_is_known() -> None:
    """To attach an application again, now in a mount table, adds the place."""
    app = flask_shop.create_app()
    attach(app)

    assert routes(DispatcherMiddleware(app, {"/late": app}), "/late/crash/x", "/crash/x") == [
        "/late/crash/<word>",
        "/crash/<word>",
    ]


def test_bottle_mounts_what_is_no_bottle() -> None:
    """A Bottle that mounts another framework's application has the routes of that."""
    app = bottle.Bottle()
    app.mount("/other/", falcon_shop.create_app())

    assert routes(app, "/other/u/1", "/other/missing", "/missing") == [
        "/other/u/{number:int}",
        "/other/<:re:.*>",
        NONE,
    ]


def test_a_bottle_that_is_mounted_by_wsgi_says_its_own() -> None:
    """A Bottle within a Bottle, called by SCRIPT_NAME, has its own routes, and 404 is none."""
    app = bottle.Bottle()
    app.mount("/inner/", bottle_shop.shop())
    plain = bottle.Bottle()
    plain._mount_wsgi("/inner/", bottle_shop.shop())

    assert routes(plain, "/inner/u/1", "/inner/missing") == ["/inner/u/<number:int>", NONE]
    assert routes(app, "/inner/u/1", "/inner/missing") == ["/inner/u/<number:int>", NONE]


def test_the_rules_of_what_is_mounted_have_its_prefix() -> None:
    """So a mounted application's own /api/health is known as that."""
    known = rules(mounted_shops.create_app())

    assert {"/shop/orders", "/api/v1/shop/orders", "/falcon/stream", "/deep/er/file"} <= known


def test_mounts_know_all_places() -> None:
    """The longest place that SCRIPT_NAME ends with is the one; one place needs no asking."""
    mounts = Mounts()
    assert not mounts
    mounts.add("/api")
    assert mounts
    assert mounts.at({"SCRIPT_NAME": "/whatever"}, "/u") == "/api/u"
    mounts.add("/old/api")
    mounts.add("/old/api")
    assert mounts.at({"SCRIPT_NAME": "/x/old/api"}, "/u") == "/old/api/u"
    assert mounts.at({"SCRIPT_NAME": "/x/api"}, "/u") == "/api/u"
    assert mounts.at({}, "/u") == "/u"


def test_a_route_of_the_outside_is_kept() -> None:
    """A route that is there before a framework's request is over stays."""
    app = create_app("bottle")
    attach(app)
    request = environ(path="/u/1", **{ROUTE: "/mine"})

    serve(app, request)

    assert request[ROUTE] == "/mine"
