"""Hooks for gunicorn. They are optional; with them the metrics port has a process of its own.

The last line of a gunicorn.conf.py: `import otelmon.gunicorn; otelmon.gunicorn.install(globals())`.
Without such a file: `gunicorn -c python:otelmon.gunicorn app:app`. An exception in a hook ends the
whole server, so ours report theirs and go on.

To gunicorn every global name here that is one of its settings is one: it must be a hook.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import signal
import time
from typing import TYPE_CHECKING, Any, Final

from otelmon import faults, sidecar, stack, threads
from otelmon.ledger.identity import Process, identify, start_time
from otelmon.settings import Settings


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, MutableMapping

    Arbiter = Any  # gunicorn has no types
    Worker = Any


# A sidecar that ends at once is not started with every worker again.
_AGAIN_SECONDS: Final = 5.0
# Answers that are being given may take this long at the end.
_END_SECONDS: Final = 4.0


class Supervisor:
    """Has one sidecar run as long as the arbiter does. All of it happens in the arbiter's hooks."""

    def __init__(self) -> None:
        """Begin without one."""
        self.settings: Settings | None = None
        self._plan: sidecar.Plan | None = None
        self._process: Process | None = None
        self._again_at = 0.0

    def start(self, server: Arbiter) -> None:
        """Start what the settings and sockets ask for, unless that is what runs already."""
        plan = self._planned(server)
        if plan != self._plan:
            self.end()
        self._plan = plan
        self._ensure(server)

    def look_after(self, server: Arbiter, worker: Worker) -> None:
        """Start another one where the last has died, right before gunicorn forks a worker.

        Then a fork is as safe as that one: gunicorn's own thread, if it has one, is stopped at
        each, and there is none of ours.
        """
        if time.monotonic() >= self._again_at:
            self._ensure(server, worker)

    def end(self) -> None:
        """End the sidecar, and wait for it: the port is free then."""
        process, self._process = self._process, None
        # It is a child of this process, so its id stays its own until this process asks for it.
        if process is not None and process.alive:
            for number in (signal.SIGTERM, signal.SIGKILL):
                os.kill(process.pid, number)
                if _has_ended(process.pid, _END_SECONDS):
                    break
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process.pid, 0)

    def _planned(self, server: Arbiter) -> sidecar.Plan | None:
        settings = self.settings or stack.settings_in_use() or Settings.from_env()
        if settings.disabled or not settings.enable_prometheus:
            return None
        identity = identify(
            [listener.fileno() for listener in server.LISTENERS],
            name=settings.instance,
            parent=os.getpid(),
            worker=True,
            shared=not server.cfg.reuse_port,
        )
        user = sidecar.User(server.cfg.uid, server.cfg.gid, server.cfg.initgroups)
        return None if identity is None else sidecar.Plan(settings, identity, user)

    def _ensure(self, server: Arbiter, *workers: Worker) -> None:
        if self._plan is None or (self._process is not None and self._process.alive):
            return
        self._again_at = time.monotonic() + _AGAIN_SECONDS
        heartbeats = [worker.tmp for worker in (*server.WORKERS.values(), *workers)]
        pid = os.fork()
        if not pid:
            _be_sidecar(self._plan, [*server.LISTENERS, *heartbeats])
        self._process = Process(pid, start_time(pid) or 0)
        server.log.info("otelmon's metrics port has a process of its own (pid: %s)", pid)


def _be_sidecar(plan: sidecar.Plan, inherited: Iterable[sidecar.Closeable]) -> None:
    """Never return: behind this lies the arbiter's code."""
    try:
        stack.abstain()
        sidecar.serve(plan, inherited)
    except Exception as error:  # noqa: BLE001 - the workers have the port then
        faults.report("sidecar", error)
    finally:
        os._exit(0)


def _has_ended(pid: int, seconds: float) -> bool:
    descriptor = os.pidfd_open(pid)
    try:
        poll = threads.original(select, "poll")()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    finally:
        os.close(descriptor)


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
