"""The session of one request: nothing is read before it is touched, nothing kept but changes."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, NamedTuple

from otelmon.hardening.sessions.errors import (
    EndedError,
    RejectedError,
    SessionTooLargeError,
)
from otelmon.hardening.sessions.values import Changes, changes, check_key, text_of


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from otelmon.hardening.sessions.cookies import Cookie
    from otelmon.hardening.sessions.measures import Measures
    from otelmon.hardening.sessions.stores import Kept, Saved, Store


class Part(NamedTuple):
    """What all sessions of a middleware share."""

    store: Store
    cookie: Cookie
    measures: Measures


class Session(MutableMapping[str, Any]):
    """A mapping of texts to what JSON can hold: `environ["otelmon.session"]`.

    It is read at the first touch, and kept when the headers of the answer are sent; changes inside
    of lists and dicts are noticed then. Two requests that change different keys both have their
    way; of one key the later one has (in a signed cookie the later one has all).
    """

    # Made at the first touch: most requests never do.
    _failed: bool
    _renew: bool
    _ended: bool
    _dead: bool
    _put: set[str]
    _given: str | None

    def __init__(self, part: Part, header: str) -> None:
        """Read nothing yet; *header* has the client's cookies.

        Not the environ, which holds this object: that would be a cycle.
        """
        self._part = part
        self._header = header
        self._data: dict[str, Any] | None = None
        self._kept: Kept | None = None

    # -- what the application uses ---------------------------------------------------------------

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401 - whatever JSON holds
        """Return a value."""
        return self._touched()[key]

    def __setitem__(self, key: str, value: object) -> None:
        """Put a value in.

        Raises:
            SessionValueError: JSON cannot hold it.
        """
        data = self._touched()
        text_of(check_key(key), value)
        data[key] = value
        self._put.add(key)

    def __delitem__(self, key: str) -> None:
        """Take a value out."""
        del self._touched()[key]

    def __iter__(self) -> Iterator[str]:
        """Go through the keys."""
        return iter(self._touched())

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._touched())

    def __repr__(self) -> str:
        """Tell neither the id nor what is in it, so that both stay out of logs."""
        if self._data is None:
            return "<Session, not read>"
        return f"<Session{' new' if self._kept is None else ''}, {len(self._data)} keys>"

    @property
    def new(self) -> bool:
        """Tell whether the client came without one."""
        self._touched()
        return self._kept is None and not self._failed

    @property
    def available(self) -> bool:
        """Tell whether it could be read; if not, it is empty and what is put in is not kept."""
        self._touched()
        return not self._failed

    def renew(self) -> None:
        """Give it another id, and have the old one end: whenever somebody logs in.

        Whoever had made the client take an id that he knows is then left with one of nothing. The
        ids change as the session is kept, together with what was put in.
        """
        self._touched()
        self._renew = self._kept is not None

    def destroy(self) -> bool:
        """End it at once: whenever somebody logs out.

        Return whether its cookie is worth nothing from now on. False: Redis has failed, or there is
        none, and a copy of the cookie is good until it is too old. What is put in afterwards is a
        new session.
        """
        self._touched().clear()
        kept, self._kept = self._kept, None
        self._put, self._renew, self._ended = set(), False, True
        if kept is None:
            return self._dead
        try:
            self._dead = self._part.store.end(kept)
        except Exception as error:  # noqa: BLE001 - whatever the server made the library raise
            self._fail(error)
            return False
        self._part.measures.changed("destroyed")
        return self._dead

    def clear(self) -> None:
        """End it, as `destroy` does."""
        self.destroy()

    # -- what the middleware uses ----------------------------------------------------------------

    @property
    def touched(self) -> bool:
        """Tell whether it was used."""
        return self._data is not None

    def settle(self) -> str | None:
        """Keep it; return the cookie that the client is to have, empty if none any more.

        Raises:
            SessionValueError: something in it has become what JSON cannot hold.
            SessionTooLargeError: it does not fit into its cookie.
        """
        cookie = self._keep()
        if cookie is None and self._ended and self._given is not None:
            return ""
        return cookie

    def settle_late(self) -> None:
        """Keep what was changed since the headers were sent, where no new cookie is needed."""
        if self._data is None or self._failed:
            return
        if self._renew:
            # The client cannot be told another id, and this one must not go on.
            self.destroy()
            self._part.measures.lost()
        elif self._kept is not None and self._part.store.revocable:
            self._keep(late=True)
        elif changes(self._data, self._kept.texts if self._kept else {}, self._put):
            self._part.measures.lost()

    def _keep(self, *, late: bool = False) -> str | None:
        """Write what has changed; return the cookie that the client has to have."""
        found = self._found(late=late)
        if found is None:
            return None
        saved = self._saved(found)
        return None if saved is None else self._remember(saved)

    def _saved(self, found: Changes) -> Saved | None:
        try:
            return self._part.store.save(self._kept, found, renew=self._renew)
        except SessionTooLargeError:
            raise
        except EndedError:
            self._part.measures.changed("lost")
            return self._saved_anew(found) if self._renew else None
        except Exception as error:  # noqa: BLE001 - whatever the server made the library raise
            self._fail(error)
        return None

    def _saved_anew(self, found: Changes) -> Saved | None:
        """Keep a log-in although another request has ended the session that it began with.

        A form that was sent twice does so. Only what this request has put in goes into the new one:
        what it knows of the old one must not come to life again.
        """
        own = {key: text for key, text in found.put.items() if key in self._put}
        data = self._touched()
        for key in data.keys() - own.keys():
            del data[key]
        self._kept, self._renew = None, False
        return self._saved(Changes(own, own, [])) if own else None

    def _found(self, *, late: bool) -> Changes | None:
        """Return what is to be kept; None if there is nothing to do."""
        kept, data = self._kept, self._touched()
        if self._failed or (kept is None and not data):
            return None
        found = changes(data, {} if kept is None else kept.texts, self._put)
        stale = kept is not None and kept.stale and not late
        return found if found or self._renew or stale else None

    def _remember(self, saved: Saved) -> str | None:
        if self._kept is None or self._renew:
            self._part.measures.changed("created" if self._kept is None else "renewed")
        self._kept = saved.kept
        self._put, self._renew, self._ended = set(), False, False
        return saved.cookie

    def _fail(self, error: Exception) -> None:
        self._failed, self._dead = True, False
        self._part.measures.failed(error)

    def _touched(self) -> dict[str, Any]:
        data = self._data
        return self._read() if data is None else data

    def _read(self) -> dict[str, Any]:
        """Read the session of the client's cookie; from now on it is touched."""
        part = self._part
        part.measures.begin(part.store)
        self._failed = self._renew = self._ended = False
        self._dead = True
        self._put = set()
        given = part.cookie.given(self._header)
        self._given = given[0] if given else None
        data: dict[str, Any] = {}
        self._data = data
        kept = self._load(given)
        if kept is not None:
            self._kept = kept
            self._data = data = kept.data
        return data

    def _load(self, given: Iterable[str]) -> Kept | None:
        """Return the session of the first of these cookies that has one."""
        reasons = []
        for cookie in given:
            try:
                return self._part.store.load(cookie)
            except RejectedError as rejected:
                reasons.append(rejected.reason)
            except Exception as error:  # noqa: BLE001 - whatever the server made the library raise
                self._fail(error)
                return None
        if reasons:
            self._part.measures.rejected(reasons[0])
        return None
