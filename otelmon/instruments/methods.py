"""Methods of other people's classes with ours around them, from the import of their module on.

Nothing is imported for it. A method is put back when nobody observes any more; one that somebody
else has wrapped since stays where it is, and only passes on.
"""

from __future__ import annotations

import functools
import inspect
import sys
from typing import TYPE_CHECKING, Any

from otelmon import faults
from otelmon.instruments.databases import imports


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    Around = Callable[[Callable[..., Any]], Callable[..., Any]]


def when_imported(module: str, begin: Callable[[ModuleType], object]) -> None:
    """Call *begin* with the module: at once if it is there, else when the application imports it.

    What *begin* raises is a fault; the import goes on.
    """

    def guarded() -> None:
        try:
            begin(sys.modules[module])
        except Exception as error:  # noqa: BLE001 - a version that is other than known must still be imported
            faults.report("library_hook", error)

    imports.when_imported(module, guarded)


class Methods:
    """Methods that have ours around them."""

    def __init__(self) -> None:
        """Have none."""
        self._placed: dict[tuple[type, str], tuple[Any, Any]] = {}

    def wrap(self, owner: type, name: str, around: Around) -> bool:
        """Put around(original) in the place of a method that *owner* itself has; tell if it has."""
        original = vars(owner).get(name)
        if not inspect.isfunction(original) or (owner, name) in self._placed:
            return False
        ours = functools.wraps(original)(around(original))
        setattr(owner, name, ours)
        self._placed[owner, name] = (original, ours)
        return True

    def remove(self) -> None:
        """Put back all that is still ours."""
        for (owner, name), (original, ours) in tuple(self._placed.items()):
            if vars(owner).get(name) is ours:
                setattr(owner, name, original)
                del self._placed[owner, name]


class Family:
    """The methods of a class and of every class below it, those that are yet to be made too."""

    def __init__(self, methods: Methods, base: type, arounds: dict[str, Around]) -> None:
        """Wrap what each of them has itself."""
        self._methods = methods
        self._base = base
        self._arounds = arounds
        self.wrap()
        self._follow(base)

    def wrap(self) -> None:
        """Wrap them again, after they were put back."""
        for each in (self._base, *_below(self._base)):
            self._wrap(each)

    def _wrap(self, owner: type) -> None:
        for name, around in self._arounds.items():
            self._methods.wrap(owner, name, around)

    def _follow(self, base: Any) -> None:  # noqa: ANN401 - mypy takes no variable for super()
        family = self
        before = vars(base).get("__init_subclass__")

        def __init_subclass__(cls: Any, /, **kwargs: Any) -> None:  # noqa: ANN401, N807 - Python's name
            if before is None:
                super(base, cls).__init_subclass__(**kwargs)
            else:
                before.__get__(None, cls)(**kwargs)
            try:
                family._wrap(cls)
            except Exception as error:  # noqa: BLE001 - the class is the application's, and must be made
                faults.report("library_hook", error)

        # setattr, because no class of ours is its base.
        setattr(base, "__init_subclass__", classmethod(__init_subclass__))  # noqa: B010 - as said


def _below(base: type) -> Iterator[type]:
    each: type
    for each in base.__subclasses__():
        yield each
        yield from _below(each)
