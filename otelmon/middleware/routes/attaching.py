"""Each framework's way to tell the routes of its requests, for all that an application consists of."""

from __future__ import annotations

from types import MethodType
from typing import TYPE_CHECKING, Any, Final, Protocol

from otelmon import faults
from otelmon.middleware.routes import bottle, django, falcon, flask, pyramid, werkzeug
from otelmon.middleware.routes.looking import is_a
from otelmon.middleware.routes.places import inside


if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import WSGIApplication


class Adapter(Protocol):
    """What otelmon knows of a framework. None is imported for it: who uses one has done so."""

    def owns(self, app: object) -> bool:
        """Tell whether *app* is an application of this framework."""

    def attach(self, app: Any, prefix: str) -> None:  # noqa: ANN401 - the framework's class
        """Have *app*, which is mounted at *prefix*, leave its routes where requests are booked.

        To do it again is harmless, and may tell one more prefix.
        """

    def rules(self, app: Any) -> Iterable[str]:  # noqa: ANN401 - as above
        """Return the templates that *app* has, as far as it tells them."""


ADAPTERS: Final[tuple[Adapter, ...]] = (flask, django, bottle, falcon, pyramid, werkzeug)


def attach(app: WSGIApplication) -> None:
    """Learn the routes of *app* and of all that it wraps and mounts, by whichever framework.

    To do it again is harmless, and finds what has been made since.
    """
    for found, prefix in inside(app):
        for adapter in ADAPTERS:
            try:
                if adapter.owns(found):
                    adapter.attach(found, prefix)
                    if adapter is flask and _is_around(app, found):
                        flask.tell_early(found)
            except Exception as error:  # noqa: BLE001 - the application goes on without its routes
                faults.report("route_adapter", error)


def _is_around(app: object, found: object) -> bool:
    """Tell whether *app* is more than *found* itself, or its `wsgi_app`."""
    return app is not found and not (is_a(app, MethodType) and app.__self__ is found)


def rules(app: WSGIApplication) -> set[str]:
    """Return the templates of *app* and of all that it wraps and mounts, as far as they are known."""
    known: set[str] = set()
    for found, prefix in inside(app):
        for adapter in ADAPTERS:
            try:
                if adapter.owns(found):
                    known.update(prefix + rule for rule in adapter.rules(found))
            except Exception as error:  # noqa: BLE001 - what cannot be known is not said
                faults.report("route_adapter", error)
    return known
