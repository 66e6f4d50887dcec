"""The documents say what the code does."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import otelmon


if TYPE_CHECKING:
    from types import ModuleType


ROOT = Path(__file__).parent.parent
_CODE = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def _tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_settings_page_is_the_one_that_the_declarations_make() -> None:
    """docs/settings.md is up to date; tools/settings_page.py writes it."""
    tool = _tool("settings_page")
    assert tool.PAGE.read_text() == tool.page()


@pytest.mark.parametrize("name", otelmon.__all__)
def test_every_public_name_is_explained(name: str) -> None:
    """Whatever can be imported from otelmon stands in a page, or it is nobody's."""
    pages = (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
    assert any(re.search(rf"\b{name}\b", page.read_text()) for page in pages)


@pytest.mark.parametrize(
    "page",
    sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("docs/**/*.md")),
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_links_between_the_documents_lead_somewhere(page: Path) -> None:
    """Every relative link names a file that is there."""
    targets = _LINK.findall(page.read_text())
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert missing == []


_CALL = """
said = []
body = app({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, lambda *args: said.append(args[0]))
assert (said, b"".join(body)) == (["200 OK"], b"thank you")
body.close()
shown = {row.instrument.name: row for row in of_ledger(meter_provider().ledger.read())}
assert shown["shop.orders"].value == 1
assert shown["shop.wait"].buckets == (0, 1, 0, 0)
app.close()
"""


def test_the_example_of_measuring_measures() -> None:
    """The code of docs/opentelemetry.md, as it stands there, counts an order and a wait."""
    (code,) = _CODE.findall((ROOT / "docs" / "opentelemetry.md").read_text())
    imports = "from otelmon import meter_provider\nfrom otelmon.metrics.rows import of_ledger\n"
    command = [sys.executable, "-W", "error", "-c", imports + code + _CALL]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_each_claim_of_security_names_tests_that_are_there() -> None:
    """Every file of tests that SECURITY.md names exists, and every claim has one."""
    text = (ROOT / "SECURITY.md").read_text()
    table = text[text.index("| claim | tests |") :].partition("\n\n")[0].splitlines()[2:]
    assert len(table) > 10
    for row in table:
        named = re.findall(r"`(test_\w+\.py)`", row)
        assert named, row
        assert [name for name in named if not (ROOT / "tests" / name).exists()] == []
