"""What speaks to databases is hooked when the application imports it, and never imported by us."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from otelmon import faults
from otelmon.instruments.databases.imports import when_imported


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the name of a module that can be imported."""
    (tmp_path / "a_library.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = list(sys.meta_path)
    yield "a_library"
    sys.modules.pop("a_library", None)
    assert sys.meta_path == before


def test_it_is_told_once_when_it_is_imported(library: str) -> None:
    """At the end of the first import, with the module whole; later ones tell nothing."""
    told: list[object] = []
    when_imported(library, lambda: told.append(sys.modules[library].value))
    assert told == []
    import a_library  # type: ignore[import-not-found]

    assert told == [1]
    del sys.modules[library]
    import a_library  # noqa: F811 - anew

    assert a_library.value == 1
    assert told == [1]
    when_imported(library, lambda: told.append(2))
    assert told == [1, 2]


def test_what_fails_then_is_not_the_importers(library: str) -> None:
    """Who imports gets the module, and the failure is a fault of ours."""
    when_imported(library, lambda: 1 / 0)
    import a_library

    assert a_library.value == 1
    assert faults.seen()["import_hook"].error == "ZeroDivisionError"


def test_what_is_not_installed_is_missing_as_ever(tmp_path: Path) -> None:
    """A library that is not there raises the same error, each time, and can be there later."""
    name = "a_later_library"
    told: list[object] = []
    when_imported(name, lambda: told.append(1))
    with pytest.raises(ModuleNotFoundError, match=name):
        __import__(name)
    (tmp_path / f"{name}.py").write_text("")
    sys.path.insert(0, str(tmp_path))
    try:
        __import__(name)
    finally:
        sys.path.remove(str(tmp_path))
    del sys.modules[name]
    assert told == [1]


def test_monitor_imports_neither() -> None:
    """An application without a database does not pay for the import of any."""
    code = (
        "import sys; from otelmon import monitor; app = monitor(lambda e, s: []); "
        "print([name for name in ('sqlalchemy', 'django', 'redis') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
