"""When a process serves: it is a gunicorn worker, or it gets its first request.

Before that, nothing is taken: no thread, no file, no lock. An arbiter, a command line or a test run
that imports and wraps an application stays as it was.
"""

from __future__ import annotations

import _thread
import atexit
import logging
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otelmon import embedding, faults, threads
from otelmon.errors import LedgerError, ThreadsError
from otelmon.ledger import files, parentage
from otelmon.ledger.identity import has_one, identify, links
from otelmon.ledger.parentage import Parent


if TYPE_CHECKING:
    from pathlib import Path

    from otelmon.keeper import Keeper
    from otelmon.ledger.identity import Identity
    from otelmon.ledger.ledger import Ledger
    from otelmon.ledger.pen import Pen
    from otelmon.recommendations.evidence import Server
    from otelmon.settings import Settings


# How long a forked child is looked at for becoming a gunicorn worker: it does so at its boot.
_WATCH_SECONDS: Final = 30.0
_WATCH_PAUSE: Final = 0.05
# What did not begin, as where no thread can be had, is tried again at a request after this long.
_AGAIN_SECONDS: Final = 10.0
_KINDS: Final = {"SyncWorker": "sync", "ThreadWorker": "gthread", "GeventWorker": "gevent"}


def gunicorn_worker() -> Any | None:  # noqa: ANN401 - gunicorn has no types
    """Return gunicorn's worker object if this process is one of its workers."""
    worker = _nearest_worker()
    return worker if worker is not None and worker.pid == os.getpid() else None


def _nearest_worker() -> Any | None:  # noqa: ANN401 - as above
    """Return the worker that this process is or comes from.

    A worker installs one of its methods as the handler of SIGTERM before it imports the
    application, whatever its class and configuration; what it forks inherits the handler.
    """
    base = sys.modules.get("gunicorn.workers.base")
    owner = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return owner if base is not None and isinstance(owner, base.Worker) else None


def place_of(settings: Settings) -> Path:
    """Return the directory that takes the ledger.

    Raises:
        LedgerError: none can be used; the message says why for each.
    """
    return files.first_usable(
        files.candidates(
            chosen=settings.ledger_dir,
            runtime_dir=settings.runtime_dir,
            tmp_dir=settings.tmp_dir,
        )
    )


class Belonging(NamedTuple):
    """How this process belongs to the server."""

    worker: Any | None  # gunicorn's
    descriptors: list[int]  # of the server's listening sockets
    identity: Identity | None  # None if it shares nothing with others


def belonging(name: str | None, *, forker: int | None) -> Belonging:
    """Find out which instance this process serves for, which it does by now.

    *name* overrides what the sockets say; *forker* is the process that wrapped the application and
    forked this one, if any did.
    """
    worker = gunicorn_worker()
    if worker is None and "gunicorn.arbiter" in sys.modules:
        # The arbiter, where an application that is preloaded may try itself out. After an upgrade
        # it has listening sockets by then, and is no server for all that.
        return Belonging(None, [], None)
    if worker is None:
        descriptors = parentage.listening()
        parent = parentage.parent(descriptors, forker=forker)
    else:
        descriptors = [each.fileno() for each in worker.sockets]
        group = "" if worker.cfg.reuse_port else None
        parent = Parent(worker.ppid, certain=True, group=group)
    identity = identify(
        descriptors, name=name, parent=parent.pid, worker=parent.certain, group=parent.group
    )
    return Belonging(worker, descriptors, identity)


