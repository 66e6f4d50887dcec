"""Static and static_url without a server: what may be cached, what is refused, what is named."""

from __future__ import annotations

import importlib
import os
import re
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage
from django.core.files.base import ContentFile
from hypothesis import given
from hypothesis import strategies as st

from otelmon import BodyLimit, ConfigError, Static, static_url
from otelmon.hardening import static as module
from otelmon.hardening.collect import collect
from otelmon.hardening.tree import Tree
from tests.apps import django_shop
from tests.wsgi_driver import Measured, environ, serve


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from _typeshed.wsgi import StartResponse, WSGIEnvironment


YEAR = "max-age=31536000, public, immutable"
HOUR = "max-age=3600, public"


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have no STATIC_* setting, and nothing known of one."""
    for name in ("STATIC_ROOT", "STATIC_PREFIX", "STATIC_MAX_AGE"):
        monkeypatch.delenv(name, raising=False)
    module._default.cache_clear()
    yield
    module._default.cache_clear()


def application(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Find nothing."""
    start_response("404 Not Found", [])
    return [b""]


def cached(static: Static, path: str) -> str | None:
    """Return the Cache-Control of a file that is served, else None."""
    seen = serve(static, environ(path=path))
    assert seen.status in {"200 OK", "404 Not Found"}
    return None if seen.status != "200 OK" else dict(seen.headers).get("Cache-Control")


def test_the_settings_say_where_and_how_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """STATIC_ROOT, STATIC_PREFIX and STATIC_MAX_AGE hold unless others are given."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.js").write_text("a")
    collect([tmp_path / "source"], tmp_path / "root")
    monkeypatch.setenv("STATIC_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("STATIC_PREFIX", "/assets/")
    monkeypatch.setenv("STATIC_MAX_AGE", "60")
    static = Static(application)
    assert cached(static, static.url("a.js")) == "max-age=60, public, immutable"
    assert cached(static, "/assets/a.js") == "max-age=60, public"
    given = Static(application, root=tmp_path / "root", prefix="/", max_age=0)
    assert cached(given, given.url("a.js")) == "max-age=0, public"
    assert given.url("a.js").startswith("/a.")


def test_a_pattern_vouches_for_names_too(tmp_path: Path) -> None:
    """Names that *hashed* finds get the year, for what bundlers make; no others do."""
    for name in ("index-BfX12abc.js", "index.js"):
        (tmp_path / name).write_text("a")
    static = Static(application, root=tmp_path, hashed=r"-[\w-]{8}\.\w+$")
    assert cached(static, "/static/index-BfX12abc.js") == YEAR
    assert cached(static, "/static/index.js") == HOUR


def test_the_list_of_django_vouches_for_its_names(tmp_path: Path) -> None:
    """What Django's ManifestStaticFilesStorage lists gets the year; an older hash gets an hour."""
    # Django is set up once in a process, and by this application for all tests.
    django_shop.create_app()
    storage = ManifestStaticFilesStorage(location=str(tmp_path), base_url="/static/")
    storage.save("app.css", ContentFile(b"body {}"))
    assert all(
        not isinstance(each[2], Exception)
        for each in storage.post_process({"app.css": (storage, "app.css")})
    )
    (tmp_path / "app.0123456789ab.css").write_text("an older one")
    static = Static(application, root=tmp_path)
    hashed = static.url("app.css")
    assert hashed == "/static/" + storage.stored_name("app.css")
    assert cached(static, hashed) == YEAR
    assert cached(static, "/static/app.css") == HOUR
    assert cached(static, "/static/app.0123456789ab.css") == HOUR
    assert cached(static, "/static/staticfiles.json") is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"name": "My app"}',
        '{"otelmon": 1}',
        '{"otelmon": 1, "files": {"a": 5}}',
        "[" * 9999,
    ],
    ids=range(7),
)
def test_a_list_of_that_name_that_is_another_is_a_file(tmp_path: Path, content: str) -> None:
    """A web application's manifest.json, or a broken one, vouches for nothing and is served."""
    (tmp_path / "manifest.json").write_text(content)
    (tmp_path / "app.0123456789ab.css").write_text("a")
    static = Static(application, root=tmp_path)
    assert cached(static, "/static/manifest.json") == HOUR
    assert cached(static, "/static/app.0123456789ab.css") == HOUR


