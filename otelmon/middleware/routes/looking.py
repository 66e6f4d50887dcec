"""Looking at an application without running any of its code.

Proxies and lazy objects make what they stand for as soon as anything is asked of them, and they are
to do it when they are served, not when they are observed.
"""

from __future__ import annotations

import inspect
import sys
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, TypeGuard, TypeVar


Kind = TypeVar("Kind")


def kept(thing: object, name: str) -> Any:  # noqa: ANN401 - whatever it is
    """Return what *thing* or its class keeps under *name*, None without any; no property is run."""
    found = inspect.getattr_static(thing, name, None)
    if isinstance(found, (GetSetDescriptorType, MemberDescriptorType)):
        try:
            # A slot, which holds it.
            return found.__get__(thing)
        except AttributeError:
            return None
    return found


def is_a(thing: object, kind: type[Kind]) -> TypeGuard[Kind]:
    """Tell whether *thing* itself is of a class, and not what it stands for."""
    return issubclass(type(thing), kind)


def is_made_by(thing: object, module: str, name: str) -> bool:
    """Tell whether *thing* is of that class of *module*, which is not imported for it.

    Another thread may be importing it just now: then the class is not there, and nothing is of it.
    """
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and is_a(thing, kind)
