"""`/livez`: the process answers. It touches nothing, so nothing can make it lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otelmon.views.response import as_json


if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from otelmon.views.response import Response
    from otelmon.views.source import Source


_ALIVE: Final = as_json({"status": "ok"})


def livez(_source: Source, _environ: WSGIEnvironment) -> Response:
    """Answer."""
    return _ALIVE