def test_what_cannot_be_served_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No root, a root that is none, a wrong prefix, age or pattern: a ConfigError names it."""
    with pytest.raises(ConfigError, match="set STATIC_ROOT, or give root"):
        Static(application)
    with pytest.raises(ConfigError, match=r"root is '/nowhere'.*otelmon collect"):
        Static(application, root="/nowhere")
    monkeypatch.setenv("STATIC_ROOT", "/nowhere")
    with pytest.raises(ConfigError, match="STATIC_ROOT is '/nowhere'"):
        Static(application)
    wrong: dict[str, Any] = {"prefix": "static", "max_age": -1, "hashed": "("}
    with pytest.raises(ConfigError) as raised:
        Static(application, root=tmp_path, **wrong)
    assert [problem.split()[0] for problem in raised.value.problems] == [*wrong]


def test_names_in_any_script_are_found(tmp_path: Path) -> None:
    """Prefix and names beyond ASCII are those of the URL, in UTF-8."""
    (tmp_path / "\u00e4 \u65e5.txt").write_text("a")
    static = Static(application, root=tmp_path, prefix="/st\u00e4tic/")
    asked = "/st\u00e4tic/\u00e4 \u65e5.txt".encode().decode("latin-1")
    assert cached(static, asked) == HOUR
    assert static.url("\u00e4 \u65e5.txt") == "/st%C3%A4tic/%C3%A4%20%E6%97%A5.txt"


def test_an_absent_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without WhiteNoise a ConfigError says what to install."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"whitenoise.*otelmon\[hardening\]"):
        Static(application, root=tmp_path)


def test_a_url_is_hashed_where_a_list_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`static_url` has the hash once there is a list, else none; it is quoted, below SCRIPT_NAME."""
    monkeypatch.setenv("STATIC_ROOT", str(tmp_path / "root"))
    assert static_url("app.css") == "/static/app.css"
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "app.css").write_text("a")
    collect([tmp_path / "source"], tmp_path / "root")
    (hashed,) = (tmp_path / "root").glob("app.*.css")
    assert static_url("app.css") == static_url("/app.css") == f"/static/{hashed.name}"
    below = environ(SCRIPT_NAME="/caf\u00c3\u00a9")
    assert static_url("a b#.png", below) == "/caf%C3%A9/static/a%20b%23.png"


def test_a_url_needs_no_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where STATIC_ROOT is unset, the name stays as it is."""
    monkeypatch.setenv("STATIC_PREFIX", "/")
    assert static_url("app.css") == "/app.css"


def test_a_root_that_is_empty_or_goes_is_no_error(tmp_path: Path) -> None:
    """Where no file is, or none any more, all is the application's."""
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a.txt").write_text("a")
    static = Static(application, root=tmp_path / "root")
    (tmp_path / "root").rename(tmp_path / "moved")
    assert cached(static, "/static/a.txt") is None
    assert cached(Static(application, root=_made(tmp_path / "empty")), "/static/a.txt") is None


def _made(path: Path) -> Path:
    path.mkdir()
    return path