class Serving:
    """Gives this process its slot and its beat as soon as it serves."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        """Do nothing yet."""
        self._settings = settings
        self._ledger = ledger
        self._lock = threads.original(_thread, "RLock")()
        self._worker: Any | None = None
        self._descriptors: list[int] = []
        self._sockets: set[Path] = set()
        self._forker: int | None = None
        self.identity: Identity | None = None
        """The instance that this process serves for; None until then, and where it shares nothing"""
        self.keeper: Keeper | None = None
        self.begun = False
        self._again_at: float | None = None
        """When to try again; None where there is nothing to"""

    @property
    def settled(self) -> bool:
        """Tell whether all has begun that is to, so that nobody need call `begin` again."""
        return self.begun and self._again_at is None

    @property
    def log(self) -> Any:  # noqa: ANN401 - gunicorn has no types
        """Return where a server's operator looks: gunicorn's own log, else a logger."""
        return logging.getLogger("otelmon") if self._worker is None else self._worker.log

    def watch(self) -> None:
        """Serve at once if this process is a gunicorn worker."""
        if gunicorn_worker() is not None:
            self.begin()

    def watch_child(self) -> None:
        """After a fork: look whether this child becomes a worker, for as long as its boot takes.

        That is how workers are known before any request under `--preload`, where the application
        was wrapped in the arbiter. A child of a worker becomes none; should it serve all the same,
        its first request tells.
        """
        if "gunicorn.workers.base" in sys.modules and _nearest_worker() is None:
            threads.start(self._watch)

    def _watch(self) -> None:
        pause, deadline = threads.Alarm(), time.monotonic() + _WATCH_SECONDS
        while not self.begun and time.monotonic() < deadline:
            self.watch()
            pause.wait(_WATCH_PAUSE)

    def abstain(self) -> None:
        """Never serve in this process: it is no worker, and only beside them."""
        self.begun = True

    def begin(self) -> Pen | None:
        """Claim a slot and begin to beat, once; return the pen to record with.

        What fails is tried again, at the first call after 10 s.
        """
        with self._lock:
            if not self.begun or self._is_again_due():
                # At once: a request that this thread answers meanwhile (in a signal handler, or
                # another greenlet's while a log handler waits) passes unmeasured, or it would wait
                # for itself.
                self.begun, self._again_at = True, None
                try:
                    self._begin()
                except Exception as error:  # noqa: BLE001 - the application goes on without us
                    self._again_at = time.monotonic() + _AGAIN_SECONDS
                    faults.report("serve", error)
            return self._ledger.pen

    def _is_again_due(self) -> bool:
        return self._again_at is not None and time.monotonic() >= self._again_at

    def _begin(self) -> None:
        if self._ledger.pen is None:
            self._claim()
        if self.keeper is not None and (self._worker is not None or self._descriptors):
            self._beat(self.keeper)

    def _claim(self) -> None:
        worker, descriptors, identity = belonging(self._settings.instance, forker=self._forker)
        self._worker, self._descriptors, self.identity = worker, descriptors, identity
        self._sockets = links(self._descriptors)
        capacity = capacity_of(worker)
        if identity is None:
            self._ledger.serve_alone(capacity=capacity)
        else:
            try:
                self._ledger.serve(place_of(self._settings), identity, capacity=capacity)
            except (LedgerError, OSError) as error:
                faults.report("ledger", error)
                self._ledger.serve_alone(capacity=capacity)
        # A worker that is asked to end goes without a word to the keeper's thread.
        atexit.unregister(self._ledger.book_faults)  # the parent's, in a forked child
        atexit.register(self._ledger.book_faults)

    def _beat(self, keeper: Keeper) -> None:
        if embedding.runs_threads():
            keeper.start()
            return
        error = ThreadsError(
            "uWSGI stops Python's threads between requests, so there are no figures of the host and "
            "no metrics port; requests are counted. Its option --enable-threads lets them run"
        )
        keeper.rest(error)
        faults.report("threads", error)

    def descriptors(self) -> list[int]:
        """Return the server's listening sockets."""
        return self._descriptors

    def server(self) -> Server | None:
        """Return how gunicorn was told to serve; None under any other server."""
        worker = self._worker
        if worker is None:
            return None
        # Here, because only the keeper asks, and is to pay for the import.
        from otelmon.recommendations.evidence import Server

        kind = _KINDS.get(type(worker).__name__, type(worker).__name__)
        cfg = worker.cfg
        return Server(kind, int(cfg.workers), int(cfg.threads), float(cfg.timeout))

    def draining(self) -> bool:
        """Tell whether this process takes no new requests.

        gunicorn asked it to end, or a server of another kind has closed its sockets.
        """
        if self._worker is not None:
            return not self._worker.alive
        return bool(self._sockets) and not self._listens()

    def _listens(self) -> bool:
        # The second look is a long one where there are many connections; it is hardly ever needed.
        at_their_places = links(self._descriptors) & self._sockets
        return bool(at_their_places) or has_one(os.getpid(), self._sockets)

    def ending(self) -> bool:
        """Tell whether the server ends, and not only this worker, which another one replaces.

        gunicorn's arbiter closes its sockets before it asks its workers to end.
        """
        parent = os.getppid() if self._worker is None else self._worker.ppid
        return self.draining() and not has_one(parent, self._sockets)

    def forget(self) -> None:
        """Be as new in a forked child."""
        self._lock = threads.original(_thread, "RLock")()
        self._worker, self._descriptors, self.begun = None, [], False
        self.identity, self._again_at = None, None
        self._sockets, self._forker = set(), os.getppid()

    def end(self) -> None:
        """Serve no longer."""
        if self.keeper is not None:
            self.keeper.stop()
        atexit.unregister(self._ledger.book_faults)
        self._ledger.close()
        self.begun, self.identity, self._again_at = False, None, None


def capacity_of(worker: Any | None) -> int:  # noqa: ANN401 - gunicorn has no types
    """Return how many requests a gunicorn worker serves at once; 0 where that is no number."""
    if worker is None:
        return 0
    name = type(worker).__name__
    return {"SyncWorker": 1, "ThreadWorker": int(worker.cfg.threads)}.get(name, 0)
