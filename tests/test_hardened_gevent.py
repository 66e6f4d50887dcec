"""A stock Flask application behind `harden`, all of its parts in use, under gunicorn's gevent."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import pytest

from otelmon.hardening.collect import collect
from tests import wire
from tests.gunicorn_server import Answer, Gunicorn
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


SECRET = "nobody is to read this"
CSS = "body { color: red }\n" * 5000
ALLOWED = 40


class Site(NamedTuple):
    """A server, and Flask's own folder of static files."""

    server: Gunicorn
    folder: Path

    def get(self, path: str, *headers: str) -> Answer:
        """Ask for a path as it stands here."""
        return wire.ask(self.server.port, wire.request(path, *headers, method="GET"))


@pytest.fixture(name="site", scope="module")
def _site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("gevent")
    folder, source = directory / "static", directory / "source"
    source.mkdir()
    (source / "app.css").write_text(CSS)
    collect([source], folder)
    (directory / "secret.txt").write_text(SECRET)
    (folder / ".env").write_text(SECRET)
    (folder / "link.txt").symlink_to("../secret.txt")
    server = Gunicorn(
        directory,
        app="tests.apps.hardened_flask:app",
        workers=2,
        worker_class="gevent",
        env={
            "FLASK_STATIC": str(folder),
            "STATIC_ROOT": str(folder),
            "TRUSTED_PROXIES": "1",
            "RATE_LIMIT": f"{ALLOWED}/hour",
            "MAX_CONTENT_LENGTH": "10",
            "SESSION_SECRET": "a secret of the tests",
            "REDIS_URL": "",
        },
    )
    with server:
        server.wait_for_workers(seconds=60)
        yield Site(server, folder)


def test_files_come_whole_to_many_at_once(site: Site) -> None:
    """Each of many clients at once gets all of the file, and a range, and 304."""
    with ThreadPoolExecutor(20) as clients:
        answers = [*clients.map(lambda _: site.get("/static/app.css"), range(60))]
    assert {(each.status, each.text) for each in answers} == {(200, CSS)}
    assert site.get("/static/app.css", "Range: bytes=0-3").text == "body"
    assert site.get("/static/app.css", f"If-None-Match: {answers[0].headers['ETag']}").status == 304


@pytest.mark.parametrize(
    "path",
    [
        *(".env", "%2eenv", "/.env", "x/../.env", "link.txt", "/link.txt", "manifest.json"),
        *("manifest.json/", "app.css.gz", "../secret.txt", "%2e%2e/secret.txt"),
    ],
)
def test_flask_does_not_serve_what_is_refused(site: Site, path: str) -> None:
    """Flask has the very folder for its own static files, and is not asked for what is refused."""
    answer = site.get(f"/static/{path}")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert (answer.status, SECRET in answer.text) == (404, False)


def test_flask_serves_what_came_later(site: Site) -> None:
    """A file that was put there after the start is Flask's to serve."""
    (site.folder / "upload.txt").write_text("a picture")
    assert site.get("/static/upload.txt").text == "a picture"


def test_exactly_so_many_pass_over_the_workers(site: Site) -> None:
    """The rate limit counts greenlets of two workers exactly; sessions and the body limit hold too."""

    def asked(_: int) -> int:
        return site.get("/visits", "X-Forwarded-For: 192.0.2.1").status

    with ThreadPoolExecutor(20) as clients:
        statuses = sorted(clients.map(asked, range(ALLOWED + 20)))
    assert statuses == [200] * ALLOWED + [429] * 20


def test_sessions_and_the_body_limit_hold(site: Site) -> None:
    """A session goes on from one request to the next, over the workers; a long body is refused."""
    other, cookie = "X-Forwarded-For: 192.0.2.2", "Cookie: none=1"
    for visit in range(1, 6):
        answer = site.get("/visits", other, cookie)
        assert answer.text == str(visit)
        cookie = f"Cookie: {answer.headers['Set-Cookie'].partition(';')[0]}"
    for size, status in ((10, 200), (11, 413)):
        body = b"x" * size
        head = wire.request("/length", other, f"Content-Length: {size}")
        assert wire.ask(site.server.port, head, body).status == status


def test_every_answer_was_counted(site: Site) -> None:
    """What is refused is in the figures, by the prefix as its route, and nothing is in flight."""
    site.get("/static/.env")

    def counted() -> bool:
        text = site.server.get("/metrics").text
        refused = 'app_requests_total{method="GET",endpoint="/static/",status="404"}'
        return refused in text and "app_active_connections 0" in text

    assert until(counted, 30), site.server.get("/metrics").text
