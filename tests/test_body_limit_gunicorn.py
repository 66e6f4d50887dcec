"""BodyLimit before five kinds of applications, under gunicorn with each kind of worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import wire
from tests.gunicorn_server import Answer, Gunicorn
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


LIMIT, UPLOAD = 1000, 5000
LINES = b"0123456\n" * 1000
CHUNKED = "Transfer-Encoding: chunked"
WAYS = (
    *("negative", "huge", "steps", "lines", "short-lines", "readlines", "hinted"),
    *("iterated", "stubborn"),
)


class Site(NamedTuple):
    """The applications, served, and what they were given."""

    server: Gunicorn
    seen_path: Path

    @property
    def port(self) -> int:
        """Return where it listens."""
        return self.server.port

    @property
    def seen(self) -> list[int]:
        """Return how many bytes each request has handed to an application."""
        return [*map(int, self.seen_path.read_text().split())]


@pytest.fixture(name="site", scope="module", params=["sync", "gthread", "gevent"])
def _site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("limited")
    seen = directory / "seen"
    seen.touch()
    server = Gunicorn(
        directory,
        app="tests.apps.limited:app",
        workers=1,
        worker_class=request.param,
        args=("--threads", "2") if request.param == "gthread" else (),
        env={"SEEN": str(seen)},
    )
    with server:
        # gunicorn listens before it has a worker.
        assert server.get("/plain/nothing").status == 200
        yield Site(server, seen)


@pytest.mark.parametrize("framework", ["flask", "django", "bottle", "falcon", "plain"])
def test_a_declared_length_is_judged_before_the_application(site: Site, framework: str) -> None:
    """Exactly the limit passes, a byte more and 30 MB get 413, and the application sees neither."""
    before = len(site.seen)
    for path, limit in ((f"/{framework}/", LIMIT), (f"/{framework}/upload", UPLOAD)):
        exact = _declared(site, path, limit)
        assert (exact.status, exact.body) == (200, str(limit).encode())
        for size in (limit + 1, 30_000_000):
            refused = _declared(site, path, size)
            assert refused.status == 413
            assert refused.headers["Content-Type"] == "application/problem+json"
            assert refused.json()["max_bytes"] == limit
    assert site.seen[before:] == [LIMIT, UPLOAD]


def _declared(site: Site, path: str, size: int) -> Answer:
    return wire.ask(site.port, wire.request(path, f"Content-Length: {size}"), b"x" * size)


@pytest.mark.parametrize("path", ["/flask/", "/falcon/", *(f"/plain/{way}" for way in WAYS)])
def test_a_chunked_body_is_counted(site: Site, path: str) -> None:
    """In whatever way it is read: exactly the limit passes, more gets 413 instead of an answer."""
    for size in (LIMIT, LIMIT + 1, len(LINES)):
        pieces = [LINES[at : min(at + 77, size)] for at in range(0, size, 77)]
        raw = wire.exchange(site.port, wire.request(path, CHUNKED), wire.chunked(pieces))
        assert raw.lower().count(b"content-length:") + raw.count(CHUNKED.encode()) == 1
        answer = wire.answer(raw)
        said = (413, "Content Too Large") if size > LIMIT else (200, str(LIMIT))
        got = answer.json()["title"] if answer.status == 413 else answer.text
        assert (answer.status, got) == said
    assert max(site.seen) <= UPLOAD


def test_frameworks_that_read_no_chunked_body_get_none(site: Site) -> None:
    """Django and Falcon's bounded stream read nothing without a Content-Length, and Bottle wants
    the framing itself."""
    body = wire.chunked([b"x" * (LIMIT + 1)])
    for path in ("/django/", "/falcon/bounded"):
        nothing = wire.ask(site.port, wire.request(path, CHUNKED), body)
        assert (nothing.status, nothing.text) == (200, "0")
    exact = wire.ask(site.port, wire.request("/bottle/", CHUNKED), wire.chunked([b"x" * LIMIT]))
    assert exact.status == 400
    assert wire.ask(site.port, wire.request("/bottle/", CHUNKED), body).status == 413


def test_who_asks_whether_to_go_on_is_told_so_by_gunicorn_first(site: Site) -> None:
    """`Expect: 100-continue` has its 100 before the application is called, and then the 413."""
    head = wire.request("/plain/", f"Content-Length: {LIMIT + 1}", "Expect: 100-continue")
    said = wire.exchange(site.port, head, b"x" * (LIMIT + 1))
    assert said.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 413 ")


def test_an_answer_that_has_not_begun_is_replaced(site: Site) -> None:
    """413 takes the place of an answer whose headers were given, also of one that ended well."""
    body = wire.chunked([b"x" * (LIMIT + 1)])
    for path in ("/lazy/", "/caught/"):
        answer = wire.ask(site.port, wire.request(path, CHUNKED), body)
        assert answer.status == 413
        assert "Set-Cookie" not in answer.headers
    within = wire.chunked([b"x" * LIMIT])
    assert wire.ask(site.port, wire.request("/lazy/late", CHUNKED), within).text == "begun 1000"


def test_an_answer_that_has_begun_breaks_off(site: Site) -> None:
    """Where bytes of another answer were sent, it does not look complete."""
    body = wire.chunked([b"x" * (LIMIT + 1)])
    said = wire.exchange(site.port, wire.request("/lazy/late", CHUNKED), body)
    assert b"begun" in said
    assert not said.endswith(b"0\r\n\r\n")


def test_a_connection_goes_on_only_where_its_framing_is_known(site: Site) -> None:
    """After a refusal the next request on the connection is answered as such, or not at all."""
    first = wire.request("/plain/", "Content-Length: 1001").replace(b"Connection: close\r\n", b"")
    second = wire.request("/plain/", "Content-Length: 3")
    said = wire.exchange(site.port, first + b"x" * 1001 + second + b"abc")
    answers = said.split(b"HTTP/1.1 ")[1:]
    assert answers[0].startswith(b"413")
    assert len(answers) == 1 or (answers[1].startswith(b"200") and b"\r\n3\r\n" in answers[1])


class Framing(NamedTuple):
    """One way to send a body."""

    size: int
    pieces: tuple[bytes, ...]
    whole: bool
    """Whether it is sent to its end"""
    fit: bool
    """Whether a server may take it at all"""


@st.composite
def framings(draw: st.DrawFn) -> Framing:
    """Return a request to the reading application, framed in some way or other."""
    size = draw(
        st.one_of(st.integers(0, 30), st.integers(LIMIT - 3, LIMIT + 3), st.just(3 * LIMIT))
    )
    path = draw(st.sampled_from(["/plain/", "/plain/steps", "/plain/lines", "/flask/", "/falcon/"]))
    kind = draw(st.sampled_from(["length", "chunked", "both"]))
    headers = draw(st.lists(st.sampled_from(["Expect: 100-continue", "X-A: b"]), max_size=1))
    lie = draw(st.sampled_from([0, 0, 0, -1, 1]))
    if kind != "chunked":
        headers.append(f"Content-Length: {max(size + lie, 0)}")
    if kind != "length":
        headers.append(CHUNKED)
    body = LINES[:size] if kind == "length" else _chunks(draw, size)
    cut = draw(st.sampled_from([0, 0, 0, 1, 5]))
    body = body[: len(body) - cut]
    at = draw(st.integers(0, len(body)))
    whole = cut == 0 and (kind != "length" or lie <= 0)
    if kind == "length":
        size = max(size + lie, 0)
    pieces = (wire.request(path, *headers), body[:at], body[at:])
    return Framing(size, pieces, whole, kind != "both")


def _chunks(draw: st.DrawFn, size: int) -> bytes:
    sizes = draw(st.lists(st.integers(1, 400), max_size=6))
    extension = draw(st.sampled_from([b"", b";a", b";a=b", b' ; a="b c"']))
    trailers = draw(st.sampled_from([b"", b"X-Trailer: a\r\n"]))
    body, at = b"", 0
    for wanted in [*sizes, size]:
        piece = LINES[at : min(at + wanted, size)]
        body += wire.chunk(piece, extension) if piece else b""
        at += len(piece)
    return body + b"0\r\n" + trailers + b"\r\n"


@settings(max_examples=60)
@given(framing=framings())
def test_no_framing_gets_more_than_the_limit_through(site: Site, framing: Framing) -> None:
    """Lengths, chunks, extensions, trailers, both at once, cut short: the limit holds, exactly."""
    before = len(site.seen)
    said = wire.final(wire.exchange(site.port, *framing.pieces, half_close=True))
    if framing.fit and framing.whole:
        assert wire.answer(said).status == (200 if framing.size <= LIMIT else 413)
    elif said:
        # Refused by the server, or answered with what had come so far.
        assert wire.answer(said).status in {200, 400, 413, 500}
    assert wire.ask(site.port, wire.request("/plain/", "Content-Length: 1"), b"x").status == 200
    assert max(site.seen[before:]) <= LIMIT


def test_refusals_are_counted_by_their_reason(site: Site) -> None:
    """Each refusal is one more of its reason, and a request with that status of its own."""

    def counted(reason: str) -> float:
        name = f'otelmon_body_limit_refusals_total{{otelmon_body_limit_reason="{reason}"}}'
        lines = site.server.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    before = counted("declared"), counted("received")
    assert _declared(site, "/plain/", LIMIT + 1).status == 413
    body = wire.chunked([b"x" * (LIMIT + 1)])
    assert wire.ask(site.port, wire.request("/plain/", CHUNKED), body).status == 413
    wanted = before[0] + 1, before[1] + 1
    assert until(lambda: (counted("declared"), counted("received")) == wanted)
    assert 'status="413"' in site.server.get("/metrics").text