def test_a_system_without_directory_descriptors_follows_no_link_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where files can only be opened by their paths, these are looked at before."""
    monkeypatch.setattr(os, "supports_dir_fd", set[object]())
    (tmp_path / "root").mkdir()
    (tmp_path / "secret").write_text("as it was")
    for name in ("a.txt", "b.txt"):
        (tmp_path / "root" / name).write_text("as it was")
    static = Static(application, root=tmp_path / "root")
    (tmp_path / "root" / "b.txt").unlink()
    (tmp_path / "root" / "b.txt").symlink_to(tmp_path / "secret")
    assert cached(static, "/static/a.txt") == HOUR
    assert cached(static, "/static/b.txt") is None


def test_no_link_is_followed_while_a_file_is_opened(tmp_path: Path) -> None:
    """A tree opens its files, and no link, neither at the end nor on the way, and waits for none."""
    (tmp_path / "root" / "deep").mkdir(parents=True)
    (tmp_path / "root" / "deep" / "a.txt").write_text("a")
    (tmp_path / "root" / "alias").symlink_to("deep")
    (tmp_path / "root" / "link").symlink_to("deep/a.txt")
    os.mkfifo(tmp_path / "root" / "pipe")
    tree = Tree(str(tmp_path / "root"))
    for name in ("deep/a.txt", "pipe"):
        os.close(tree.open(name))
    for name in ("alias/a.txt", "link", "deep/nothing"):
        with pytest.raises(OSError, match=r"symbolic|directory"):
            tree.open(name)


def test_a_variant_that_goes_is_missed_by_nobody(tmp_path: Path) -> None:
    """Without its compressed variant a file is sent as it is; with a new one, that."""
    (tmp_path / "a.txt").write_text("a" * 100)
    (tmp_path / "a.txt.gz").write_bytes(b"zipped")
    static = Static(application, root=tmp_path)
    asked = environ(path="/static/a.txt", HTTP_ACCEPT_ENCODING="gzip")

    def encoding() -> str | None:
        return dict(serve(static, asked).headers).get("Content-Encoding")

    assert encoding() == "gzip"
    (tmp_path / "a.txt.gz").unlink()
    assert encoding() is None
    (tmp_path / "a.txt.gz").mkdir()
    (tmp_path / "a.txt").write_text("b" * 200)
    assert encoding() is None


def test_a_file_that_is_away_for_a_moment_comes_back(tmp_path: Path) -> None:
    """Who deletes a file to write it anew makes a gap of the moment, not one until the next start."""
    (tmp_path / "a.txt").write_text("old")
    static = Static(application, root=tmp_path)
    assert cached(static, "/static/a.txt") == HOUR
    (tmp_path / "a.txt").unlink()
    assert cached(static, "/static/a.txt") is None
    (tmp_path / "a.txt").write_text("newer")
    assert serve(static, environ(path="/static/a.txt")).body == b"newer"


def test_a_link_that_goes_while_it_is_followed_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a link is deleted between two looks at it, nothing is there."""
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.txt").symlink_to("a.txt")
    followed = os.readlink

    def gone(path: str) -> str:
        (tmp_path / "b.txt").unlink()
        return followed(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "readlink", gone)
        assert [each.name for each in Tree(str(tmp_path)).files()] == ["a.txt"]
    assert not (tmp_path / "b.txt").is_symlink()


ODD = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=30)
VALUES = st.one_of(
    ODD,
    st.from_regex(r"(bytes|x)=[-0-9,_ ]{0,12}", fullmatch=True),
    st.from_regex(r'(W/)?"?[a*,"]{0,6}"?', fullmatch=True),
    st.from_regex(r"(gzip|br|\*)(;q=[-0-9.anife]{0,5})?(,gzip)?", fullmatch=True),
    st.from_regex(
        r"Thu, [0-9]{1,3} Jan [0-9]{1,6} [0-9]{1,3}:00:01( GMT| [-+][0-9]{4})?", fullmatch=True
    ),
)
HEADERS = (
    *("HTTP_RANGE", "HTTP_IF_RANGE", "HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH"),
    *("HTTP_IF_MODIFIED_SINCE", "HTTP_IF_UNMODIFIED_SINCE", "HTTP_ACCEPT_ENCODING"),
)


@pytest.fixture(name="served", scope="module")
def _served(tmp_path_factory: pytest.TempPathFactory) -> Static:
    root = tmp_path_factory.mktemp("root")
    (root / "a.txt").write_text("a" * 100)
    (root / "a.txt.gz").write_bytes(b"zipped")
    return Static(application, root=root)


@given(headers=st.dictionaries(st.sampled_from(HEADERS), VALUES, max_size=4))
def test_no_header_breaks_an_answer(served: Static, headers: dict[str, str]) -> None:
    """Whatever a client sends as range, tag, date or encoding: an answer that fits its length."""
    for method in ("GET", "HEAD"):
        seen = serve(served, environ(method, "/static/a.txt", **headers))
        assert seen.status is not None
        assert seen.status[:3] in {"200", "206", "304", "412", "416"}
        length = dict(seen.headers).get("Content-Length")
        assert length is None or method == "HEAD" or len(seen.body) == int(length)


@pytest.mark.parametrize("kind", ["bottle", "falcon"])
def test_the_routes_behind_both_are_found(kind: str, tmp_path: Path) -> None:
    """An application's routes are known through BodyLimit and Static."""
    shop = importlib.import_module(f"tests.apps.{kind}_shop").create_app()
    (tmp_path / "a.txt").write_text("a")
    measured = Measured(BodyLimit(Static(shop, root=tmp_path)))
    measured.ask(environ(path="/u/5"))
    assert re.fullmatch(r"/u/[<{].*", measured.row().route)
