"""The rules of BodyLimit, one by one, without a server."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any
from wsgiref.validate import validator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelmon import BodyLimit, ConfigError, faults
from otelmon.hardening import refusals
from otelmon.hardening.counted_input import BodyTooLargeError, CountedInput
from tests.wsgi_driver import environ, serve


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def reading(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with the size of the body."""
    size = len(environ["wsgi.input"].read())
    start_response("200 OK", [])
    return [str(size).encode()]


def answer(app: WSGIApplication, path: str = "/", body: bytes = b"", **environ: Any) -> int:  # noqa: ANN401
    """Return the status of the answer; its body is read, and closed."""
    said: list[str] = []

    def start_response(status: str, _: object, __: object = None, /) -> Any:  # noqa: ANN401
        said.append(status)

    request = {"REQUEST_METHOD": "POST", "PATH_INFO": path, "wsgi.input": io.BytesIO(body)}
    body_ = app({**request, "SERVER_PROTOCOL": "HTTP/1.1", **environ}, start_response)
    b"".join(body_)
    if hasattr(body_, "close"):
        body_.close()
    return int(said[-1][:3])


@pytest.mark.parametrize(
    "length",
    [
        "-1",
        "+5",
        "5.0",
        "1_000",
        "1, 1",
        "1,1",
        "five",
        "0x10",
        "\u0665",
        "\u00b2",
        "5 5",
        " ",
        "5\n",
    ],
)
def test_what_is_no_length_is_refused(length: str) -> None:
    """A Content-Length that is not one number in ASCII digits gets 400, before the application."""
    assert answer(BodyLimit(_never, max_bytes=100), CONTENT_LENGTH=length) == 400


@pytest.mark.parametrize("length", ["101", "00000000101", "9" * 18, "9" * 19, "9" * 5000])
def test_a_length_above_the_limit_is_refused(length: str) -> None:
    """A Content-Length above the limit gets 413, before the application, however long it is."""
    assert answer(BodyLimit(_never, max_bytes=100), CONTENT_LENGTH=length) == 413


@pytest.mark.parametrize("length", ["0", "100", "0100", "0" * 5000 + "100", " 100\t", ""])
def test_a_length_up_to_the_limit_passes(length: str) -> None:
    """A Content-Length up to the limit reaches the application; an empty one is none."""
    assert answer(BodyLimit(reading, max_bytes=100), CONTENT_LENGTH=length) == 200


def test_a_length_that_lies_is_counted() -> None:
    """A body ends where it was declared to end; beside another framing, at the limit."""
    sizes: list[int] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        stream = environ["wsgi.input"]
        sizes.append(sum(len(piece) for piece in (stream.read(), stream.read(5), *stream)))
        start_response("200 OK", [])
        return []

    limited = BodyLimit(app, max_bytes=100)
    assert answer(limited, body=b"x" * 101, CONTENT_LENGTH="5") == 200
    assert sizes == [5]
    both = {"CONTENT_LENGTH": "5", "HTTP_TRANSFER_ENCODING": "chunked"}
    assert answer(limited, body=b"x" * 100, **both) == 200
    assert answer(limited, body=b"x" * 101, **both) == 413
    assert answer(limited, body=b"x" * 101, SERVER_PROTOCOL="HTTP/2", REQUEST_METHOD="GET") == 413
    assert sizes == [5, 100]


def test_a_server_is_not_read_beyond_what_was_declared() -> None:
    """Where a read beyond the end would wait for a client for ever, there is none."""

    class Socket(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            assert 0 < size <= len(self.getvalue()) - self.tell()
            return super().read(size)

    limited = BodyLimit(reading, max_bytes=100)
    more: Any = {"wsgi.input": Socket(b"x" * 7)}
    assert answer(limited, CONTENT_LENGTH="7", **more) == 200


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("/", 10),
        ("", 10),
        ("/up", 10),
        ("/uploads", 10),
        ("/upload", 50),
        ("/upload/", 50),
        ("/upload/a", 50),
        ("/upload/big", 90),
        ("/upload/bigger", 50),
        ("/upload/big/a", 90),
        ("/login", 2),
        # What an application may take for a part with another limit gets the lower of the two.
        ("//login", 2),
        ("login", 2),
        ("/a/../login", 2),
        ("/upload/../login", 2),
        ("/upload/../a", 10),
        ("/./upload/big", 10),
        ("/upload//big", 50),
        ("/free", None),
        ("/free/../a", 10),
        # As a server hands over a path in UTF-8.
        ("/\xc3\xa4ndern", 3),
        ("//\xc3\xa4ndern", 3),
    ],
)
def test_the_longest_prefix_decides(path: str, limit: int | None) -> None:
    """The limit is that of the longest prefix of whole segments; of two readings the lower holds."""
    prefixes = {"/upload/big": 90, "/upload/": 50, "/login": 2, "/free": "off", "/ändern": 3}
    limited = BodyLimit(reading, max_bytes=10, prefixes=prefixes)  # type: ignore[arg-type]

    most = 1000 if limit is None else limit
    assert answer(limited, path, b"x" * most, SCRIPT_NAME="/upload") == 200
    over = answer(limited, path, b"x" * (most + 1), SCRIPT_NAME="/upload")
    assert over == (200 if limit is None else 413)


