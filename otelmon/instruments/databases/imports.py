"""Acting when a library is imported, without importing it, and without slowing down any import."""

from __future__ import annotations

import importlib.util
import sys
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING

from otelmon import faults


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType


class _Finder(MetaPathFinder):
    """Stands before all others until its module was imported; finds it by them."""

    def __init__(self, name: str, then: Callable[[], object]) -> None:
        self._name = name
        self._then = then

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002 - the signature is Python's
        target: ModuleType | None = None,  # noqa: ARG002 - as above
        /,
    ) -> ModuleSpec | None:
        if fullname != self._name or self not in sys.meta_path:
            return None
        # By the others: we are not among them while they are asked.
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None or not self._follow(spec):
            sys.meta_path.insert(0, self)
        return spec

    def _follow(self, spec: ModuleSpec) -> bool:
        """Have the module's loader, which is of this module alone, tell when it is done."""
        loader = spec.loader
        assert loader is not None
        execute = loader.exec_module

        def executed(module: ModuleType) -> None:
            execute(module)
            if module.__name__ == self._name:
                _guarded(self._then)

        try:
            loader.exec_module = executed  # type: ignore[method-assign]
        except AttributeError:
            return False
        return True


def when_imported(name: str, then: Callable[[], object]) -> None:
    """Call *then* once the module *name* was imported, at once if it is there already.

    What it raises goes to `otelmon.faults`: whoever imports is the application.
    """
    if name in sys.modules:
        _guarded(then)
    else:
        sys.meta_path.insert(0, _Finder(name, then))


def _guarded(then: Callable[[], object]) -> None:
    try:
        then()
    except Exception as error:  # noqa: BLE001 - the import is the application's
        faults.report("import_hook", error)
