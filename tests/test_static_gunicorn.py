"""Static under a real gunicorn: what it serves, and all that it does not."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

import pytest

from otelmon.hardening.collect import collect
from tests import wire
from tests.gunicorn_server import Answer, Gunicorn
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


CSS = "body { color: red }\n" * 200
SECRET = "nobody is to read this"
YEAR = "max-age=31536000, public, immutable"
HOUR = "max-age=3600, public"


class Site(NamedTuple):
    """A root, and the server that serves it."""

    server: Gunicorn
    root: Path

    def get(self, path: str | bytes, *headers: str, method: str = "GET") -> Answer:
        """Ask for a path as it stands here."""
        return wire.ask(self.server.port, wire.request(path, *headers, method=method))

    @property
    def hashed(self) -> str:
        """Return the hashed name of the stylesheet."""
        return self.server.get("/url/app.css").text


@pytest.fixture(name="site", scope="module")
def _site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("static")
    root, source = directory / "root", directory / "source"
    for place in (root / "deep" / ".hidden", source / "deep"):
        place.mkdir(parents=True)
    (source / "app.css").write_text(CSS)
    (source / "deep" / "a b\u00e4.txt").write_text("deep")
    collect([source], root)
    (root / "fake.0123456789ab.css").write_text("a name like a hash")
    (directory / "secret.txt").write_text(SECRET)
    (directory / "outside").mkdir()
    (directory / "outside" / "secret.txt").write_text(SECRET)
    for name in (".env", "deep/.env", "deep/.hidden/secret.txt"):
        (root / name).write_text(SECRET)
    links: dict[str, Path | str] = {
        "link.txt": directory / "secret.txt",
        "relative.txt": "../secret.txt",
        "chain.txt": "link.txt",
        "out": directory / "outside",
        "deep/out": "../../outside",
        "hidden.txt": ".env",
        "loop": ".",
        "dead.txt": "nothing",
        "passwd": "/etc/passwd",
        "inside.css": "app.css",
        "alias": "deep",
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    for name in ("later.txt", "later-hour.css", "swapped/a.txt", "pipe.txt", "gone.txt"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("as it was")
    os.mkfifo(root / "fifo")
    server = Gunicorn(
        directory,
        app="tests.apps.static_site:app",
        workers=1,
        worker_class="gthread",
        args=("--threads", "4"),
        env={"STATIC_ROOT": str(root)},
    )
    with server:
        # gunicorn listens before it has a worker.
        assert server.get("/url/app.css").status == 200
        yield Site(server, root)


TRAVERSALS = [
    *("/static/../secret.txt", "/static/../../secret.txt", "/static/deep/../../secret.txt"),
    *("/static/%2e%2e/secret.txt", "/static/%2e%2e%2fsecret.txt", "/static/..%2fsecret.txt"),
    *("/static/%252e%252e%252fsecret.txt", "/static/%25252e%25252e/secret.txt"),
    *("/static/..%5csecret.txt", "/static/..\\secret.txt", "/static/%2e%2e%5csecret.txt"),
    *("/static/%c0%ae%c0%ae%c0%afsecret.txt", "/static/%c0%ae%c0%ae/secret.txt"),
    *("/static/%e0%80%ae%e0%80%ae/secret.txt", "/static/%f0%80%80%ae./secret.txt"),
    *("/static/%uff0e%uff0e/secret.txt", "/static/\uff0e\uff0e/secret.txt".encode()),
    *("/static/....//secret.txt", "/static/..;/secret.txt", "/static/.../secret.txt"),
    *("/static//etc/passwd", "/static///etc/passwd", "/static/%2fetc%2fpasswd"),
    *("/static/C:/secret.txt", "/static/C:%5csecret.txt", "/static/file:///etc/passwd"),
    *(
        "/static/app.css%00",
        "/static/%00",
        "/static/../secret.txt%00.css",
        "/static/app.css%00.txt",
    ),
    *("/static/./.env", "/static/.env", "/static/%2eenv", "/static/deep/.env", "/static/.env/"),
    *("/static/deep/.hidden/secret.txt", "/static/deep/%2ehidden/secret.txt"),
    *("/static/link.txt", "/static/relative.txt", "/static/chain.txt", "/static/passwd"),
    *("/static/out/secret.txt", "/static/deep/out/secret.txt", "/static/alias/out/secret.txt"),
    *("/static/hidden.txt", "/static/dead.txt", "/static/loop/app.css", "/static/fifo"),
    *(
        "/static/",
        "/static",
        "/static/deep",
        "/static/deep/",
        "/static/app.css/",
        "/Static/app.css",
    ),
    *("/static/./app.css", "/static//app.css", "//static/app.css", "/static/x/../app.css"),
    *(
        "/static/app.css.gz",
        "/static/manifest.json",
        "/static/app.css%0d%0aX-A: b",
        "/static/~root",
    ),
]


@pytest.mark.parametrize("path", TRAVERSALS, ids=ascii)
def test_no_spelling_of_a_path_leads_elsewhere(site: Site, path: str | bytes) -> None:
    """What is no name of a file below the root, or is hidden, or a link out of it, is not found."""
    answer = site.get(path)
    assert SECRET not in answer.body.decode("latin-1")
    assert b"root:" not in answer.body
    assert answer.status in {400, 404}
    if answer.status == 404:
        refused = answer.headers["Content-Type"] == "application/problem+json"
        assert refused != ("X-From" in answer.headers)


def test_an_absolute_target_is_the_path_in_it(site: Site) -> None:
    """A target with scheme and host serves the file of its path, and no other."""
    assert site.get("http://x/static/app.css").status == 200
    assert site.get("http://x/static/../secret.txt").status in {400, 404}


def test_only_names_that_the_list_vouches_for_are_cached_for_a_year(site: Site) -> None:
    """The hashed name gets a year and immutable; plain names and lookalikes get an hour."""
    assert re.fullmatch(r"/static/app\.[0-9a-f]{12}\.css", site.hashed)
    assert site.get(site.hashed).headers["Cache-Control"] == YEAR
    for name in ("app.css", "fake.0123456789ab.css", "inside.css", "deep/a%20b%C3%A4.txt"):
        answer = site.get(f"/static/{name}")
        assert (answer.status, answer.headers["Cache-Control"]) == (200, HOUR)


def test_a_file_comes_whole_with_its_headers(site: Site) -> None:
    """Type, length, tag and date are there, nosniff too, and no leave for other origins."""
    answer = site.get("/static/app.css")
    assert answer.text == CSS
    assert answer.headers["Content-Type"] == 'text/css; charset="utf-8"'
    assert answer.headers["Content-Length"] == str(len(CSS))
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert {"ETag", "Last-Modified"} <= answer.headers.keys()
    assert not [name for name in answer.headers if name.startswith("Access-Control")]
    assert site.get("/static/alias/a%20b%C3%A4.txt").text == "deep"


def test_head_has_all_but_the_body(site: Site) -> None:
    """HEAD has the headers of GET, and nothing behind them."""
    get, head = site.get("/static/app.css"), site.get("/static/app.css", method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert {**head.headers, "Date": ""} == {**get.headers, "Date": ""}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "X-Y"])
def test_other_methods_are_not_allowed(site: Site, method: str) -> None:
    """On a file all methods but GET and HEAD get 405, elsewhere they are the application's."""
    answer = site.get("/static/app.css", method=method)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert site.get("/static/nothing.css", method=method).headers["X-From"] == "application"


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip", "gzip"),
        ("br", "br"),
        ("gzip, deflate, br", "br"),
        ("gzip, br;q=0", "gzip"),
        ("*", "br"),
        ("gzip;q=0.1", "gzip"),
        ("GZIP", "gzip"),
        ("gzip;q=0", None),
        ("deflate", None),
        ("identity", None),
        ("*;q=0", None),
    ],
)
def test_the_compressed_variant_comes_to_who_takes_it(
    site: Site, accepted: str, encoding: str | None
) -> None:
    """A variant that `collect` has made is sent where Accept-Encoding takes it, and only there."""
    answer = site.get("/static/app.css", f"Accept-Encoding: {accepted}")
    assert answer.headers.get("Content-Encoding") == encoding
    assert (len(answer.body) < len(CSS)) == (encoding is not None)


