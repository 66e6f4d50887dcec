"""Write docs/settings.md from the declarations: python tools/settings_page.py."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any


sys.path.insert(0, str(Path(__file__).parent.parent))

from otelmon.settings import OWNED, Rate, Settings, variables
from otelmon.settings.rules import UNITS


PAGE = Path(__file__).parent.parent / "docs" / "settings.md"

_BEGINNING = """# Settings

Settings are read from the environment when the application is wrapped. Some can be given in code,
and the environment has the rest:

```python
from otelmon import Settings, monitor

app = monitor(app, Settings.from_env(monitoring_interval=5, enable_prometheus=True))
```

What is given in code goes before its variable. All that is wrong, in code and in the environment, is
said at once, in one `ConfigError` that names variable or field, value and rule. Comments
at the end of a value (`10   # seconds`), as `docker --env-file` and systemd pass them on, are no part
of it. An unknown `OTELMON_*` or `ALERT_*` name is logged with the nearest known one. A bad value of a
variable that belongs to a standard (`OTEL_*`, `TMPDIR`, `XDG_RUNTIME_DIR`) is warned about and counts
as unset.

`Settings(monitoring_interval=5)` reads no variable of the first table, which is good for tests: all
other fields have their defaults. `monitor` and `harden` log the names of those that are set and for
that reason not in force, `OTELMON_TOKEN` too.

This page is written by `tools/settings_page.py` from the declarations in `otelmon/settings/`.
"""

_OWNED = """
## Names that the application may own

They are judged only by the part of otelmon that uses them, and read from the environment by
`Settings(...)` too. They have no field: in code they are arguments of these parts, as in
`create_engine(url, pool_size=5)` or `RateLimit(app, limit="5/minute")`, or texts:

```python
settings = Settings.from_env(owned={"RATE_LIMIT": "5/minute", "MAX_CONTENT_LENGTH": "off"})
```
"""


def page() -> str:
    """Return the page."""
    parts = [_BEGINNING, _table(Settings, fields=True), _OWNED]
    parts += [_table(group, fields=False) for group in OWNED]
    return "".join(parts)


def _table(owner: Any, *, fields: bool) -> str:  # noqa: ANN401 - a dataclass of settings
    head = ["variable", *(["field"] if fields else []), "default", "value", "meaning"]
    rows = [f"\n{_row(head)}{'|---' * len(head)}|\n"]
    for field, declared in variables(owner).items():
        cells = [" or ".join(map(_named, declared.names)), *([f"`{field}`"] if fields else [])]
        cells += [_default(declared.default), _cell(declared.rule.says), _cell(declared.about)]
        rows.append(_row(cells))
    return "".join(rows)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _named(name: str) -> str:
    variable, _, key = name.partition("[")
    return f"`{key[:-1]}` in `{variable}`" if key else f"`{name}`"


def _default(default: object) -> str:
    """Return a default as one would write the variable."""
    if default is None or default in ("", ()):
        return ""
    if isinstance(default, Rate):
        units = {seconds: unit for unit, seconds in UNITS.items()}
        return f"`{default.requests}/{units[default.seconds]}`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default:.10g}`" if isinstance(default, float) else f"`{default}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
