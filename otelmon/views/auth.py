"""Who may read: whoever sends the token, or everybody where there is none."""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import TYPE_CHECKING, Final

from otelmon.views.response import Response, refusal


if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


# Two headers, because some clients read only the first challenge of one.
_CHALLENGES: Final = (
    ("WWW-Authenticate", 'Bearer realm="otelmon"'),
    ("WWW-Authenticate", 'Basic realm="otelmon", charset="UTF-8"'),
)


def admits(environ: WSGIEnvironment, token: str | None) -> bool:
    """Tell whether a request may see everything."""
    if token is None:
        return True
    # As bytes: compare_digest takes no other text than ASCII. A comparison of digests would hide
    # the token's length too, but that is no secret.
    return hmac.compare_digest(_credential(environ), token.encode())


def _credential(environ: WSGIEnvironment) -> bytes:
    """Return what a request shows: a Bearer token or a Basic password; else nothing."""
    scheme, _, rest = str(environ.get("HTTP_AUTHORIZATION", "")).strip().partition(" ")
    given = rest.strip().encode("utf-8", "replace")
    if scheme.lower() == "bearer":
        return given
    if scheme.lower() != "basic":
        return b""
    try:
        _, _, password = base64.b64decode(given, validate=True).partition(b":")
    except binascii.Error:
        return b""
    return password


def challenge() -> Response:
    """Ask for the token."""
    return refusal(
        "401 Unauthorized",
        "Send the token as a Bearer token or as the password of Basic authentication.",
        *_CHALLENGES,
    )
