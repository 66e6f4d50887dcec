"""A module that cannot be imported: it fails by itself."""

from __future__ import annotations


when_ready = 1 / 0
