"""Static before stock applications that serve static files too, by laxer rules than its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
from django.test.utils import override_settings
from django.urls import re_path
from django.views.static import serve as serve_file
from flask import Flask

from otelmon import Static
from otelmon.hardening.collect import collect
from tests.apps import django_shop
from tests.wsgi_driver import environ, serve


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


SECRET = b"nobody is to read this"


class Place(NamedTuple):
    """STATIC_ROOT, and the folder that the application serves by itself."""

    root: Path
    folder: Path


@pytest.fixture(name="place", scope="module", params=["its own", "the same"])
def _place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    directory = tmp_path_factory.mktemp("static")
    source, root = directory / "source", directory / "root"
    (source / "deep").mkdir(parents=True)
    (source / "app.css").write_text("body {}\n" * 100)
    (source / "deep" / "a.txt").write_text("deep")
    collect([source], root)
    place = Place(root, root if request.param == "the same" else source)
    (directory / "outside").mkdir()
    (directory / "outside" / "secret.txt").write_bytes(SECRET)
    (place.folder / "deep" / ".hidden").mkdir()
    for name in (".env", "deep/.env", "deep/.hidden/secret.txt"):
        (place.folder / name).write_bytes(SECRET)
    links: dict[str, Path | str] = {
        "link.txt": "../outside/secret.txt",
        "chain.txt": "link.txt",
        "out": directory / "outside",
        "deep/out": "../../outside",
        "hidden.txt": ".env",
        "list.json": "manifest.json",
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    return place


@pytest.fixture(name="application", scope="module", params=["flask", "django"])
def _application(request: pytest.FixtureRequest, place: Place) -> Iterator[WSGIApplication]:
    if request.param == "flask":
        yield Flask(__name__, static_folder=place.folder, static_url_path="/static")
        return
    django = django_shop.create_app()
    with override_settings(ROOT_URLCONF=_Urls(place.folder)):
        yield django


class _Urls:
    """A module of URL patterns, as Django takes any object for one."""

    def __init__(self, folder: Path) -> None:
        # What the manual has `static()` make: https://docs.djangoproject.com/en/stable/howto/static-files/
        self.urlpatterns = [
            re_path(r"^static/(?P<path>.*)$", serve_file, {"document_root": folder})
        ]


HIDDEN = [
    *("/static/.env", "/static//.env", "/static/./.env", "/static/x/../.env", "/static/.env/"),
    *("/static/deep/.env", "/static/deep/.hidden/secret.txt", "/static/deep\\..\\.env"),
    *("/static/../outside/secret.txt", "/static/.nothing"),
]
OUT = [
    *("/static/link.txt", "/static//link.txt", "/static/link.txt/", "/static/chain.txt"),
    *("/static/out/secret.txt", "/static/deep/out/secret.txt", "/static/deep//out//secret.txt"),
    *("/static/hidden.txt", "/static/manifest.json", "/static/manifest.json/", "/static/list.json"),
    *("/static/app.css.gz", "/static/deep/link-later.txt", "/static/.later"),
]


def test_what_is_refused_is_not_served_by_the_application(
    place: Place, application: WSGIApplication
) -> None:
    """Hidden names, links out, the list and packed files are 404, and the application is not asked."""
    asked: list[str] = []

    def noting(request: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        asked.append(request["PATH_INFO"])
        return application(request, start_response)

    static = Static(noting, root=place.root)
    late = place.root / "deep" / "link-later.txt"
    late.unlink(missing_ok=True)
    late.symlink_to("../../outside/secret.txt")
    for path in [*HIDDEN, *OUT]:
        for method in ("GET", "HEAD", "POST"):
            seen = serve(static, environ(method, path))
            assert (path, seen.status, asked) == (path, "404 Not Found", [])
            assert dict(seen.headers)["Content-Type"] == "application/problem+json"
            assert (seen.body == b"") == (method == "HEAD")


def test_the_application_alone_would_serve_it(place: Place, application: WSGIApplication) -> None:
    """Without Static the stock application shows hidden files and follows links."""
    (place.folder / "out.txt").unlink(missing_ok=True)
    (place.folder / "out.txt").symlink_to("../outside/secret.txt")
    for path in ("/static/.env", "/static/out.txt"):
        assert serve(application, environ(path=path)).body == SECRET


def test_the_application_still_serves_what_is_not_there(
    place: Place, application: WSGIApplication
) -> None:
    """A plain name that STATIC_ROOT does not have is the application's, a folder's too."""
    (place.folder / "new.txt").unlink(missing_ok=True)
    static = Static(application, root=place.root)
    (place.folder / "new.txt").write_text("uploaded")
    assert serve(static, environ(path="/static/new.txt")).body == b"uploaded"
    for path in ("/static/nothing.css", "/static/deep", "/static/deep/", "/static/"):
        seen = serve(static, environ(path=path))
        assert "application/problem+json" not in dict(seen.headers).values()


def test_below_a_slash_only_what_lies_there_is_refused(tmp_path: Path) -> None:
    """With the prefix `/` the application keeps its own paths with dots, as `/.well-known/`."""
    flask = Flask(__name__, static_folder=None)
    flask.get("/<path:name>")(lambda name: name)
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / ".env").write_bytes(SECRET)
    (tmp_path / "root" / "link").symlink_to("/etc/passwd")
    static = Static(flask, root=tmp_path / "root", prefix="/")
    for path in ("/.well-known/security.txt", "/users/.config"):
        assert serve(static, environ(path=path)).body == path[1:].encode()
    for path in ("/.env", "//.env", "/x/../.env", "/./.env", "/link"):
        assert serve(static, environ(path=path)).status == "404 Not Found"
