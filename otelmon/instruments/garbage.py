"""The garbage collector: how often it ran in this process, and how long it held the program up."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING, Any, Final

from otelmon.errors import OtelmonError
from otelmon.instruments.process import COLLECTIONS, PAUSE, of_generation


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otelmon.instruments.process import Figure

    Callback = Callable[[str, dict[str, int]], None]


_GENERATIONS: Final = 3


class Garbage:
    """Times each collection by `gc.callbacks`, from the first reading on.

    What is called there runs in the middle of whatever the program does, in any thread, with any
    lock held. So it waits for nothing, calls nothing but the clock, and makes nothing but numbers,
    which the collector does not look at. One start and one end are enough: the interpreter begins no
    collection while another one is under way, whichever thread it is in.
    """

    kind: Final = "process_gc"

    def __init__(
        self,
        *,
        callbacks: list[Callback] | None = None,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """Listen to nothing yet; *clock* tells ns."""
        # Other interpreters than CPython have none.
        given = getattr(gc, "callbacks", None) if callbacks is None else callbacks
        self._callbacks: list[Any] | None = given
        self._clock = clock
        self.forget()

    def read(self) -> Mapping[Figure, float | None]:
        """Return collections and seconds by generation, and listen from now on.

        Raises:
            OtelmonError: this interpreter tells nobody of its collections.
        """
        if self._callbacks is None:
            raise OtelmonError("This interpreter has no gc.callbacks.")
        if self._heard not in self._callbacks:
            self._callbacks.append(self._heard)
        found: dict[Figure, float | None] = {}
        for generation in range(_GENERATIONS):
            found[of_generation(COLLECTIONS, generation)] = self._collections[generation]
            found[of_generation(PAUSE, generation)] = self._pauses[generation] / 1e9
        return found

    def _heard(self, phase: str, info: Mapping[str, int]) -> None:
        if phase == "start":
            self._began = self._clock()
        elif self._began:
            generation = info["generation"]
            self._pauses[generation] += self._clock() - self._began
            self._collections[generation] += 1
            self._began = 0

    def forget(self) -> None:
        """Be as new in a forked child: what its parent collected is the parent's to tell."""
        self.close()
        self._began = 0
        self._pauses = [0] * _GENERATIONS
        self._collections = [0] * _GENERATIONS

    def close(self) -> None:
        """Listen no longer."""
        if self._callbacks is not None and self._heard in self._callbacks:
            self._callbacks.remove(self._heard)
