"""The ops app: all endpoints, in front of an application or alone on the metrics port."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING, Final

from otelmon import faults
from otelmon.loading import apart_from_forks
from otelmon.views.alerts import alerts
from otelmon.views.auth import admits, challenge
from otelmon.views.health import health
from otelmon.views.history import history
from otelmon.views.livez import livez
from otelmon.views.metrics import metrics
from otelmon.views.monitoring import monitoring
from otelmon.views.readyz import readyz
from otelmon.views.recommendations import recommendations
from otelmon.views.response import Response, refusal
from otelmon.views.source import Source


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from otelmon.settings import Settings


View = Callable[["WSGIEnvironment"], Response]

PROMETHEUS: Final = "/metrics"


_OfSource = Callable[[Source, "WSGIEnvironment"], Response]

_VIEWS: Final[Mapping[str, _OfSource]] = {
    "/health": health,
    "/livez": livez,
    "/readyz": readyz,
    "/api/metrics": metrics,
    "/api/metrics/health": monitoring,
    "/api/metrics/recommendations": recommendations,
    "/api/metrics/history": history,
    "/api/metrics/alerts": alerts,
}
# Whoever runs the machine must be able to probe; /health looks at the token itself.
_OPEN: Final = frozenset(("/health", "/livez", "/readyz"))


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
        views: dict[str, View] = {path: partial(view, source) for path, view in _VIEWS.items()}
        if settings.enable_prometheus:
            views[PROMETHEUS] = _prometheus(source)
        at = {path: path for path in views} if fallback is None else _moved(settings, views)
        self._views = views
        self._fallback = fallback or _not_found
        self.paths = {
            place: Endpoint(path, views[path], token=None if path in _OPEN else settings.token)
            for path, place in at.items()
        }

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer, or let the fallback answer."""
        endpoint = self.paths.get(environ.get("PATH_INFO", ""), self._fallback)
        return endpoint(environ, start_response)

    def warm(self) -> None:
        """Answer a scrape to nobody: a process's first one imports what it takes to write it."""
        if PROMETHEUS in self._views:
            self._views[PROMETHEUS]({})


def _prometheus(source: Source) -> View:
    """Return the view of `/metrics`, which is made when it is asked for first."""

    @cache
    def page() -> View:
        # Here, because only who is scraped is to pay for the import, as for that of the SDK.
        with apart_from_forks():
            from otelmon.views.prometheus import PrometheusPage

        return PrometheusPage(source)

    def view(environ: WSGIEnvironment) -> Response:
        return page()(environ)

    return view


def _moved(settings: Settings, pages: Iterable[str]) -> dict[str, str]:
    return {path: settings.prefix + path for path in pages if path not in settings.endpoints_off}


class Endpoint:
    """One of our paths as a WSGI application: GET and HEAD, with nothing raised."""

    def __init__(self, name: str, view: View, *, token: str | None) -> None:
        """Show *view* to those who send the token, to everybody without one.

        *name* is the path under which its failures are known, wherever it is mounted.
        """
        self._name = name
        self._view = view
        self._token = token

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer."""
        return _send(self._answer(environ), environ, start_response)

    def _answer(self, environ: WSGIEnvironment) -> Response:
        if environ.get("REQUEST_METHOD") not in ("GET", "HEAD"):
            return refusal("405 Method Not Allowed", "Send GET or HEAD.", ("Allow", "GET, HEAD"))
        try:
            if not admits(environ, self._token):
                return challenge()
            return self._view(environ)
        except Exception as error:  # noqa: BLE001 - a monitor that breaks is no reason to break more
            faults.report("view", error, of=self._name)
            return refusal("500 Internal Server Error", "This answer could not be made.")


def _not_found(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    return _send(refusal("404 Not Found", "There is no such path."), environ, start_response)


def _send(
    response: Response, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    start_response(response.status, response.headers)
    return [] if environ.get("REQUEST_METHOD") == "HEAD" else [response.body]
