"""Refusals: `application/problem+json` (RFC 9457), the same shape from each part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otelmon.views.response import Response, as_json


if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def problem(
    status: str,
    detail: str,
    *headers: tuple[str, str],
    type_: str = "about:blank",
    title: str | None = None,
    **members: Any,  # noqa: ANN401 - whatever JSON can hold
) -> Response:
    """Return the answer of *status*, such as `429 Too Many Requests`, with one sentence of *detail*.

    The title is the status's own phrase unless given; *members* are extensions of the object.
    """
    code, _, phrase = status.partition(" ")
    body = {"type": type_, "title": title or phrase, "status": int(code), "detail": detail}
    answer = as_json({**body, **members}, status=status, extra=headers)
    return answer._replace(content_type="application/problem+json")


def refuse(
    response: Response, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    """Send it; without its body to HEAD."""
    start_response(response.status, response.headers)
    return [] if environ.get("REQUEST_METHOD") == "HEAD" else [response.body]
