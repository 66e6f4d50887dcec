"""`Sessions`: gives each request its session, and each answer the cookie of it."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any, Final

from otelmon.caches.clients import redis_client
from otelmon.errors import ConfigError
from otelmon.hardening.sessions.answer import Answer, Body
from otelmon.hardening.sessions.cookie_store import CookieStore
from otelmon.hardening.sessions.cookies import Cookie
from otelmon.hardening.sessions.measures import Measures
from otelmon.hardening.sessions.redis_store import RedisStore
from otelmon.hardening.sessions.session import Part, Session
from otelmon.hardening.sessions.signatures import Signatures
from otelmon.hardening.sessions.stores import MOST_SECONDS
from otelmon.settings.arguments import (
    is_encodable,
    is_number,
    problems_of,
    refuse,
    wrong_server,
)
from otelmon.settings.text import shown
from otelmon.stack import settings_for


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import redis
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from otelmon.hardening.sessions.stores import Store
    from otelmon.settings import Settings


KEY: Final = "otelmon.session"
"""Where the application finds its session in the environ"""
PREFIX: Final = "otelmon:session:"
"""What keys in Redis begin with"""
LEAST_BYTES: Final = 16
"""Of a secret: NIST SP 800-107r1 section 5.3.2 has no HMAC key below 112 bits"""


class Sessions:
    """Gives each request a `Session` in `environ["otelmon.session"]`.

    With Redis at *url* (REDIS_URL unless given) the session is JSON there, and the client has its
    id in a signed cookie; without Redis the signed cookie holds the session itself. It ends
    *lifetime* seconds (SESSION_LIFETIME, 86400) after its last use. *secrets* (SESSION_SECRET) sign
    the cookie: the first one signs, any of them is accepted, and each has at least 16 bytes. A
    session that the application does not touch costs nothing: it is not read and no header is sent.

    *cookie* is the cookie's name, `__Host-session` unless given. With *secure* False, for plain
    http while developing, it is `session`. Where Redis fails the session is empty, its `available`
    is False, and the application goes on. See docs/sessions.md.

    Raises:
        ConfigError: there is no secret, or something cannot be used.
    """

    def __init__(  # noqa: PLR0913 - each is optional and named
        self,
        app: WSGIApplication,
        *,
        secrets: Sequence[str] | None = None,
        lifetime: float | None = None,
        url: str | None = None,
        client: redis.Redis | None = None,
        prefix: str = PREFIX,
        cookie: str | None = None,
        secure: bool = True,
        settings: Settings | None = None,
    ) -> None:
        """Connect to nothing yet; *client* goes before *url*, and should have short deadlines."""
        refuse(problems_of(app, settings, secure=secure))
        self.app = app
        named = Cookie(cookie, secure=secure)
        self.store = store(
            settings_for(settings),
            secrets=secrets,
            lifetime=lifetime,
            client=client,
            url=url,
            prefix=prefix,
            cookie=named.name,
        )
        self.part = Part(self.store, named, Measures())

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve a request; inside of another one of its kind do nothing."""
        if KEY in environ:
            return self.app(environ, start_response)
        session = environ[KEY] = Session(self.part, environ.get("HTTP_COOKIE", ""))
        answer = Answer(self.part, session, start_response)
        body = self.app(environ, answer.start_response)
        kind = type(body)
        if kind is list or kind is tuple:
            # No code of the application runs any more before the headers are sent.
            answer.begin()
            return body
        if kind is environ.get("wsgi.file_wrapper"):
            return self._file(body, answer)
        return Body(body, answer)

    @staticmethod
    def _file(body: Any, answer: Answer) -> Iterable[bytes]:  # noqa: ANN401 - the server's own
        """Leave a file as it is, so that the server can still send it by sendfile."""
        try:
            answer.begin()
        except BaseException:
            body.close()
            raise
        return body  # type: ignore[no-any-return]


def store(  # noqa: PLR0913 - as above
    settings: Settings,
    *,
    secrets: Sequence[str] | None = None,
    lifetime: float | None = None,
    client: redis.Redis | None = None,
    url: str | None = None,
    prefix: str = PREFIX,
    cookie: str = "",
    clock: Callable[..., float] | None = None,
) -> Store:
    """Return what keeps sessions by these settings.

    Raises:
        ConfigError: as `Sessions` does.
    """
    if importlib.util.find_spec("itsdangerous") is None:
        raise ConfigError(
            "Sessions need itsdangerous, which is not installed: pip install 'otelmon[hardening]'."
        )
    # Only what is not given is read: these variables may be the application's, and mean something else.
    keys = settings.sessions().secrets if secrets is None else secrets
    seconds = settings.sessions().lifetime if lifetime is None else lifetime
    refuse([*_wrong_secrets(keys), *_wrong_place(seconds, url, client, prefix)])
    keys, seconds = tuple(keys), min(seconds, MOST_SECONDS)
    timed: dict[str, Any] = {} if clock is None else {"clock": clock}
    address = None if client is not None else url or settings.redis().url
    if address is not None:
        # No word but the questions themselves, so that there is one time-out at the most.
        client = redis_client(address, protocol=2)
    if client is None:
        return CookieStore(Signatures(keys, "data", **timed), name=cookie, lifetime=seconds)
    return RedisStore(client, Signatures(keys, "id", **timed), prefix=prefix, lifetime=seconds)


def _wrong_secrets(keys: object) -> Iterable[str]:
    # No word of what they are.
    if not isinstance(keys, list | tuple) or not all(isinstance(key, str) for key in keys):
        yield "secrets must be a list of texts, as in secrets=[new, old]."
    elif not keys:
        yield (
            "Sessions have no secret to sign with: set SESSION_SECRET to a random text, as "
            "python -c 'import secrets; print(secrets.token_hex(32))' makes it."
        )
    elif not all(map(is_encodable, keys)):
        yield "A secret of sessions (SESSION_SECRET) is no text that UTF-8 can hold: give another."
    elif any(len(key.encode()) < LEAST_BYTES for key in keys):
        yield (
            f"A secret of sessions (SESSION_SECRET) is shorter than {LEAST_BYTES} bytes: give a random "
            "text, as python -c 'import secrets; print(secrets.token_hex(32))' makes it."
        )


def _wrong_place(seconds: object, url: object, client: object, prefix: object) -> Iterable[str]:
    if not is_number(seconds) or not seconds >= 1:  # type: ignore[operator]
        yield f"lifetime is {shown(seconds)}: give seconds from 1 up."
    yield from wrong_server(url, client)
    if not isinstance(prefix, str) or not is_encodable(prefix):
        yield f"prefix is {shown(prefix)}: give text that keys in Redis are to begin with."