def _conditions(headers: Mapping[str, str]) -> list[tuple[str, int]]:
    tag, date = headers["ETag"], headers["Last-Modified"]
    old = "Thu, 01 Jan 1970 00:00:01 GMT"
    return [
        (f"If-None-Match: {tag}", 304),
        (f"If-None-Match: W/{tag}", 304),
        (f'If-None-Match: "a", {tag}, "b"', 304),
        ("If-None-Match: *", 304),
        ('If-None-Match: "a"', 200),
        (f"If-Modified-Since: {date}", 304),
        (f"If-Modified-Since: {old}", 200),
        ("If-Modified-Since: yesterday", 200),
        (f'If-None-Match: "a"\r\nIf-Modified-Since: {date}', 200),
        (f"If-None-Match: {tag}\r\nIf-Modified-Since: {old}", 304),
        (f"If-Match: {tag}", 200),
        ('If-Match: "a"', 412),
        ("If-Match: *", 200),
        (f"If-Match: W/{tag}", 412),
        (f"If-Match: {tag}\r\nIf-None-Match: {tag}", 304),
        (f"If-Unmodified-Since: {date}", 200),
        (f"If-Unmodified-Since: {old}", 412),
        (f"If-Match: {tag}\r\nIf-Unmodified-Since: {old}", 200),
        *((f"{name}: {never}", 200) for name in DATED for never in NEVER),
    ]


