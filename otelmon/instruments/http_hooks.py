"""Where requests are seen: the one method of each client library that makes one request.

- urllib3, and with it `requests` and all else that stands on it: `HTTPConnectionPool._make_request`,
  which is called for each attempt and each hop. `urlopen` above it calls itself for them, so the
  first of a row would be booked with the time of all. A tunnel through a proxy is made before it,
  in `_prepare_proxy`; there failures are booked, as the CONNECT that they are.
- httpx: `ConnectionPool.handle_request` of httpcore below it, and its asynchronous twin.

They are methods of classes, so that sessions and clients that are there already are seen as well.
OpenTelemetry's instrumentations hook other methods, above these: neither is in the other's way.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import logging
from functools import partial
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final, NamedTuple, ParamSpec, Protocol, TypeVar

from otelmon import faults


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger("otelmon")


FAILED: Final = object()
"""In place of a response, for a method that raised"""


class Seen(NamedTuple):
    """What was asked, of whom, and what came back."""

    method: str
    scheme: str
    host: str
    port: int | None
    status: int | None = None
    version: str | None = None


class Book(Protocol):
    """Where a request goes that has ended. It raises nothing."""

    def __call__(
        self, took: int, describe: Callable[[], Seen | None], error: BaseException | None
    ) -> None:
        """Take a request of *took* ns; what *describe* gives as None was none."""


class Hook:
    """A method of a class, with ours around it while there is something to book to."""

    def __init__(self, module: str, name: str, method: str, describe: Callable[..., Any]) -> None:
        """Name the method; nothing is imported or replaced yet.

        *describe* takes its response, FAILED when it raised, and then its arguments. Only those
        without a name: that is how the libraries hand over what is to be known.
        """
        self.book: Book | None = None
        self.describe = describe
        self._place = (module, name, method)
        self._owner: Any = None
        self._original: Any = None
        self._ours: Any = None

    def install(self, book: Book) -> bool:
        """Book to *book* from now on; tell if the library is there."""
        module, name, method = self._place
        if importlib.util.find_spec(module.partition(".")[0]) is None:
            return False
        if self._owner is None:
            owner = getattr(importlib.import_module(module), name)
            self._original = vars(owner)[method]
            self._ours = self._around(self._original)
            setattr(owner, method, self._ours)
            self._owner = owner
        self.book = book
        return True

    def remove(self) -> None:
        """Put the method back. Below somebody else's ours stays where it is, and only passes on."""
        self.book = None
        if self._owner is not None and vars(self._owner)[self._place[2]] is self._ours:
            setattr(self._owner, self._place[2], self._original)
            self._owner = None

    def _around(self, original: Any) -> Any:  # noqa: ANN401 - any version's method
        awaited = inspect.iscoroutinefunction(original)
        return _awaiting(self, original) if awaited else _calling(self, original)


def _calling(hook: Hook, original: Callable[P, T]) -> Callable[P, T]:
    @functools.wraps(original)
    def observed(*args: P.args, **kwargs: P.kwargs) -> T:
        book = hook.book
        if book is None:
            return original(*args, **kwargs)
        began = monotonic_ns()
        try:
            response = original(*args, **kwargs)
        except BaseException as error:
            took = monotonic_ns() - began
            book(took, partial(hook.describe, FAILED, *args), error)
            raise
        took = monotonic_ns() - began
        book(took, partial(hook.describe, response, *args), None)
        return response

    return observed


def _awaiting(hook: Hook, original: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    @functools.wraps(original)
    async def observed(*args: P.args, **kwargs: P.kwargs) -> T:
        book = hook.book
        if book is None:
            return await original(*args, **kwargs)
        began = monotonic_ns()
        try:
            response = await original(*args, **kwargs)
        except BaseException as error:
            took = monotonic_ns() - began
            book(took, partial(hook.describe, FAILED, *args), error)
            raise
        took = monotonic_ns() - began
        book(took, partial(hook.describe, response, *args), None)
        return response

    return observed


class Hooks:
    """All of them."""

    def __init__(self, *hooks: Hook) -> None:
        """Know *hooks*."""
        self._hooks = hooks

    def observe(self, book: Book) -> None:
        """Book the requests of every library that is there to *book*."""
        seen = False
        for hook in self._hooks:
            try:
                seen |= hook.install(book)
            except Exception as error:  # noqa: BLE001 - a library that is broken, or other than known
                seen = True
                faults.report("http_client_hook", error)
        if not seen:
            log.warning(
                "Outgoing requests are not measured: neither urllib3 nor httpx is installed."
            )

    def remove(self) -> None:
        """Leave all libraries as they were."""
        for hook in self._hooks:
            hook.remove()


# -- urllib3: any version's pool, and a response of its own or, before 2, of http.client -----------

_VERSIONS: Final = {10: "1.0", 11: "1.1", 20: "2", 30: "3"}


def attempt(response: Any, pool: Any, _conn: object, method: str, url: str, *_: object) -> Seen:  # noqa: ANN401 - as said above
    """Describe an attempt by the arguments of `_make_request`."""
    status = version = None
    if response is not FAILED:
        status, version = response.status, _VERSIONS.get(response.version)
    # The pool is the proxy's, and the target a whole address, where a proxy is asked in plain HTTP.
    if not url.startswith("/"):
        from urllib3.util import parse_url

        parsed = parse_url(url)
        if parsed.host:
            scheme = parsed.scheme or pool.scheme
            return Seen(method, scheme, parsed.host, parsed.port, status, version)
    return Seen(method, pool.scheme, pool.host, pool.port, status, version)


def _tunnel(response: object, pool: Any, *_: object) -> Seen | None:  # noqa: ANN401 - as said above
    return Seen("CONNECT", pool.scheme, pool.host, pool.port) if response is FAILED else None


# -- httpx: httpcore's, which may not be installed -------------------------------------------------


def _request(response: Any, _pool: object, request: Any) -> Seen:  # noqa: ANN401 - as said above
    status = version = None
    if response is not FAILED:
        status = response.status
        version = response.extensions.get("http_version", b"").decode().removeprefix("HTTP/")
    url, method = request.url, request.method.decode()
    return Seen(method, url.scheme.decode(), url.host.decode(), url.port, status, version)


HOOKS: Final = Hooks(
    Hook("urllib3.connectionpool", "HTTPConnectionPool", "_make_request", attempt),
    Hook("urllib3.connectionpool", "HTTPSConnectionPool", "_prepare_proxy", _tunnel),
    Hook("httpcore", "ConnectionPool", "handle_request", _request),
    Hook("httpcore", "AsyncConnectionPool", "handle_async_request", _request),
)
