"""Texts that only we can have given to a client, and when: signed by the first of several keys.

The digest is made anew and compared as a whole, so that one text has one signature: base64 could
write the same bytes in several ways.
"""

from __future__ import annotations

import hashlib
import time
from hmac import compare_digest
from typing import TYPE_CHECKING, Final, NamedTuple

from otelmon.hardening.sessions.errors import RejectedError


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


# More than any browser sends for one cookie; nothing is computed of what is longer.
_LONGEST: Final = 8192
# Clocks of machines differ; what was signed later than that was signed by nobody.
_AHEAD_SECONDS: Final = 60


class Signed(NamedTuple):
    """What was signed."""

    text: str
    age: float
    """Seconds since then"""
    current: bool
    """Signed by the key that signs now, not by an older one"""


class Signatures:
    """Signs texts for one purpose, and tells which were signed for it.

    HMAC-SHA-256 by itsdangerous, under a key derived from the secret and the purpose.
    """

    def __init__(
        self,
        secrets: Sequence[str],
        purpose: str,
        *,
        clock: Callable[[], float] = lambda: time.time_ns() / 1e9,
    ) -> None:
        """Sign by the first secret, believe all."""
        # Here, because only who has sessions is to pay for the import.
        from itsdangerous import Signer

        self._clock = clock
        salt, method = f"otelmon.session.{purpose}", hashlib.sha256
        keys = [
            Signer(secret, salt, key_derivation="hmac", digest_method=method).derive_key()
            for secret in secrets
        ]
        # Derived once: a signer does so for each signature.
        self._signers = [Signer(key, key_derivation="none", digest_method=method) for key in keys]

    def sign(self, text: str) -> str:
        """Return *text* with the time, in whole seconds, and the signature; it holds no dots."""
        stamped = f"{text}.{int(self._clock()):x}"
        return f"{stamped}.{self._signers[0].get_signature(stamped).decode()}"

    def read(self, given: str) -> Signed:
        """Return what was signed.

        Raises:
            RejectedError: it was not, by none of the keys.
        """
        if len(given) > _LONGEST or not given.isascii():
            raise RejectedError("signature")
        stamped, _, signature = given.rpartition(".")
        claimed = signature.encode()
        for number, signer in enumerate(self._signers):
            if compare_digest(signer.get_signature(stamped), claimed):
                return self._signed(stamped, current=number == 0)
        raise RejectedError("signature")

    def _signed(self, stamped: str, *, current: bool) -> Signed:
        text, _, stamp = stamped.rpartition(".")
        age = self._clock() - int(stamp, 16)
        if age < -_AHEAD_SECONDS:
            raise RejectedError("expired")
        return Signed(text, age, current)
