"""Something that strikes at a chosen moment of what a thread runs, so that no test waits for luck.

The interpreter lets a signal handler or another thread run where a function begins and where a call
comes back, and nowhere else on a straight way: these are the moments.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType


class Strike:
    """Calls *act* at one moment of *files*: when so many calls have come back there."""

    def __init__(
        self, number: int, act: Callable[[], object], files: tuple[str, ...], *, begins: bool
    ) -> None:
        """Strike at that moment; where functions begin too, if *begins*."""
        self._left = number
        self._act = act
        self._files = files
        self._begins = begins
        self.done = False

    def run(self, work: Callable[[], object]) -> None:
        """Do the work, and be done if that moment has come."""
        sys.setprofile(self._seen)
        try:
            work()
        finally:
            sys.setprofile(None)

    def _seen(self, frame: FrameType, event: str, _: Any) -> None:  # noqa: ANN401 - sys's protocol
        if not any(file in frame.f_code.co_filename for file in self._files):
            return
        # The call of a class comes back where its `__init__` does.
        made = event == "return" and frame.f_code.co_name == "__init__"
        if event == "c_return" or made or (self._begins and event == "call"):
            self._left -= 1
            if self._left < 0 and not self.done:
                self.done = True
                sys.setprofile(None)
                self._act()


def strikes(
    act: Callable[[], object], *files: str, begins: bool = False, least: int = 3
) -> Iterator[Strike]:
    """Yield a strike for each moment in turn, until there are no more; at *least* so many."""
    number, done = 0, True
    while done:
        strike = Strike(number, act, files, begins=begins)
        yield strike
        done = strike.done
        number += done
    assert number >= least, f"There were {number} moments only."
