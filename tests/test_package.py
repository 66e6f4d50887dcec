"""What holds for the files of the project as such."""

from __future__ import annotations

import ast
import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple, TypeGuard

import pytest

import otelmon


ROOT: Final = Path(__file__).resolve().parent.parent
PLACES: Final = ("otelmon", "tests", "bench", "tools")
MODULES: Final = [path for place in PLACES for path in sorted((ROOT / place).rglob("*.py"))]
TESTS: Final = [path for path in MODULES if path.is_relative_to(ROOT / "tests")]

LONGEST_MODULE: Final = 350
LONGEST_TESTS: Final = 500  # a theme's tests stand together
LONGEST_FUNCTION: Final = 60

SDK_USERS: Final = ("otelmon/metrics", "otelmon/instruments")
NOT_AT_IMPORT: Final = (
    *("opentelemetry.sdk", "prometheus_client", "psutil", "waitress", "werkzeug", "whitenoise"),
    *("asyncio", "http.client", "statistics", "wrapt"),
    *("otelmon.hardening", "otelmon.caches.query_cache", "otelmon.metrics.prometheus"),
)

PROBE: Final = """
import json, os, sys, threading

def state():
    return [sorted(os.listdir("/proc/self/fd")), os.listdir("/proc/self/task")]

state()
before = state()
import otelmon
otelmon.monitor(lambda environ, start_response: [])
json.dump({"before": before, "after": state(), "modules": sorted(sys.modules)}, sys.stdout)
"""

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Probe(NamedTuple):
    """What a process holds before and after it imports otelmon and wraps an application."""

    before: list[list[str]]
    after: list[list[str]]
    modules: list[str]


@pytest.fixture(name="probe", scope="module")
def _probe() -> Probe:
    done = subprocess.run(
        [sys.executable, "-c", PROBE], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return Probe(**json.loads(done.stdout))


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def _functions(path: Path) -> list[Function]:
    return [node for node in ast.walk(_tree(path)) if isinstance(node, Function)]


def _tests(path: Path) -> list[Function]:
    return [function for function in _functions(path) if function.name.startswith("test")]


def _collected(path: Path) -> list[Function]:
    """Return the functions that stand in *path* where pytest looks for tests."""
    homes: list[ast.Module | ast.ClassDef] = [_tree(path)]
    homes += [node for node in _tree(path).body if _is_looked_into(node)]
    seen = path.name.startswith("test_")
    return [node for home in homes for node in _functions_in(home) if seen]


def _is_looked_into(node: ast.stmt) -> TypeGuard[ast.ClassDef]:
    if not isinstance(node, ast.ClassDef):
        return False
    has_init = any(function.name == "__init__" for function in _functions_in(node))
    return node.name.startswith("Test") and not has_init


def _functions_in(home: ast.Module | ast.ClassDef) -> list[Function]:
    return [node for node in home.body if isinstance(node, Function)]


def _imported(path: Path) -> set[str]:
    """Return the names that *path* imports, `from a import b` as a and as a.b."""
    names: set[str] = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def _imports(path: Path, package: str) -> bool:
    return any(f"{name}.".startswith(f"{package}.") for name in _imported(path))


def _length(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def _where(path: Path, function: Function | None = None) -> str:
    name = str(path.relative_to(ROOT))
    return name if function is None else f"{name}:{function.lineno} {function.name}"


def test_every_module_says_what_it_holds() -> None:
    """Every module of package, tests, benchmarks and tools has a docstring."""
    assert [_where(path) for path in MODULES if not ast.get_docstring(_tree(path))] == []


def test_no_module_is_long() -> None:
    """No module has more than 350 lines, no module of tests more than 500."""
    lines = {path: len(path.read_text().splitlines()) for path in MODULES}

    assert {_where(path): count for path, count in lines.items() if count > _longest(path)} == {}


def _longest(path: Path) -> int:
    return LONGEST_TESTS if path.name.startswith("test_") else LONGEST_MODULE


def test_no_function_is_long() -> None:
    """No function has more than 60 lines."""
    functions = [(path, function) for path in MODULES for function in _functions(path)]

    assert [_where(*pair) for pair in functions if _length(pair[1]) > LONGEST_FUNCTION] == []


def test_every_test_is_a_sentence() -> None:
    """Every test has a docstring: the sentence it proves."""
    tests = [(path, test) for path in TESTS for test in _tests(path)]

    assert [_where(*pair) for pair in tests if not ast.get_docstring(pair[1])] == []


def test_every_test_is_collected() -> None:
    """No test hides in a file, a class or a function that pytest does not look into."""
    hidden = [
        (path, test) for path in TESTS for test in _tests(path) if test not in _collected(path)
    ]

    assert [_where(*pair) for pair in hidden] == []


def test_requirements_hold_no_address() -> None:
    """No requirement file names an index, a link or a path: the machine decides where from."""
    files = sorted((ROOT / "requirements").iterdir())

    assert files
    assert [_where(path) for path in files if "://" in path.read_text()] == []


def test_the_sdk_stays_where_it_is_used() -> None:
    """Only metrics and instruments import the OpenTelemetry SDK."""
    package = [path for path in MODULES if path.is_relative_to(ROOT / "otelmon")]
    others = [path for path in package if not _where(path).startswith(SDK_USERS)]

    assert [_where(path) for path in others if _imports(path, "opentelemetry.sdk")] == []


def test_import_opens_nothing(probe: Probe) -> None:
    """Importing otelmon and wrapping an application opens no file and starts no thread."""
    assert probe.before == probe.after


@pytest.mark.parametrize("name", NOT_AT_IMPORT)
def test_import_is_light(probe: Probe, name: str) -> None:
    """A worker imports nothing that only a keeper, a scrape or another part of otelmon needs."""
    assert name not in probe.modules


def test_every_public_name_is_there() -> None:
    """Also what is imported when it is first asked for; what is no name of it is none."""
    assert [name for name in otelmon.__all__ if getattr(otelmon, name).__name__ != name] == []
    assert set(otelmon.__all__) <= set(dir(otelmon))
    with pytest.raises(AttributeError, match="module 'otelmon' has no attribute 'hardened'"):
        getattr(otelmon, "hardened")  # noqa: B009 - mypy knows that there is none
