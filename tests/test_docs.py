"""The documents say what the code does."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest


if TYPE_CHECKING:
    from types import ModuleType


ROOT = Path(__file__).parent.parent
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
