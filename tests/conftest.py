"""What holds for every test."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import hypothesis
import pytest

from tests import fresh_process, leftovers


if TYPE_CHECKING:
    from collections.abc import Iterator


# How long an example takes, to be made or to be tried, says something about the machine, not about
# the code.
hypothesis.settings.register_profile(
    "otelmon", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("otelmon")
leftovers.own()
# How busy the machine is beside a test is no part of what that test proves: a server that the test
# starts is not to be degraded by it. Tests of these alerts set their thresholds.
for _name in ("CPU", "MEMORY", "DISK", "DISK_FULL_HOURS", "SATURATION"):
    os.environ[f"ALERT_{_name}_THRESHOLD"] = "off"  # noqa: TID251 - servers inherit it


@pytest.fixture(autouse=True)
def _no_test_finds_what_another_left() -> None:
    """Let the order of tests, and which of them share a process, be of no account."""
    fresh_process.begin_anew()


@pytest.fixture(autouse=True)
def _nothing_is_left_running() -> Iterator[None]:
    """Fail a test whose processes or threads outlive it and its fixtures."""
    before = leftovers.running()
    yield
    left = leftovers.end_new(before)
    assert left == [], "left running"
