"""`BodyLimit`: no request's body is longer than it may be, declared or not."""

from __future__ import annotations

import functools
import posixpath
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from otelmon.hardening.counted_input import CountedInput
from otelmon.hardening.held_answer import HeldAnswer
from otelmon.hardening.policies import plain
from otelmon.hardening.problem import problem, refuse
from otelmon.hardening.refusals import DECLARED, MALFORMED, refused
from otelmon.settings.arguments import is_encodable, problems_of
from otelmon.settings.arguments import refuse as refuse_arguments
from otelmon.settings.rules import OFF
from otelmon.settings.text import shown
from otelmon.stack import settings_for


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from otelmon.settings import Settings
    from otelmon.settings.rules import Off
    from otelmon.views.response import Response


_DIGITS: Final = re.compile("[0-9]+")
_MOST_DIGITS: Final = 18  # more bytes than anybody has; int() refuses thousands of digits


class BodyLimit:
    """Answers 413 to a body that is too long; if its length is declared, without calling *app*.

    *max_bytes* is the limit: MAX_CONTENT_LENGTH unless given, which is 16 MiB by default; `"off"`
    is no limit. *prefixes* gives parts of the application another one, in bytes or `"off"`, by the
    beginning of the path below SCRIPT_NAME. Whole segments are compared, so `/up` is not `/upload`,
    and of several prefixes that fit the longest decides.

    A request whose Content-Length is above the limit gets 413, one whose Content-Length is no
    length 400. If there is none, the bytes are counted while the application reads. The read that
    passes the limit raises `BodyTooLargeError`, and the client gets 413 whatever the application
    does then; if a part of another answer was sent already, the connection is cut. The body is
    never kept in memory.

    Raises:
        ConfigError: a limit or a prefix cannot be used; with all that are wrong.
    """

    def __init__(
        self,
        app: WSGIApplication,
        *,
        max_bytes: int | Off | None = None,
        prefixes: Mapping[str, int | Off] | None = None,
        settings: Settings | None = None,
    ) -> None:
        """Wrap *app*."""
        prefixes = {} if prefixes is None else prefixes
        refuse_arguments([*problems_of(app, settings), *_problems(max_bytes, prefixes)])
        if max_bytes is None:
            max_bytes = settings_for(settings).bodies().max_content_length
        self.app = app
        self._default = _number(max_bytes)
        # As servers hand over a path: its bytes, read as latin-1.
        given = {
            prefix.rstrip("/").encode().decode("latin-1"): _number(limit)
            for prefix, limit in prefixes.items()
        }
        longest = sorted(given, key=len, reverse=True)
        self._prefixes = [(prefix, f"{prefix}/", given[prefix]) for prefix in longest]

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Refuse the request, or have the application answer it."""
        limit = self._limit(environ.get("PATH_INFO", "")) if self._prefixes else self._default
        if limit is None:
            return self.app(environ, start_response)
        declared = environ.get("CONTENT_LENGTH")
        length = _length(declared) if declared else None
        if declared and (length is None or length > limit):
            refused(MALFORMED if length is None else DECLARED)
            refusal = _no_length() if length is None else _too_large(limit)
            return refuse(refusal, environ, start_response)
        ends = length is not None and "HTTP_TRANSFER_ENCODING" not in environ
        counted = CountedInput(environ["wsgi.input"], (length or 0) if ends else limit, ends=ends)
        environ["wsgi.input"] = counted
        if _has_no_body(environ):
            return self.app(environ, start_response)
        return self._held(environ, HeldAnswer(environ, start_response, counted, _too_large(limit)))

    def _held(self, environ: WSGIEnvironment, answer: HeldAnswer) -> Iterable[bytes]:
        """Have the application answer a request that may become too long while it is read."""
        try:
            body = self.app(environ, answer)
        except Exception:
            if not answer.is_refused:
                raise
            return answer.refused()
        return answer.respond(body)

    def _limit(self, path: str) -> int | None:
        """Return the limit of *path*, and where the application may see another path the lower."""
        limit = self._of_prefix(path)
        other = plain(path)
        if other != path:
            # Some applications answer /a//b and /a/../b as what these lead to.
            limits = (limit, self._of_prefix(other))
            limit = min((each for each in limits if each is not None), default=None)
        return limit

    def _of_prefix(self, path: str) -> int | None:
        """Return the limit of the longest prefix of *path*."""
        for prefix, below, limit in self._prefixes:
            if path == prefix or path.startswith(below):
                return limit
        return self._default


def _has_no_body(environ: WSGIEnvironment) -> bool:
    """Tell whether nothing will come, so that the answer need not be held back.

    It decides nothing else, so it may err where a server hides how a body is framed.
    """
    length: str = environ.get("CONTENT_LENGTH", "")
    return length == "0" or (
        not length
        and environ.get("REQUEST_METHOD") in ("GET", "HEAD")
        and "HTTP_TRANSFER_ENCODING" not in environ
        # HTTP/2 has bodies without either.
        and environ.get("SERVER_PROTOCOL", "").startswith("HTTP/1")
    )


def _length(declared: str) -> int | None:
    """Return a Content-Length as a number; None if it is none in RFC 9110's digits.

    A list of equal ones is refused too: two servers may take it for two bodies.
    """
    digits = declared.strip(" \t")
    if not _DIGITS.fullmatch(digits):
        return None
    digits = digits.lstrip("0") or "0"
    return int(digits[:_MOST_DIGITS]) if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS


def _number(limit: int | Off) -> int | None:
    return None if isinstance(limit, str) else limit


def _problems(max_bytes: object, prefixes: object) -> Iterator[str]:
    if max_bytes is not None and not _is_limit(max_bytes):
        yield _wrong("max_bytes", max_bytes)
    if not isinstance(prefixes, Mapping):
        yield f"prefixes is {shown(prefixes)}: give a mapping, as in {{'/upload': 1048576}}."
        return
    for prefix, limit in prefixes.items():
        if not _is_limit(limit):
            yield _wrong(f"The limit of {shown(prefix)}", limit)
    for prefix in prefixes:
        if not _begins_a_path(prefix):
            yield f"The prefix {shown(prefix)} begins no path: give one like '/upload'."


def _is_limit(value: object) -> bool:
    if isinstance(value, str):
        return value == OFF
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _wrong(name: str, limit: object) -> str:
    return f"{name} is {shown(limit)}: give a whole number of bytes from 0 up, or {OFF!r}."


def _begins_a_path(prefix: object) -> bool:
    if not isinstance(prefix, str) or not is_encodable(prefix):
        return False
    return prefix.startswith("/") and posixpath.normpath(prefix) == prefix.rstrip("/")


@functools.cache
def _too_large(limit: int) -> Response:
    detail = f"The body of this request may have {limit} bytes."
    return problem("413 Content Too Large", detail, max_bytes=limit)


def _no_length() -> Response:
    return problem("400 Bad Request", "Content-Length is not one number of bytes in digits.")