DATED = ("If-Modified-Since", "If-Unmodified-Since")
NEVER = (
    f"Mon, 01 Jan {10**20} 00:00:00 GMT",
    f"Mon, 01 Jan 2001 {10**20}:00:00 GMT",
    f"Mon, 01 Jan 2001 00:00:00 +{10**20}",
)
"""Dates that no calendar has, and that datetime does not only call wrong"""


def test_conditions_are_those_of_http(site: Site) -> None:
    """Tags decide before dates, alone, weak or in a list; 304 has no body, and the tag again."""
    for encoding in ("", "\r\nAccept-Encoding: gzip"):
        first = site.get("/static/app.css", f"X: y{encoding}")
        for condition, status in _conditions(first.headers):
            answer = site.get("/static/app.css", condition + encoding)
            assert (answer.status, condition) == (status, condition)
            if status == 304:
                assert answer.body == b""
                assert answer.headers["ETag"] == first.headers["ETag"]
    plain = site.get("/static/app.css").headers["ETag"]
    other = site.get("/static/app.css", "Accept-Encoding: gzip", f"If-None-Match: {plain}")
    assert other.status == 200


SIZE = len(CSS)


@pytest.mark.parametrize(
    ("asked", "status", "span"),
    [
        ("bytes=0-0", 206, (0, 1)),
        ("bytes=0-9", 206, (0, 10)),
        (f"bytes={SIZE - 1}-", 206, (SIZE - 1, SIZE)),
        ("bytes=10-", 206, (10, SIZE)),
        ("bytes=-10", 206, (SIZE - 10, SIZE)),
        (f"bytes=-{SIZE + 1}", 206, (0, SIZE)),
        (f"bytes=5-{SIZE * 9}", 206, (5, SIZE)),
        (f"bytes={SIZE}-", 416, None),
        (f"bytes={SIZE}-{SIZE * 2}", 416, None),
        ("bytes=0-1,5-6", 200, None),
        ("bytes=9-1", 200, None),
        ("bytes=a-b", 200, None),
        ("bytes=1_0-", 200, None),
        ("lines=0-1", 200, None),
        ("bytes", 200, None),
        ("bytes=--5", 200, None),
    ],
)
def test_one_range_is_sent(
    site: Site, asked: str, status: int, span: tuple[int, int] | None
) -> None:
    """206 with one range, 416 behind the end, and the whole for several and for what is none."""
    answer = site.get("/static/app.css", f"Range: {asked}")
    assert answer.status == status
    if span is not None:
        start, stop = span
        assert answer.text == CSS[start:stop]
        assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    elif status == 416:
        assert answer.headers["Content-Range"] == f"bytes */{SIZE}"
    else:
        assert answer.text == CSS


