"""What sessions raise: to the application where it is to blame, else only among themselves."""

from __future__ import annotations

from typing import Literal

from otelmon.errors import OtelmonError


Reason = Literal["signature", "expired", "unknown", "damaged"]


class SessionValueError(OtelmonError, TypeError):
    """What was put into a session is no JSON."""


class SessionTooLargeError(OtelmonError, ValueError):
    """A session is larger than the cookie that is to hold it."""


class RejectedError(Exception):
    """A cookie is that of no session, and why; never leaves this package."""

    def __init__(self, reason: Reason) -> None:
        """Say why."""
        super().__init__(reason)
        self.reason = reason


class EndedError(Exception):
    """A session that was read has been ended by another request since; never leaves this package."""
