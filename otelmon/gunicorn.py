"""Hooks for gunicorn. They are optional; with them the metrics port has a process of its own.

The last line of a gunicorn.conf.py: `import otelmon.gunicorn; otelmon.gunicorn.install(globals())`.
Without such a file: `gunicorn -c python:otelmon.gunicorn app:app`. An exception in a hook ends the
whole server, so ours report theirs and go on.

To gunicorn every global name here that is one of its settings is one: it must be a hook.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

from otelmon import faults
from otelmon.supervisor import Supervisor


if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from otelmon.settings import Settings

    Arbiter = Any  # gunicorn has no types
    Worker = Any


class Hook:
    """One of our hooks, and behind it the user's own of that name, if there is one.

    Ours raises nothing; what the user's raises is raised, as it would be without us.
    """

    def __init__(
        self, ours: Callable[..., None], theirs: Callable[..., object] | None = None
    ) -> None:
        """Have the signature of *ours*, by which gunicorn judges a hook."""
        functools.update_wrapper(self, ours)
        self._ours = ours
        self._theirs = theirs

    def __call__(self, *args: Any) -> None:  # noqa: ANN401 - whatever gunicorn hands over
        """Run both."""
        try:
            self._ours(*args)
        except Exception as error:  # noqa: BLE001 - it would end the server
            faults.report("gunicorn_hook", error)
        if self._theirs is not None:
            self._theirs(*args)

    def before(self, theirs: Callable[..., object]) -> Hook:
        """Return a hook that runs ours and then *theirs*, which may hold ours already."""
        return theirs if isinstance(theirs, Hook) else Hook(self._ours, theirs)


_supervisor = Supervisor()


@Hook
def when_ready(server: Arbiter) -> None:
    """Start the sidecar: before the first worker, while the arbiter has one thread."""
    _supervisor.start(server)


@Hook
def on_reload(server: Arbiter) -> None:
    """Start another sidecar if the sockets or the settings have changed."""
    _supervisor.start(server)


@Hook
def pre_fork(server: Arbiter, worker: Worker) -> None:
    """Start the sidecar again if it has died."""
    _supervisor.look_after(server, worker)


@Hook
def on_exit(_server: Arbiter) -> None:
    """End the sidecar."""
    _supervisor.end()


HOOKS: Final = {
    "when_ready": when_ready,
    "on_reload": on_reload,
    "pre_fork": pre_fork,
    "on_exit": on_exit,
}


def install(namespace: MutableMapping[str, Any], settings: Settings | None = None) -> None:
    """Put our hooks in front of those in *namespace*, the `globals()` of a gunicorn.conf.py.

    As its last line: what is defined behind it replaces ours. To call it twice is harmless.
    *settings* are for applications that give `monitor` their own; by default they come from the
    environment. Nothing is raised: a value that gunicorn refuses stays for gunicorn to refuse.
    """
    _supervisor.settings = settings
    for name, hook in HOOKS.items():
        try:
            namespace[name] = _chained(name, hook, namespace)
        except Exception as error:  # noqa: BLE001 - see above
            faults.report("gunicorn_install", error)


def _chained(name: str, hook: Hook, namespace: MutableMapping[str, Any]) -> Any:  # noqa: ANN401
    """Return what is to stand in *namespace* for the hook *name*."""
    from gunicorn.config import KNOWN_SETTINGS

    if name not in namespace:
        return hook
    judge = next(setting.validator for setting in KNOWN_SETTINGS if setting.name == name)
    try:
        # A hook may also be an import string.
        theirs = judge(namespace[name])
    except TypeError:
        return namespace[name]
    return hook.before(theirs)