def test_a_range_of_another_content_is_no_range(site: Site) -> None:
    """If-Range: the range for the same strong tag or date, else the whole."""
    headers = site.get("/static/app.css").headers
    zipped = site.get("/static/app.css", "Accept-Encoding: gzip").headers["ETag"]
    cases = [
        (headers["ETag"], 206),
        (headers["Last-Modified"], 206),
        (f"W/{headers['ETag']}", 200),
        ('"other"', 200),
        (zipped, 200),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 200),
        *((never, 200) for never in NEVER),
    ]
    for condition, status in cases:
        answer = site.get("/static/app.css", "Range: bytes=0-3", f"If-Range: {condition}")
        assert (answer.status, condition) == (status, condition)


def test_a_file_that_became_a_link_is_not_followed(site: Site) -> None:
    """A file, or a directory above it, that is swapped for a link out of the root is gone."""
    directory = site.root.parent
    assert site.get("/static/later.txt").text == "as it was"
    (site.root / "later.txt").unlink()
    (site.root / "later.txt").symlink_to(directory / "secret.txt")
    assert site.get("/static/swapped/a.txt").text == "as it was"
    (site.root / "swapped").rename(site.root / "moved")
    (directory / "outside" / "a.txt").write_text(SECRET)
    (site.root / "swapped").symlink_to(directory / "outside")
    (site.root / "pipe.txt").unlink()
    os.mkfifo(site.root / "pipe.txt")
    (site.root / "gone.txt").unlink()
    for path in ("later.txt", "swapped/a.txt", "pipe.txt", "gone.txt"):
        for _ in range(2):
            answer = site.get(f"/static/{path}")
            # Only of what is not there at all the application is asked.
            assert (answer.status, "X-From" in answer.headers) == (404, path == "gone.txt")
    # A directory inside may take the place, and so may the file itself come back.
    (site.root / "swapped").unlink()
    (site.root / "moved").rename(site.root / "swapped")


def test_a_file_that_is_replaced_is_served_as_it_is_now(site: Site) -> None:
    """Another content of the same name comes with its own length and tag, at once."""
    path, url = site.root / "later-hour.css", "/static/later-hour.css"
    tags = {site.get(url).headers["ETag"]}
    for content in ("as it iz!", "longer than it was", ""):
        path.write_text(content)
        answer = site.get(url)
        assert (answer.status, answer.text) == (200, content)
        assert answer.headers["Content-Length"] == str(len(content))
        tags.add(answer.headers["ETag"])
    assert len(tags) == 4


def test_the_next_run_of_collect_is_seen_by_a_server_that_runs(site: Site) -> None:
    """New hashed names are there with a year; the old one stays, and the process still names it."""
    old = site.hashed
    source = site.root.parent / "source"
    (source / "app.css").write_text(CSS + "p {}")
    collect([source], site.root)
    (new,) = {f"/static/{each.name}" for each in site.root.glob("app.*.css")} - {old}
    answer = site.get(new)
    assert (answer.status, answer.headers["Cache-Control"]) == (200, YEAR)
    assert answer.text == CSS + "p {}"
    assert (site.get(old).text, site.hashed) == (CSS, old)
    (source / "app.css").write_text(CSS)
    collect([source], site.root)


def test_all_files_are_one_route(site: Site) -> None:
    """In the metrics a file's route is the prefix; no name of a file is in a label."""
    site.get("/static/app.css")
    site.get("/static/inside.css", "If-None-Match: *")

    def labels() -> set[str]:
        return set(re.findall(r'endpoint="(/[^"]*)"', site.server.get("/metrics").text))

    assert until(lambda: "/static/" in labels())
    assert labels() <= {"/static/", "/url/{name}"}
