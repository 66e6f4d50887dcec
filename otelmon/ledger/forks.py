"""Forks that come while something is being taken.

What a thread has opened and not yet noted, a child that another thread forks meanwhile has too, and
knows nothing of it.
"""

from __future__ import annotations

import os
from typing import Final


class Forks:
    """Counts the forks of this process, at their beginning and behind their end."""

    def __init__(self) -> None:
        """Count from now on."""
        self._begun = self._ended = 0

    def begin(self) -> None:
        """Be about to fork."""
        self._begun += 1

    def end(self) -> None:
        """Have forked, or failed to."""
        self._ended += 1

    def forget(self) -> None:
        """Be as new in the child."""
        self._begun = self._ended = 0

    def moment(self) -> int:
        """Return a moment for `since`, to be had before anything is opened."""
        begun = self._begun
        # Who forks at this moment copies what is opened after it.
        return begun if begun == self._ended else -1

    def since(self, moment: int) -> bool:
        """Tell whether a child may have a copy of what was opened since a moment and is noted now."""
        return moment != self._begun


FORKS: Final = Forks()
if hasattr(os, "register_at_fork"):  # Windows has no forks
    os.register_at_fork(before=FORKS.begin, after_in_parent=FORKS.end, after_in_child=FORKS.forget)
