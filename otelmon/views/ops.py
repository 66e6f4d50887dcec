"""The ops app: all endpoints, in front of an application or alone on the metrics port."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from otelmon import faults
from otelmon.views.auth import admits, challenge
from otelmon.views.health import health
from otelmon.views.livez import livez
from otelmon.views.metrics import metrics
from otelmon.views.monitoring import monitoring
from otelmon.views.prometheus import PrometheusPage
from otelmon.views.readyz import readyz
from otelmon.views.recommendations import recommendations
from otelmon.views.response import Response, refusal
from otelmon.views.source import Source


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from otelmon.settings import Settings


View = Callable[[Source, "WSGIEnvironment"], Response]

PROMETHEUS: Final = "/metrics"


class _Page(NamedTuple):
    view: View
    guarded: bool = True  # shown only to those who send the token


_PAGES: Final[Mapping[str, _Page]] = {
    "/health": _Page(health, guarded=False),  # it looks at the token itself
    "/livez": _Page(livez, guarded=False),
    "/readyz": _Page(readyz, guarded=False),
    "/api/metrics": _Page(metrics),
    "/api/metrics/health": _Page(monitoring),
    "/api/metrics/recommendations": _Page(recommendations),
}


class OpsApp:
    """Answers our paths, and gives all others to *fallback*.

    In front of an application the settings may move the paths by a prefix, or leave some to the
    application. Alone on the metrics port (*fallback* is None) there is none to make way for:
    everything is where it always is, and any other path is 404.
    """

    paths: Mapping[str, WSGIApplication]
    """What is answered here, by exact PATH_INFO; each is a WSGI application of its own"""

    def __init__(self, source: Source, *, fallback: WSGIApplication | None) -> None:
        """Mount what the settings of *source* say."""
        settings = source.settings
        pages = dict(_PAGES)
        if settings.enable_prometheus:
            pages[PROMETHEUS] = _Page(PrometheusPage(source))
        at = {path: path for path in pages} if fallback is None else _moved(settings, pages)
        self._fallback = fallback or _not_found
        self.paths = {at[path]: Endpoint(pages[path], source) for path in at}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer, or let the fallback answer."""
        endpoint = self.paths.get(environ.get("PATH_INFO", ""), self._fallback)
        return endpoint(environ, start_response)


def _moved(settings: Settings, pages: Iterable[str]) -> dict[str, str]:
    return {path: settings.prefix + path for path in pages if path not in settings.endpoints_off}


class Endpoint:
    """One of our paths as a WSGI application: GET and HEAD, with nothing raised."""

    def __init__(self, page: _Page, source: Source) -> None:
        """Show *page*."""
        self._page = page
        self._source = source

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer."""
        return _send(self._answer(environ), environ, start_response)

    def _answer(self, environ: WSGIEnvironment) -> Response:
        if environ.get("REQUEST_METHOD") not in ("GET", "HEAD"):
            return refusal("405 Method Not Allowed", "Send GET or HEAD.", ("Allow", "GET, HEAD"))
        try:
            if self._page.guarded and not admits(environ, self._source.settings.token):
                return challenge()
            return self._page.view(self._source, environ)
        except Exception as error:  # noqa: BLE001 - a monitor that breaks is no reason to break more
            faults.report("view", error)
            return refusal("500 Internal Server Error", "This answer could not be made.")


def _not_found(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    return _send(refusal("404 Not Found", "There is no such path."), environ, start_response)


def _send(
    response: Response, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    start_response(response.status, response.headers)
    return [] if environ.get("REQUEST_METHOD") == "HEAD" else [response.body]
