"""Write docs/settings.md from the declarations: python tools/settings_page.py."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any


sys.path.insert(0, str(Path(__file__).parent.parent))

from otelmon.settings import OWNED, Settings, variables


PAGE = Path(__file__).parent.parent / "docs" / "settings.md"

_BEGINNING = """# Settings

Settings are read from the environment when the application is wrapped, or given in code:

```python
from otelmon import Settings, monitor

app = monitor(app, Settings(monitoring_interval=5, enable_prometheus=True))
```

All that is wrong is said at once, in one `ConfigError` that names variable, value and rule. Comments
at the end of a value (`10   # seconds`), as `docker --env-file` and systemd pass them on, are no part
of it. An unknown `OTELMON_*` or `ALERT_*` name is logged with the nearest known one. A bad value of a
variable that belongs to a standard (`OTEL_*`, `TMPDIR`, `XDG_RUNTIME_DIR`) is warned about and counts
as unset.

This page is written by `tools/settings_page.py` from the declarations in `otelmon/settings/`.
"""

_OWNED = """
## Names that the application may own

They are judged only by the part of otelmon that uses them.
"""


def page() -> str:
    """Return the page."""
    parts = [_BEGINNING, _table(Settings), _OWNED]
    parts += [_table(group) for group in OWNED]
    return "".join(parts)


def _table(owner: Any) -> str:  # noqa: ANN401 - a dataclass of settings
    rows = ["\n| variable | field | default | value | meaning |\n|---|---|---|---|---|\n"]
    for field, declared in variables(owner).items():
        names = " or ".join(f"`{name}`" for name in declared.names)
        default = declared.default
        shown = "" if default is None or default in ("", ()) else f"`{_text(default)}`"
        rows.append(
            f"| {names} | `{field}` | {shown} | {_cell(declared.rule.says)} "
            f"| {_cell(declared.about)} |\n"
        )
    return "".join(rows)


def _text(default: object) -> str:
    return f"{default:.10g}" if isinstance(default, float) else str(default)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
