"""The example of nginx, as it stands in the documents, before a real gunicorn."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import pytest

from otelmon.hardening.collect import collect
from tests import wire
from tests.gunicorn_server import Gunicorn
from tests.nginx_server import EXAMPLE, Nginx
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


LIMIT = 16 * 1024 * 1024
RATE = 200
CSS = "body { color: red }\n" * 200
YEAR = "max-age=31536000, public, immutable"
OPS = (
    *("/health", "/livez", "/readyz", "/metrics", "/api/metrics", "/api/metrics/health"),
    *("/api/metrics/recommendations", "/api/metrics/history", "/api/metrics/alerts"),
)


class Site(NamedTuple):
    """nginx, the gunicorn behind it, and what that one serves."""

    nginx: Nginx
    gunicorn: Gunicorn
    root: Path
    seen_path: Path

    @property
    def seen(self) -> list[str]:
        """Return the paths of the requests that reached the application."""
        return self.seen_path.read_text().splitlines()


@pytest.fixture(name="site", scope="module")
def _site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("proxied")
    source, root, seen = directory / "source", directory / "root", directory / "seen"
    source.mkdir()
    seen.touch()
    (source / "app.css").write_text(CSS)
    (directory / "secret").write_text("secret")
    collect([source], root)
    (root / ".env").write_text("secret")
    (root / "link.txt").symlink_to(directory / "secret")
    gunicorn = Gunicorn(
        directory,
        app="tests.apps.proxied:app",
        workers=1,
        worker_class="gthread",
        args=("--threads", "4"),
        env={
            "STATIC_ROOT": str(root),
            "TRUSTED_PROXIES": "1",
            "RATE_LIMIT": f"{RATE}/minute",
            "SEEN": str(seen),
            "MONITORING_INTERVAL": "1",
        },
    )
    with gunicorn, Nginx(directory, upstream=gunicorn.port, root=root) as nginx:
        # gunicorn listens before it has a worker.
        assert gunicorn.get("/").status == 200
        yield Site(nginx, gunicorn, root, seen)


def test_the_application_sees_who_asked(site: Site) -> None:
    """X-Forwarded-For is the client's address alone, whatever the client claims in it."""
    spoofed = (
        *("X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 7.7.7.7", "X_Forwarded_For: 8.8.8.8"),
        *("Forwarded: for=6.6.6.6", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil"),
        *("X-Request-Start: t=1", "X-Queue-Start: t=1"),
    )
    told = site.nginx.ask("/who", *spoofed, source="127.0.0.9").json()
    assert told["REMOTE_ADDR"] == "127.0.0.1"
    assert told["HTTP_X_FORWARDED_FOR"] == "127.0.0.9"
    assert (told["HTTP_X_FORWARDED_PROTO"], told["wsgi.url_scheme"]) == ("http", "http")
    assert told["HTTP_HOST"] == "x"
    assert re.fullmatch(r"t=\d{10}\.\d{3}", told["HTTP_X_REQUEST_START"])
    assert told.keys().isdisjoint({"HTTP_FORWARDED", "HTTP_X_FORWARDED_HOST", "HTTP_X_QUEUE_START"})


def test_a_client_that_claims_many_addresses_has_one_limit(site: Site) -> None:
    """Exactly the limit passes, whoever it claims to be; its neighbour has a limit of its own."""
    statuses = [
        site.nginx.ask("/who", f"X-Forwarded-For: 6.6.6.{n}", source="127.0.0.77").status
        for n in range(RATE + 5)
    ]
    assert statuses == [200] * RATE + [429] * 5
    assert site.nginx.ask("/who", source="127.0.0.78").status == 200


def test_the_example_says_the_default_of_the_limit(site: Site) -> None:
    """client_max_body_size is the bytes of MAX_CONTENT_LENGTH: both let exactly as much through."""
    assert f"client_max_body_size {LIMIT};" in EXAMPLE.read_text()
    for port in (site.nginx.port, site.gunicorn.port):
        for size, status in ((LIMIT, 200), (LIMIT + 1, 413)):
            declared = wire.request("/up", f"Content-Length: {size}")
            answer = wire.ask(port, declared, b"x" * size)
            assert answer.status == status
            assert status == 413 or answer.json()["size"] == LIMIT
    before = len(site.seen)
    chunked = wire.request("/up", "Transfer-Encoding: chunked")
    pieces = wire.chunked([b"x" * 65536] * 256 + [b"x"])
    assert wire.ask(site.nginx.port, chunked, pieces).status == 413
    assert len(site.seen) == before


def test_a_chunked_body_comes_with_its_length(site: Site) -> None:
    """nginx has read the whole request before a worker sees it."""
    chunked = wire.request("/up", "Transfer-Encoding: chunked")
    told = wire.ask(site.nginx.port, chunked, wire.chunked([b"a", b"bc"])).json()
    assert (told["CONTENT_LENGTH"], told["size"]) == ("3", 3)


@pytest.mark.parametrize("path", OPS)
def test_what_is_for_machines_is_not_for_everybody(site: Site, path: str) -> None:
    """From outside our endpoints are not found, however they are spelled; inside they are."""
    before = len(site.seen)
    first, rest = path[1], path[2:]
    spellings = (
        *(path, f"{path}?a=b", f"/%{ord(first):x}{rest}", f"/.{path}", f"/x/..{path}"),
        *(f"/{path}", f"http://x{path}", f"{path}/.", f"{path}#a"),
    )
    for spelled in spellings:
        for method in ("GET", "HEAD", "POST"):
            answer = site.nginx.ask(spelled, method=method)
            # With a slash behind it, it is another path, and the application's.
            passed = answer.status == 200 and site.seen[before:] and spelled.endswith("/.")
            assert answer.status == 404 or passed, spelled
            assert b"timestamp" not in answer.body
    assert site.gunicorn.get(path).status == 200


def test_static_files_come_from_nginx(site: Site) -> None:
    """With type, year or hour, nosniff, tag, ranges and the compressed variant; as by Static."""
    (hashed,) = (each.name for each in site.root.glob("app.*.css"))
    before = len(site.seen)
    for name, cached in ((hashed, YEAR), ("app.css", "max-age=3600, public")):
        url = f"/static/{name}"
        answer, own = (
            site.nginx.ask(url),
            wire.ask(site.gunicorn.port, wire.request(url, method="GET")),
        )
        assert answer.headers["Server"] == "nginx"
        assert answer.text == own.text == CSS
        for header in ("X-Content-Type-Options", "Content-Length", "Vary", "Last-Modified"):
            assert answer.headers[header] == own.headers[header]
        assert answer.headers["Cache-Control"] == own.headers["Cache-Control"] == cached
        assert answer.headers["Content-Type"] == "text/css"
    tag = site.nginx.ask("/static/app.css").headers["ETag"]
    assert site.nginx.ask("/static/app.css", f"If-None-Match: {tag}").status == 304
    assert site.nginx.ask("/static/app.css", "Range: bytes=0-0").text == "b"
    assert (
        site.nginx.ask("/static/app.css", "Accept-Encoding: gzip").headers["Content-Encoding"]
        == "gzip"
    )
    assert site.nginx.ask("/static/app.css", method="POST").status == 405
    assert len(site.seen) == before


@pytest.mark.parametrize(
    "path",
    [
        *("/static/.env", "/static/%2eenv", "/static/link.txt", "/static/manifest.json"),
        *("/static../secret", "/static/../secret", "/static/..%2fsecret", "/static/%2e%2e/secret"),
        *("/static/", "/static/nothing.css", "/static/..%5csecret", "/static/app.css%00.txt"),
    ],
)
def test_nothing_else_of_the_root_is_shown(site: Site, path: str) -> None:
    """Dotfiles, links, the list and what lies above are not to be had."""
    answer = site.nginx.ask(path)
    assert "secret" not in answer.text or answer.status == 200
    if answer.status == 200:
        # It was no path below /static/ to nginx, so the application told what it saw.
        assert "HTTP_X_FORWARDED_FOR" in answer.json()
    else:
        assert answer.status in {400, 403, 404}


def test_the_wait_for_a_worker_is_measured(site: Site) -> None:
    """The stamp of nginx becomes otelmon's queue time."""

    def waited() -> object:
        # Again: a window shows what came between two looks of the keeper. By a client of its own,
        # who may have used up its limit then.
        site.nginx.ask("/who", source="127.0.0.55")
        text = site.gunicorn.get("/metrics").text
        return re.search(r'^otelmon_window_queue_seconds\{window="60".*\} \d', text, re.MULTILINE)

    assert until(waited, every=0.1)