def test_off_passes_everything_through() -> None:
    """Without a limit the application gets the server's own input, and any Content-Length."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        assert isinstance(environ["wsgi.input"], io.BytesIO)
        return reading(environ, start_response)

    assert answer(BodyLimit(app, max_bytes="off"), CONTENT_LENGTH="-1") == 200


def test_the_setting_is_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """MAX_CONTENT_LENGTH is the limit unless one is given, 16 MiB if that is unset too."""
    mib16 = str(16 * 1024 * 1024)
    monkeypatch.delenv("MAX_CONTENT_LENGTH", raising=False)
    assert answer(BodyLimit(reading), CONTENT_LENGTH=mib16) == 200
    assert answer(BodyLimit(_never), CONTENT_LENGTH=mib16[:-1] + "7") == 413
    monkeypatch.setenv("MAX_CONTENT_LENGTH", "10")
    assert answer(BodyLimit(_never), CONTENT_LENGTH="11") == 413
    monkeypatch.setenv("MAX_CONTENT_LENGTH", "16M")
    with pytest.raises(ConfigError, match="MAX_CONTENT_LENGTH"):
        BodyLimit(reading)


def test_all_limits_that_cannot_be_used_are_named() -> None:
    """A ConfigError names each limit and each prefix that is wrong."""
    wrong: Any = {"/a": -1, "b": 5, "/c": True, "/d/../e": 5, "": 5, "/": 5, "/g": "none"}
    with pytest.raises(ConfigError) as raised:
        BodyLimit(reading, max_bytes=1.5, prefixes=wrong)  # type: ignore[arg-type]
    said = "\n".join(raised.value.problems)
    for part in ("1.5", "'/a'", "'b'", "'/c'", "'/d/../e'", "''", "'/'", "'/g'"):
        assert part in said
    assert len(raised.value.problems) == 8


def test_other_errors_stay_the_applications() -> None:
    """What an application raises by itself is raised as it is, at once and in the body."""

    def failing(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        raise KeyError(environ["PATH_INFO"])

    def midway(_: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"begun"
        raise KeyError("midway")

    for app in (failing, midway):
        with pytest.raises(KeyError):
            answer(BodyLimit(app, max_bytes=10), CONTENT_LENGTH="5")


def test_the_body_of_an_answer_stays_what_the_server_knows() -> None:
    """Lists, files of the server and answers to requests without a body are not wrapped."""

    class File:
        def __init__(self, *_: object) -> None:
            """Be a server's file."""

    def made() -> Iterator[bytes]:
        yield b""

    def start_response(*_: object) -> Any:  # noqa: ANN401 - nobody writes
        """Take the answer."""

    bodies: list[Any] = [[b""], (b"",), File()]
    for body in bodies:
        limited = BodyLimit(lambda *_, body=body: body, max_bytes=10)
        request = {"wsgi.input": io.BytesIO(), "CONTENT_LENGTH": "5", "wsgi.file_wrapper": File}
        assert limited(request, start_response) is body
    body = made()
    request = {
        "wsgi.input": io.BytesIO(),
        "REQUEST_METHOD": "GET",
        "SERVER_PROTOCOL": "HTTP/1.1",
    }
    assert BodyLimit(lambda *_: body, max_bytes=10)(request, _never) is body


def test_the_body_that_is_replaced_is_closed() -> None:
    """The application's own body is closed, with the answer that takes its place or its error."""
    closed = []
    error: list[Exception] = []

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            if error:
                raise error[0]
            return iter([b"fine"])

        def close(self) -> None:
            closed.append(True)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not error:
            with pytest.raises(BodyTooLargeError):
                environ["wsgi.input"].read()
        start_response("200 OK", [])
        return Body()

    assert answer(BodyLimit(app, max_bytes=10), body=b"x" * 11) == 413
    assert closed == [True]
    error.append(KeyError())
    with pytest.raises(KeyError):
        answer(BodyLimit(app, max_bytes=10), body=b"x" * 11)
    assert closed == [True, True]


def test_the_status_is_there_when_the_application_returns() -> None:
    """A server that asks for status and headers before it iterates gets them."""
    said = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("201 Created", [])
        return iter([b"a", b"b"])

    request = {**environ("POST"), "wsgi.input": io.BytesIO(b"x")}
    body = BodyLimit(app, max_bytes=10)(request, lambda *args: said.append(args[0]))  # type: ignore[arg-type]
    assert said == ["201 Created"]
    assert [*body] == [b"a", b"b"]


