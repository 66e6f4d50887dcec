"""The environment of the demo's server: the user's own, a file of it, and one default."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otelmon.settings import value_in


if TYPE_CHECKING:
    from collections.abc import Mapping


_DEFAULTS = {"ENABLE_PROMETHEUS": "true"}


def server_environment(own: Mapping[str, str], file: Mapping[str, str]) -> dict[str, str]:
    """Return the server's environment: *file* goes before the user's *own*, both before ours.

    A variable that is set to nothing counts as unset, as everywhere in otelmon.
    """
    merged = {**own, **file}
    for name, value in _DEFAULTS.items():
        if not value_in(merged.get(name, "")).strip():
            merged[name] = value
    return merged
