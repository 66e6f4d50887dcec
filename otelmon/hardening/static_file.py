"""One static file as it was seen, and its answers as long as it is still the same."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from wsgiref.headers import Headers

from werkzeug.datastructures import Accept, Range
from werkzeug.http import (
    parse_accept_header,
    parse_date,
    parse_etags,
    parse_range_header,
    unquote_etag,
)
from whitenoise.responders import NOT_MODIFIED_HEADERS, Response, SlicedFile, StaticFile

from otelmon.hardening.tree import identity


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from _typeshed.wsgi import WSGIEnvironment

    from otelmon.hardening.tree import Found, Tree

    Items = list[tuple[str, str]]


NOSNIFF: Final = ("X-Content-Type-Options", "nosniff")
_CONDITIONS: Final = frozenset(
    (
        *("HTTP_IF_MATCH", "HTTP_IF_UNMODIFIED_SINCE"),
        *("HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_RANGE"),
    )
)
_NOT_ALLOWED: Final = [("Allow", "GET, HEAD"), ("Content-Length", "0"), NOSNIFF]


class ChangedError(Exception):
    """The file is not the one that was seen: another took its place, or none."""


class SeenFile(StaticFile):  # type: ignore[misc]
    """A file and its compressed variants, by encoding; the file itself is under None.

    WhiteNoise makes the headers. Here it is opened so that no link is followed, compared with what
    was seen, and answered by werkzeug's reading of conditions and ranges: WhiteNoise 6.12 knows no
    If-Range and no list in If-None-Match, takes `gzip;q=0` for a wish and one byte for no range.
    """

    def __init__(
        self, tree: Tree, headers: Iterable[tuple[str, str]], found: Mapping[str | None, Found]
    ) -> None:
        """Make the headers of each variant from those of all."""
        self._tree = tree
        self._seen = {each.real: each.identity for each in found.values()}
        status = found[None].status
        # WhiteNoise's tag has seconds only: two contents of one length and second share it.
        tag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
        cache = {each.real: each.status for each in found.values()}
        encodings = {name: each.real for name, each in found.items() if name}
        super().__init__(found[None].real, [*headers, ("ETag", tag)], encodings, cache)

    def get_alternatives(
        self,
        base_headers: Any,  # noqa: ANN401 - WhiteNoise's, without types
        files: Any,  # noqa: ANN401 - as above
    ) -> list[tuple[str | None, str, Items]]:
        """Return encoding, path and headers of each variant, the smallest first."""
        found = []
        for _, path, items in super().get_alternatives(base_headers, files):
            headers = Headers(items)
            encoding = headers["Content-Encoding"]
            if encoding:
                # Other bytes, so another strong tag: a range of one is no part of the other.
                headers["ETag"] = f'{str(headers["ETag"])[:-1]}-{encoding}"'
            found.append((encoding, path, headers.items()))
        return found

    def get_response(self, method: str, environ: WSGIEnvironment) -> Response:
        """Return the answer, with the open file where it has a body.

        Raises:
            ChangedError: none of this holds any more.
        """
        if method not in ("GET", "HEAD"):
            return Response(405, _NOT_ALLOWED, None)
        path, headers = self.get_path_and_headers(environ)
        file = self._open(path)
        try:
            response = _answer(method, environ, headers, file)
        except BaseException:
            file.close()
            raise
        if response.file is None:
            file.close()
        return response

    def get_path_and_headers(self, environ: WSGIEnvironment) -> tuple[str, Items]:
        """Return the smallest variant that the client takes."""
        accepted = _accepted(environ.get("HTTP_ACCEPT_ENCODING", ""))
        for encoding, path, headers in self.alternatives:
            if encoding is None or encoding in accepted:
                return path, headers
        raise ChangedError

    def _open(self, path: str) -> BinaryIO:
        try:
            descriptor = self._tree.open(path)
        except OSError:
            raise ChangedError from None
        if identity(os.fstat(descriptor)) != self._seen[path]:
            os.close(descriptor)
            raise ChangedError
        return open(descriptor, "rb")  # noqa: PTH123 - of a descriptor


# Browsers send a handful of values; a client that sends others only costs their reading.
@functools.lru_cache(maxsize=64)
def _accepted(header: str) -> frozenset[str]:
    """Return which of our encodings a client takes."""
    accepted = parse_accept_header(header, Accept)
    return frozenset(encoding for encoding in ("gzip", "br") if accepted[encoding] > 0)


def _answer(method: str, environ: WSGIEnvironment, items: Items, file: BinaryIO) -> Response:
    if not environ.keys().isdisjoint(_CONDITIONS):
        return _conditional(method, environ, items, file)
    return Response(200, items, None if method == "HEAD" else file)


def _conditional(method: str, environ: WSGIEnvironment, items: Items, file: BinaryIO) -> Response:
    headers = Headers(items)
    tag = unquote_etag(headers["ETag"])[0] or ""
    modified = _date(headers["Last-Modified"])
    status = _unmet(environ, tag, modified)
    if status is not None:
        kept = [item for item in items if item[0] in NOT_MODIFIED_HEADERS]
        return Response(status, kept, None)
    if method == "HEAD":
        return Response(200, items, None)
    wanted = environ.get("HTTP_RANGE")
    if wanted and _still_meant(environ.get("HTTP_IF_RANGE"), tag, modified):
        return _part(wanted, items, file)
    return Response(200, items, file)


def _unmet(environ: WSGIEnvironment, tag: str, modified: datetime | None) -> int | None:
    """Return the status of the first condition that does not hold, in RFC 9110's order (13.2.2).

    werkzeug's `is_resource_modified` knows neither `If-Match: *` nor If-Unmodified-Since.
    """
    match, none_match = environ.get("HTTP_IF_MATCH"), environ.get("HTTP_IF_NONE_MATCH")
    if match:
        wanted = parse_etags(match)
        holds = wanted.star_tag or wanted.is_strong(tag)
    else:
        holds = not _is_later(modified, _date(environ.get("HTTP_IF_UNMODIFIED_SINCE")))
    if not holds:
        return 412
    if none_match:
        return 304 if parse_etags(none_match).contains_weak(tag) else None
    since = _date(environ.get("HTTP_IF_MODIFIED_SINCE"))
    if modified is None or since is None:
        return None
    return None if _is_later(modified, since) else 304


def _is_later(modified: datetime | None, date: datetime | None) -> bool:
    return modified is not None and date is not None and modified > date


def _date(header: str | None) -> datetime | None:
    """Return a date; None if it is none."""
    try:
        return parse_date(header)
    except OverflowError:
        # werkzeug lets through what datetime says of a year with twenty digits.
        return None


def _still_meant(condition: str | None, tag: str, modified: datetime | None) -> bool:
    """Tell whether a range is one of this very content."""
    if not condition:
        return True
    date = None if '"' in condition else _date(condition)
    if date is not None:
        return date == modified
    wanted, is_weak = unquote_etag(condition)
    return wanted == tag and not is_weak


def _part(wanted: str, items: Items, file: BinaryIO) -> Response:
    """Answer a range of bytes; several, and what is no range, are not looked at."""
    asked = parse_range_header(wanted)
    if asked is None or asked.units != "bytes" or len(asked.ranges) != 1:
        return Response(200, items, file)
    headers = Headers([*items])
    size = int(headers["Content-Length"] or 0)
    first, end = asked.ranges[0]
    # The last thousand bytes of a shorter file are all of it (RFC 9110, 14.1.2).
    span = Range("bytes", [(max(first, -size), end)]).range_for_length(size)
    if span is None:
        none = [("Content-Range", f"bytes */{size}"), ("Content-Length", "0"), NOSNIFF]
        return Response(416, none, None)
    start, stop = span
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    headers["Content-Length"] = str(stop - start)
    return Response(206, headers.items(), SlicedFile(file, start, stop - 1))
