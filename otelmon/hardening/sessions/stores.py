"""What keeps sessions, as the middleware and the frameworks' adapters ask it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol


if TYPE_CHECKING:
    from otelmon.hardening.sessions.values import Changes


MOST_SECONDS: Final = 10 * 365 * 86_400.0
"""What a lifetime is cut to: no clock or server has trouble with ten years"""
REFRESH: Final = 0.1
"""The part of its lifetime after which a cookie is given anew to whoever uses it"""


class Kept(NamedTuple):
    """A session that is kept."""

    id: str
    """Secret; empty where the cookie is the session"""
    texts: dict[str, str]
    """JSON by key"""
    data: dict[str, Any]
    stale: bool
    """The client's cookie is to be given anew: it is old, or signed by an old key"""


class Saved(NamedTuple):
    """A session as it is kept now, and the cookie for the client; None if that has the right one."""

    kept: Kept
    cookie: str | None


class Store(Protocol):
    """Keeps sessions. Its methods may raise what a server makes them raise."""

    lifetime: float
    """Seconds"""
    cookie_seconds: int
    """How long a client is to keep the cookie"""
    place: str | None
    """Where the sessions lie that are counted; None if nobody can count them"""
    revocable: bool
    """What is kept can be ended and changed without the client"""

    def load(self, cookie: str) -> Kept:
        """Return the session of a cookie.

        Raises:
            RejectedError: it has none.
        """

    def has(self, cookie: str) -> bool:
        """Tell whether a cookie has a session, and leave that as it is.

        Raises:
            RejectedError: it has none.
        """

    def save(
        self,
        kept: Kept | None,
        changes: Changes,
        *,
        renew: bool = False,
        lifetime: float | None = None,
    ) -> Saved:
        """Keep changes, of a new session if there is none; to *renew* is to change its id.

        Raises:
            EndedError: the session is no more.
            SessionTooLargeError: it is too large.
        """

    def end(self, kept: Kept) -> bool:
        """Forget a session; tell whether its cookie is worth nothing from now on."""

    def active(self) -> int | None:
        """Return how many sessions there are; None if nobody knows."""
