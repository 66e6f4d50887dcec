"""The environment of the demo's server: the user's own, a file of it, and a few defaults."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from otelmon.hardening.collect import collect
from otelmon.settings import value_in


if TYPE_CHECKING:
    from collections.abc import Mapping


_STATIC = Path(__file__).with_name("static")


def server_environment(own: Mapping[str, str], file: Mapping[str, str]) -> dict[str, str]:
    """Return the server's environment: *file* goes before the user's *own*, both before ours.

    A variable that is set to nothing counts as unset, as everywhere in otelmon.
    """
    ours = {
        "ENABLE_PROMETHEUS": "true",
        "OTEL_SERVICE_NAME": "otelmon-demo",
        # Its sessions end with it.
        "SESSION_SECRET": secrets.token_hex(32),
    }
    return _completed({**own, **file}, ours)


def with_static_files(environ: Mapping[str, str], directory: Path) -> dict[str, str]:
    """Return it with a STATIC_ROOT in *directory*, where the shop's files are collected to."""
    root = directory / "static"
    collect([_STATIC], root)
    return _completed(environ, {"STATIC_ROOT": str(root)})


def _completed(environ: Mapping[str, str], ours: Mapping[str, str]) -> dict[str, str]:
    unset = {name for name in ours if not value_in(environ.get(name, "")).strip()}
    return {**environ, **{name: ours[name] for name in unset}}
