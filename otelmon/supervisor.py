"""The arbiter's part in the sidecar: it is started, looked after and ended in gunicorn's hooks."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from typing import TYPE_CHECKING, Any, Final

from otelmon import faults, sidecar, stack, threads
from otelmon.errors import OtelmonError
from otelmon.ledger.identity import Process, identify, start_time
from otelmon.settings import Settings


if TYPE_CHECKING:
    from collections.abc import Iterable

    Arbiter = Any  # gunicorn has no types
    Worker = Any


# A sidecar that ends at once is not started with every worker again.
_AGAIN_SECONDS: Final = 5.0
# Answers that are being given may take this long at the end.
_END_SECONDS: Final = 4.0


class SidecarError(OtelmonError):
    """The sidecar did not end."""


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
        """End the sidecar, and wait for it: the port is free then.

        One that the kernel does not let go, as in a disk that hangs, is left behind.
        """
        process, self._process = self._process, None
        # It is a child of this process, so its id stays its own until this process asks for it.
        if process is not None and process.alive:
            for number in (signal.SIGTERM, signal.SIGKILL):
                os.kill(process.pid, number)
                if _has_ended(process.pid, _END_SECONDS):
                    break
            else:
                faults.report("sidecar", SidecarError(f"Process {process.pid} outlives a SIGKILL"))
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process.pid, os.WNOHANG)

    def _planned(self, server: Arbiter) -> sidecar.Plan | None:
        settings = self.settings or stack.settings_in_use() or Settings.from_env()
        if settings.disabled or not settings.enable_prometheus:
            return None
        identity = identify(
            [listener.fileno() for listener in server.LISTENERS],
            name=settings.instance,
            parent=os.getpid(),
            worker=True,
            group="" if server.cfg.reuse_port else None,
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
