"""What a process of the application's remembers, forgotten: each test begins as a new one would."""

from __future__ import annotations

import sys

from otelmon import announcement, faults, stack
from otelmon.alerts import registry
from otelmon.checks.registry import REGISTRY
from otelmon.hardening.limit_memory import MEMORY
from otelmon.settings import owned


def begin_anew() -> None:
    """Have nothing failed, counted, registered or noted yet, whichever tests ran here before."""
    faults.forget()
    MEMORY.forget()
    registry.forget()
    REGISTRY.checks = {}
    announcement._notes.clear()
    owned._used.clear()
    # By that a process is taken for gunicorn's arbiter, which serves nobody.
    sys.modules.pop("gunicorn.arbiter", None)
    if stack._off:
        stack._off, stack._provider = False, None
