"""What lies inside an application: those that middlewares wrap, and those that are mounted."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Mapping
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final

from otelmon import faults
from otelmon.middleware.routes import bottle
from otelmon.middleware.routes.looking import is_a, kept


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


# How middlewares call what they wrap.
_NAMES: Final = (
    *("app", "application", "wsgi_app", "wsgi", "wrapped", "__wrapped__"),
    *("_app", "_application", "_wsgi_app", "_wsgi", "_wrapped"),
)
_DEEPEST: Final = 32
_MOST: Final = 1000


def inside(app: object) -> Iterator[tuple[Any, str]]:
    """Return *app* and all applications that can be found in it, each with its prefix.

    An application that is mounted twice comes twice. What only a running function knows, such as an
    application that it makes or imports itself, is not found.
    """
    left = _MOST
    ahead = deque[tuple[object, str, tuple[int, ...]]]([(app, "", ())])
    seen: set[tuple[int, str]] = set()
    while ahead and left:
        one, prefix, above = ahead.popleft()
        if (id(one), prefix) in seen or id(one) in above or len(above) > _DEEPEST:
            continue
        seen.add((id(one), prefix))
        left -= 1
        yield one, prefix
        within = (*above, id(one))
        ahead += [(inner, prefix + more, within) for inner, more in _parts(one)]


def _parts(app: object) -> list[tuple[object, str]]:
    """Return what *app* wraps or mounts, as far as it can be looked at."""
    found: list[tuple[object, str]] = []
    for look in (_wrapped, _mounted):
        try:
            found += [(one, more) for one, more in look(app) if callable(one)]
        except Exception as error:  # noqa: BLE001 - a mount table may do anything
            faults.report("route_adapter", error)
    return found


def _wrapped(app: object) -> Iterable[tuple[object, str]]:
    parts: list[object] = []
    if is_a(app, MethodType):
        parts = [app.__self__]
    elif is_a(app, FunctionType):
        parts = [cell.cell_contents for cell in app.__closure__ or () if _is_filled(cell)]
    elif is_a(app, functools.partial):
        parts = [app.func, *app.args, *app.keywords.values()]
    elif is_a(app, type):
        return []
    parts += [kept(app, name) for name in _NAMES]
    return [(part, "") for part in parts]


def _is_filled(cell: Any) -> bool:  # noqa: ANN401 - a CellType
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def _mounted(app: object) -> Iterable[tuple[object, str]]:
    if bottle.owns(app):
        return bottle.mounted(app)
    # werkzeug's DispatcherMiddleware, and those made like it.
    table: Any = None if is_a(app, type) else kept(app, "mounts")
    if not issubclass(type(table), Mapping):
        return []
    return [(one, prefix) for prefix, one in table.items() if isinstance(prefix, str)]
