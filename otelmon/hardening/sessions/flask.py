"""Flask's own `session`, kept by `Sessions`.

    app.session_interface = SessionInterface()
    app.wsgi_app = Sessions(app.wsgi_app)

`flask.session`, `flash` and all that is built on them go on as they are; `session.renew()` and
`session.destroy()` are there beside. To import this imports Flask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flask.sessions

from otelmon.hardening.sessions.answer import told
from otelmon.hardening.sessions.middleware import KEY, Sessions
from otelmon.hardening.sessions.session import Session


if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask, Request, Response

    from otelmon.hardening.sessions.session import Part


class FlaskSession(flask.sessions.SessionMixin):
    """The request's session, with what Flask asks of one.

    `modified` need not be set: changes inside of lists and dicts are noticed. `permanent` is kept
    and changes nothing: every session lives for SESSION_LIFETIME.
    """

    def __init__(self, session: Session, *, part: Part | None = None) -> None:
        """Touch nothing yet; *part* is given where no middleware keeps it."""
        self.session = session
        self.part = part

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401 - whatever JSON holds
        """Return a value."""
        return self.session[key]

    def __setitem__(self, key: str, value: object) -> None:
        """Put a value in."""
        self.session[key] = value

    def __delitem__(self, key: str) -> None:
        """Take a value out."""
        del self.session[key]

    def __iter__(self) -> Iterator[str]:
        """Go through the keys."""
        return iter(self.session)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.session)

    def __repr__(self) -> str:
        """Tell nothing of what is in it."""
        return repr(self.session)

    @property
    def new(self) -> bool:  # type: ignore[override]
        """Tell whether the client came without one."""
        return self.session.new

    @property
    def available(self) -> bool:
        """Tell whether it could be read."""
        return self.session.available

    def clear(self) -> None:
        """End it, as `destroy` does."""
        self.session.destroy()

    def renew(self) -> None:
        """Give it another id: whenever somebody logs in."""
        self.session.renew()

    def destroy(self) -> bool:
        """End it at once; see `Session.destroy`."""
        return self.session.destroy()


class SessionInterface(flask.sessions.SessionInterface):
    """Hands Flask the session of the middleware, which also keeps it.

    What Flask's test client looks into by `session_transaction` is no request, and goes through no
    middleware: that one is opened and kept here.
    """

    def open_session(self, app: Flask, request: Request) -> FlaskSession | None:
        """Return it; without the middleware None, with which Flask has a session that refuses."""
        session = request.environ.get(KEY)
        middleware = app.wsgi_app
        if session is None and isinstance(middleware, Sessions):
            session = Session(middleware.part, request.environ.get("HTTP_COOKIE", ""))
            return FlaskSession(session, part=middleware.part)
        return None if session is None else FlaskSession(session)

    def save_session(
        self, app: Flask, session: flask.sessions.SessionMixin, response: Response
    ) -> None:
        """Do nothing with the middleware's: it keeps it when the headers are sent."""
        del app
        if isinstance(session, FlaskSession) and session.part and session.session.touched:
            for name, value in told(session.part, session.session, []):
                response.headers.add(name, value)
