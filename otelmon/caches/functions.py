"""Functions whose results are kept: what tells one from all others, and the key of a call of it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

from otelmon import faults
from otelmon.caches import entries
from otelmon.errors import ConfigError


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


# Python's words in the qualified name of what may be there several times, each with values of its own.
_SHARED: Final = ("<locals>", "<lambda>")
_MAKERS: Final[dict[str, Callable[[object], bool]]] = {
    "async def": inspect.iscoroutinefunction,
    "an asynchronous generator": inspect.isasyncgenfunction,
    "a generator": inspect.isgeneratorfunction,
}


def name_of(function: Callable[..., Any]) -> str:
    """Return what a function is called by itself, as no other function of the program is.

    Raises:
        ConfigError: others may be called the same, and would be given its values.
    """
    qualified = getattr(function, "__qualname__", None)
    if qualified is None or any(word in qualified for word in _SHARED):
        raise ConfigError(
            f"cached has {qualified or type(function).__qualname__!r}, which is made anew wherever its "
            "code runs and has no name of its own, so that others would be given its values: give it "
            "one, as in cached(name='product')."
        )
    return f"{function.__module__}.{qualified}"


def refuse_makers(function: Callable[..., Any]) -> None:
    """Raise ConfigError if a function returns no value, but what makes values when it is run."""
    for kind, says in _MAKERS.items():
        if says(function):
            raise ConfigError(
                f"cached has {getattr(function, '__qualname__', function)!r}, which is {kind}: what it "
                "returns cannot be kept. Give a function that returns the value itself."
            )


class Calls:
    """The calls of one function, each of which has a key."""

    def __init__(
        self, function: Callable[..., Any], name: str, key: Callable[..., str] | None
    ) -> None:
        """Begin each key with *name*; what follows is made by *key*, or of the arguments."""
        self._signature = inspect.signature(function)
        self._name = name
        self._key = key

    def key(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
        """Return the key of a call; None if there is none. A call that is wrong is the function's."""
        try:
            bound = self._signature.bind(*args, **kwargs)
            bound.apply_defaults()
            make = self._key
            made = entries.as_json(bound.arguments) if make is None else make(*args, **kwargs)
            return f"{self._name}:{made}"
        except Exception as error:  # noqa: BLE001 - the function is worth calling all the same
            faults.report("query_cache_key", error)
            return None