def test_what_is_written_is_held_back_no_longer() -> None:
    """`write` sends headers and bytes at once; a refusal after it breaks the answer off."""
    sent: list[Any] = []

    def start_response(status: str, _: object, __: object = None, /) -> Any:  # noqa: ANN401
        sent.append(status)
        return sent.append

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])(b"written")
        environ["wsgi.input"].read()
        return []

    request = {"REQUEST_METHOD": "POST", "PATH_INFO": "/", "wsgi.input": io.BytesIO(b"x" * 11)}
    with pytest.raises(BodyTooLargeError):
        BodyLimit(app, max_bytes=10)(request, start_response)
    assert sent == ["200 OK", b"written"]


def test_a_server_is_told_of_an_error_behind_its_first_byte() -> None:
    """Once an answer has begun, `start_response` with an error reaches the server."""

    def app(_: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"begun"
        try:
            int("nothing")
        except ValueError:
            start_response("502 Bad Gateway", [], sys.exc_info())

    seen = serve(BodyLimit(app, max_bytes=10), environ("POST"))
    assert "ValueError" in repr(seen.events)
    assert seen.status == "200 OK"


def test_a_refusal_that_cannot_be_counted_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the counter fails, the client has its answer, and the fault is known."""
    monkeypatch.setattr(refusals, "on_own_meter", _never)
    before = faults.seen().get("body_limit")
    assert answer(BodyLimit(_never, max_bytes=10), CONTENT_LENGTH="11") == 413
    after = faults.seen()["body_limit"]
    assert after.times == (before.times if before else 0) + 1


def test_an_answer_is_begun_as_the_protocol_says() -> None:
    """A second `start_response` needs an error; with one the later answer holds; none is an error."""

    def twice(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        start_response("201 Created", [])
        return [b""]

    def replaced(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        try:
            int("nothing")
        except ValueError:
            start_response("502 Bad Gateway", [], sys.exc_info())
        return [b""]

    with pytest.raises(AssertionError):
        answer(BodyLimit(twice, max_bytes=10), body=b"x")
    assert answer(BodyLimit(replaced, max_bytes=10), body=b"x") == 502
    with pytest.raises(IndexError):
        answer(BodyLimit(lambda *_: iter([b"x"]), max_bytes=10), body=b"x")


def test_it_keeps_to_the_protocol() -> None:
    """wsgiref's validator finds nothing on either side, whether the body passes or not."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["wsgi.input"].read(50)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return iter([b"well"])

    for size, status in ((10, "200 OK"), (11, "413 Content Too Large")):
        limited = validator(BodyLimit(validator(app), max_bytes=10))
        stream = io.BytesIO(b"x" * size)
        seen = serve(limited, {**environ("POST"), "wsgi.input": stream})
        assert seen.status == status


WAYS = st.one_of(
    st.tuples(st.just("read"), st.one_of(st.none(), st.integers(-1, 60))),
    st.tuples(st.just("readline"), st.one_of(st.none(), st.integers(-1, 60))),
    st.tuples(st.just("readlines"), st.one_of(st.none(), st.integers(-1, 60))),
    st.tuples(st.just("next"), st.none()),
)
BODIES = st.lists(st.sampled_from([b"a", b"bc", b"\n", b"line\n"]), max_size=40).map(b"".join)


@given(body=BODIES, limit=st.integers(0, 80), ways=st.lists(WAYS, max_size=12))
def test_what_is_read_is_what_was_sent_up_to_the_limit(
    body: bytes, limit: int, ways: list[tuple[str, Any]]
) -> None:
    """In whatever way it is read: what a file gives, and an error where that exceeds the limit."""
    sent, file = io.BytesIO(body), io.BytesIO(body)
    counted = CountedInput(sent, limit)
    for name, argument in ways:
        wanted = _read(file, name, argument)
        if file.tell() > limit:
            for _ in range(2):
                with pytest.raises(BodyTooLargeError):
                    _read(counted, name, argument)
            assert sent.tell() == limit + 1
            return
        assert _read(counted, name, argument) == wanted
    assert counted.error is None


def _read(stream: Any, name: str, argument: int | None) -> bytes:  # noqa: ANN401
    if name == "next":
        return next(iter(stream), b"")
    found = getattr(stream, name)(argument)
    return b"".join(found) if isinstance(found, list) else found


def test_a_server_that_hands_out_little_at_a_time_is_read_to_the_end() -> None:
    """`read()` returns all of a body that the server hands out in small pieces."""

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(3 if size is None or size < 0 else min(size, 3))

    assert CountedInput(Slow(b"x" * 10), 10).read() == b"x" * 10
    with pytest.raises(BodyTooLargeError):
        CountedInput(Slow(b"x" * 11), 10).read()


def _never(*_: object) -> Any:  # noqa: ANN401
    raise AssertionError("the application was called")
