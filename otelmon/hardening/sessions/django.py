"""Django's session engine on the same stores: SESSION_ENGINE = "otelmon.hardening.sessions.django".

Django's own middleware reads and sets the cookie, whose value (`session_key`) is the signed id, or
the signed session where there is no Redis. SESSION_SECRET, SESSION_LIFETIME and REDIS_URL hold; the
cookie's name and flags are Django's SESSION_COOKIE_*. To import this imports Django.
"""

from __future__ import annotations

import functools
import secrets
from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings
from django.contrib.sessions.backends.base import SessionBase, UpdateError

from otelmon.hardening.sessions.errors import EndedError, RejectedError, SessionTooLargeError
from otelmon.hardening.sessions.measures import Measures
from otelmon.hardening.sessions.middleware import store
from otelmon.hardening.sessions.values import Changes, changes
from otelmon.stack import settings_for


if TYPE_CHECKING:
    from otelmon.hardening.sessions.stores import Kept, Store


measures = Measures()


@functools.cache
def _store() -> Store:
    return store(settings_for(), cookie=django_settings.SESSION_COOKIE_NAME)


class SessionStore(SessionBase):  # type: ignore[misc]
    """One request's session, as Django asks for it."""

    _session_key: str | None

    def __init__(self, session_key: str | None = None) -> None:
        """Read nothing yet."""
        super().__init__(session_key)
        self._kept: Kept | None = None
        self.available = True
        measures.begin(_store())

    def get_session_cookie_age(self) -> int:
        """Return SESSION_LIFETIME, where Django has SESSION_COOKIE_AGE."""
        return round(_store().lifetime)

    def load(self) -> dict[str, Any]:
        """Read it. One that could not be read keeps its key, so that Django keeps its cookie."""
        try:
            self._kept = kept = _store().load(self.session_key)
        except RejectedError as rejected:
            measures.rejected(rejected.reason)
            self._session_key = None
            return {}
        except Exception as error:  # noqa: BLE001 - whatever the server made the library raise
            self._fail(error)
            return {}
        if kept.stale:
            # Kept again, and its cookie given anew, at the end of the request.
            self.modified = True
        return kept.data

    def exists(self, session_key: str) -> bool:
        """Tell whether it is one's; False too while nobody can be asked."""
        try:
            return _store().has(session_key)
        except RejectedError:
            return False
        except Exception as error:  # noqa: BLE001 - as above
            measures.failed(error)
            return False

    def create(self) -> None:
        """Keep what is in it as a new one; not in the place of one that could not be read."""
        if not self.available:
            return
        self.save(must_create=True)
        self.modified = True

    def save(self, must_create: bool = False) -> None:
        """Keep what has changed.

        Raises:
            UpdateError: another request has ended it; Django answers 400.
        """
        # Django lets any key in; JSON has texts alone, as which its own engines keep others too.
        data = {str(key): value for key, value in self._get_session(no_load=must_create).items()}
        if not self.available:
            return
        kept = None if must_create else self._kept
        self._kept = kept
        # Whatever the application may have done inside of it is looked at: `modified` told Django.
        self._write(changes(data, {} if kept is None else kept.texts, data))

    def _write(self, found: Changes, *, renew: bool = False) -> None:
        lifetime = self._seconds(found)
        try:
            saved = _store().save(self._kept, found, renew=renew, lifetime=lifetime)
        except EndedError:
            measures.changed("lost")
            raise UpdateError from None
        except SessionTooLargeError:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)
            if self.session_key is None:
                # Django gives the client a cookie in any case: one of nothing.
                self._session_key = secrets.token_urlsafe()
            return
        if self._kept is None or renew:
            measures.changed("created" if self._kept is None else "renewed")
        self._kept = saved.kept
        if saved.cookie is not None:
            self._session_key = saved.cookie

    def _seconds(self, found: Changes) -> float | None:
        """Return what the application has set by `set_expiry`; None for what holds for all."""
        if "_session_expiry" not in found.texts:
            return None
        return max(1.0, float(self.get_expiry_age()))

    def cycle_key(self) -> None:
        """Give it another id, under which alone what is put in from now on is kept."""
        data = self._session
        if not self.available:
            return
        if self._kept is None:
            self._session_cache: dict[str, Any] = data
            self.create()
            return
        try:
            self._write(Changes(self._kept.texts, {}, []), renew=True)
        except UpdateError:
            # Another request has ended it, as a form that was sent twice does: log in all the same,
            # and bring nothing to life again.
            self._session_cache = {}
            self.create()
        self.modified = True

    def delete(self, session_key: str | None = None) -> None:
        """End it, or the one of another key."""
        try:
            kept = self._kept if session_key is None else None
            key = session_key or self.session_key
            if kept is None and key is not None:
                kept = _store().load(key)
            if kept is not None:
                _store().end(kept)
                measures.changed("destroyed")
        except RejectedError:
            # There is nothing to end.
            pass
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)
        if session_key is None:
            self._kept = None

    @classmethod
    def clear_expired(cls) -> None:
        """Do nothing: Redis forgets by itself, and cookies are too old by themselves."""

    def _fail(self, error: Exception) -> None:
        self.available = False
        measures.failed(error)
