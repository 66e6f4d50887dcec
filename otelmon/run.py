"""`otelmon run`: gunicorn with an application that is observed without a change of its code."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from gunicorn.app.wsgiapp import WSGIApplication
from gunicorn.errors import AppImportError, ConfigError, HaltServer

from otelmon import gunicorn as hooks
from otelmon.errors import OtelmonError
from otelmon.hardening.harden import harden
from otelmon.stack import Monitor, monitor


if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path


class MonitoredApplication(WSGIApplication):  # type: ignore[misc]
    """What the `gunicorn` command runs, with `monitor` around the application and our hooks.

    `harden` stands inside of `monitor`, if it is asked for.

    A gunicorn.conf.py is read as ever, the one of the working directory or that of `-c`; our hooks
    go in front of those that it defines.
    """

    def __init__(
        self, target: str, arguments: Sequence[str], *, hardened: bool, secure: bool
    ) -> None:
        """Serve *target*, as gunicorn writes it, under gunicorn's own *arguments*."""
        self._target = target
        self._arguments = arguments
        self._hardened = hardened
        self._secure = secure
        super().__init__("%(prog)s MODULE[:APP] [-- GUNICORN'S OPTIONS]", prog="otelmon run")

    def init(self, parser: argparse.ArgumentParser, opts: argparse.Namespace, args: Any) -> None:  # noqa: ANN401 - gunicorn has no types
        """Take the application's name from our command, not from gunicorn's arguments."""
        if args or opts.paste:
            what = args[0] if args else f"--paste {opts.paste}"
            raise ConfigError(f"{what!r} names a second application; {self._target!r} is served.")
        super().init(parser, opts, [self._target])

    def load_config(self) -> None:
        """Read all of gunicorn's sources, at the start and at each reload."""
        before = sys.argv
        # gunicorn reads its arguments there, and nowhere else.
        sys.argv = [before[0], *self._arguments]
        try:
            super().load_config()
        finally:
            sys.argv = before
        found = {name: self.cfg.settings[name].get() for name in hooks.HOOKS}
        hooks.install(found)
        for name, hook in found.items():
            self.cfg.set(name, hook)

    def load(self) -> Monitor:
        """Return the application, observed; in each worker, or in the arbiter to preload it.

        Raises:
            AppImportError: there is none of that name, or it cannot be hardened by these settings;
                one sentence, and gunicorn ends with it.
        """
        try:
            app = self.load_wsgiapp()
        except AppImportError as error:
            raise AppImportError(f"{self._target!r} cannot be served: {error}") from None
        except ImportError as error:
            reason = _absence(self._target.partition(":")[0], error)
            if reason is None:
                raise
            raise AppImportError(f"{self._target!r} cannot be served: {reason}") from None
        monitored = app if isinstance(app, Monitor) else monitor(app)
        if self._hardened:
            self._harden(monitored)
        return monitored

    def _harden(self, monitored: Monitor) -> None:
        try:
            harden(monitored, secure=self._secure)
        except OtelmonError as error:
            raise AppImportError(f"{self._target!r} cannot be hardened: {error}") from None


def _absence(module: str, error: ImportError) -> str | None:
    """Say that *module* is not there; None if it is something that the application imports."""
    if error.name is None:
        # gunicorn's own, for the name of a file; it says what the module may be called.
        return str(error) if module.endswith(".py") else None
    if not f"{module}.".startswith(f"{error.name}."):
        return None
    return (
        f"there is no module {error.name!r} in the working directory, --chdir, --pythonpath or "
        "among the packages that are installed."
    )


def run(
    target: str,
    arguments: Sequence[str],
    *,
    env_file: Path | None,
    hardened: bool = False,
    secure: bool = True,
) -> None:
    """Be gunicorn, in this very process, until it ends; *secure* is that of `harden`.

    Raises:
        OtelmonError: the application cannot be had where it was to be preloaded.
        SystemExit: gunicorn has ended; its code is gunicorn's.
    """
    # What gunicorn runs again for an upgrade (USR2), from the directory that it serves.
    file = ["--env-file", str(env_file.absolute())] if env_file is not None else []
    switches = ["--harden"] if hardened else []
    switches += [] if secure else ["--insecure-cookies"]
    sys.argv = ["-m", "otelmon", "run", target, *file, *switches, "--", *arguments]
    try:
        MonitoredApplication(target, arguments, hardened=hardened, secure=secure).run()
    except AppImportError as error:
        raise OtelmonError(str(error)) from None
    except HaltServer as error:
        # gunicorn's own end comes to this when a second worker fails to boot meanwhile.
        sys.exit(error.exit_status)
