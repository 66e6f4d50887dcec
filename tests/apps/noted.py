"""Hooks for gunicorn that write their names into the file NOTES."""

from __future__ import annotations

import os
from pathlib import Path


def _note(name: str) -> None:
    with Path(os.environ["NOTES"]).open("a") as file:  # noqa: TID251 - a test's own
        file.write(f"{name}\n")


def on_starting(_server: object) -> None:
    """Note it."""
    _note("on_starting")


def when_ready(_server: object) -> None:
    """Note it."""
    _note("when_ready")


def on_reload(_server: object) -> None:
    """Note it."""
    _note("on_reload")


def pre_fork(_server: object, _worker: object) -> None:
    """Note it."""
    _note("pre_fork")


def post_fork(_server: object, _worker: object) -> None:
    """Note it."""
    _note("post_fork")


def child_exit(_server: object, _worker: object) -> None:
    """Note it."""
    _note("child_exit")


def on_exit(_server: object) -> None:
    """Note it."""
    _note("on_exit")
