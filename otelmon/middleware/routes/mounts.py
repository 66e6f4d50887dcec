"""Where an application is mounted below the one that is observed."""

from __future__ import annotations

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


class Mounts:
    """The prefixes that one application has in the mount tables around it.

    They are known before any request. SCRIPT_NAME, which a client may choose in front of a careless
    proxy, is only asked which of them it is, where there are several.
    """

    __slots__ = ("_only", "_prefixes")

    def __init__(self) -> None:
        """Be mounted nowhere yet."""
        self._prefixes: tuple[str, ...] = ()
        self._only: str | None = ""

    def add(self, prefix: str) -> None:
        """Know one more place, "" for the application that is observed itself."""
        if prefix not in self._prefixes:
            self._prefixes = tuple(sorted((*self._prefixes, prefix), key=len, reverse=True))
            self._only = prefix if len(self._prefixes) == 1 else None

    def __bool__(self) -> bool:
        """Tell whether templates change by it."""
        return self._only != ""

    def at(self, environ: WSGIEnvironment, template: str) -> str:
        """Return *template* as it is seen from the application that is observed."""
        if self._only is not None:
            return self._only + template
        script_name = environ.get("SCRIPT_NAME", "")
        return next((one for one in self._prefixes if script_name.endswith(one)), "") + template
