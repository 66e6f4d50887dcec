"""Sessions in the client's cookie: signed, readable by the client, and nobody's to take back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from otelmon.hardening.sessions.errors import RejectedError, SessionTooLargeError
from otelmon.hardening.sessions.stores import REFRESH, Kept, Saved
from otelmon.hardening.sessions.values import DEEPEST, text_of, value_of


if TYPE_CHECKING:
    from otelmon.hardening.sessions.signatures import Signatures
    from otelmon.hardening.sessions.values import Changes


MOST_BYTES: Final = 4096
"""Of name and value together: RFC 6265bis section 5.7, as browsers have it"""


class CookieStore:
    """Keeps each session in the cookie itself, until its lifetime after it was signed is over."""

    place: str | None = None
    revocable = False

    def __init__(self, signatures: Signatures, *, name: str, lifetime: float) -> None:
        """Sign them by *signatures*; *name* is the cookie's."""
        self.lifetime = lifetime
        self.cookie_seconds = max(1, round(lifetime))
        self._name = name
        self._signatures = signatures

    def load(self, cookie: str) -> Kept:
        """Read it."""
        from itsdangerous import BadData
        from itsdangerous.encoding import base64_decode

        signed = self._signatures.read(cookie)
        if signed.age > self.lifetime:
            raise RejectedError("expired")
        try:
            data = value_of(base64_decode(signed.text).decode(), deepest=DEEPEST + 1)
        except (BadData, ValueError):
            raise RejectedError("damaged") from None
        if not isinstance(data, dict):
            raise RejectedError("damaged")
        texts = {key: text_of(key, value) for key, value in data.items()}
        stale = not signed.current or signed.age > self.lifetime * REFRESH
        return Kept("", texts, data, stale)

    def has(self, cookie: str) -> bool:
        """Read it: it is the session."""
        self.load(cookie)
        return True

    def save(
        self,
        kept: Kept | None,
        changes: Changes,
        *,
        renew: bool = False,
        lifetime: float | None = None,
    ) -> Saved:
        """Sign all of it anew; there is no id to change, and one lifetime for all."""
        from itsdangerous.encoding import base64_encode

        del kept, renew, lifetime
        pairs = (f"{json.dumps(key)}:{text}" for key, text in changes.texts.items())
        cookie = self._signatures.sign(base64_encode(f"{{{','.join(pairs)}}}").decode())
        size = len(self._name) + 1 + len(cookie)
        if size > MOST_BYTES:
            raise SessionTooLargeError(
                f"A session of {size} bytes does not fit into its cookie, which may have {MOST_BYTES}: "
                f"keep less in it, or set REDIS_URL to keep sessions in Redis. Its keys are "
                f"{', '.join(sorted(changes.texts))[:200]}."
            )
        return Saved(Kept("", changes.texts, {}, stale=False), cookie)

    def end(self, kept: Kept) -> bool:
        """Say that a copy of the cookie goes on."""
        del kept
        return False

    def active(self) -> int | None:
        """Return None: nobody knows."""
        return None
