"""werkzeug without Flask: the rule that the application's own `url_map` matched.

A Map knows requests only while it is bound to one, so its `bind_to_environ` is wrapped, and the
`match` of what that returns: no URL is matched twice, and what is noted is what the application was
told.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from otelmon.middleware.routes import flask
from otelmon.middleware.routes.looking import is_a, is_made_by, kept
from otelmon.middleware.routes.mounts import Mounts
from otelmon.middleware.routes.template import ROUTE


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


_mounts: WeakKeyDictionary[Any, Mounts] = WeakKeyDictionary()


def owns(app: object) -> bool:
    """Tell whether *app* has a Map of werkzeug's as its `url_map`, and is not Flask."""
    return (
        not is_a(app, type)
        and is_made_by(kept(app, "url_map"), "werkzeug.routing", "Map")
        and not flask.owns(app)
    )


def attach(app: Any, prefix: str) -> None:  # noqa: ANN401 - any application
    """Have the map of *app* name the route of each request that is matched by it."""
    url_map = kept(app, "url_map")
    mounts = _mounts.get(url_map)
    if mounts is None:
        mounts = Mounts()
        url_map.bind_to_environ = _binding(url_map.bind_to_environ, mounts)
        _mounts[url_map] = mounts
    mounts.add(prefix)


def _binding(bind: Callable[..., Any], mounts: Mounts) -> Callable[..., Any]:
    at = mounts.at

    def bound(environ: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - werkzeug's classes
        adapter = bind(environ, *args, **kwargs)
        kind: Any = type(adapter)
        # Its class is changed, because a function put into it would be a cycle of each request.
        adapter.__class__ = _watched(kind)
        # werkzeug takes its request as well.
        adapter.otelmon = getattr(environ, "environ", environ), at
        return adapter

    return bound


@functools.cache
def _watched(kind: Any) -> Any:  # noqa: ANN401 - classes of werkzeug's
    """Return *kind*, a class of adapters, with a `match` that names the route."""
    match = kind.match

    def matched(  # the signature is werkzeug's
        self: Any,  # noqa: ANN401 - a MapAdapter
        path_info: str | None = None,
        method: str | None = None,
        return_rule: bool = False,
        *more: Any,  # noqa: ANN401 - whatever else there is
        **others: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        rule, values = match(self, path_info, method, True, *more, **others)
        # An adapter also answers what another path would lead to.
        if path_info is None or path_info == self.path_info:
            environ, at = self.otelmon
            environ[ROUTE] = at(environ, rule.rule)
        return (rule if return_rule else rule.endpoint), values

    return type(kind.__name__, (kind,), {"match": matched})


def rules(app: Any) -> Iterable[str]:  # noqa: ANN401 - as above
    """Return the rules of the map of *app*."""
    return [rule.rule for rule in app.url_map.iter_rules()]
