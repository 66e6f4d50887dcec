"""`monitor(app)`: an application, observed by what its process has of the server.

What belongs to the process and not to one application (ledger, keeper, metrics port) is made once,
at the first call, and held here: the only global state there is.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import weakref
from typing import TYPE_CHECKING, Any, Final, TypeVar

from otelmon.errors import ConfigError
from otelmon.instance import Instance, guarded
from otelmon.instruments.databases import observing as databases
from otelmon.instruments.observing import SCOPE
from otelmon.instruments.runtime import Runtime
from otelmon.ledger.ledger import Ledger
from otelmon.metrics.api import adoption
from otelmon.metrics.api.provider import MeterProvider
from otelmon.metrics.api.view import View
from otelmon.middleware import routes
from otelmon.middleware.requests import RequestMetrics
from otelmon.serving import belonging
from otelmon.settings import Settings
from otelmon.settings.arguments import listed, problems_of, refuse, wrong_settings
from otelmon.settings.text import shown
from otelmon.views.ops import OpsApp


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from _typeshed.wsgi import WSGIApplication
    from opentelemetry.metrics import Meter

    from otelmon.ledger.identity import Identity
    from otelmon.metrics.data import MetricsData


log = logging.getLogger("otelmon")

Made = TypeVar("Made")


class Monitor(RequestMetrics):
    """An application that is observed, and the endpoints that show it."""

    def __init__(self, app: WSGIApplication, instance: Instance | None) -> None:
        """Wrap *app*; without an instance only so that it looks the same. See `monitor`."""
        self._instance = instance
        if instance is None:
            super().__init__(app, ledger=Ledger(), serve=lambda: None)
            return
        instance.apps.append(app)
        excluded = instance.settings.excluded()
        super().__init__(
            app,
            ledger=instance.ledger,
            serve=instance.serving.begin,
            settled=lambda: instance.serving.settled,
            endpoints=OpsApp(instance, fallback=app).paths,
            excluded=excluded.search if excluded is not None else None,
        )

    def insert(self, wrap: Callable[[WSGIApplication], WSGIApplication]) -> None:
        """Put what *wrap* makes of the application in its place, inside of what is measured."""
        before, self.app = self.app, wrap(self.app)
        if self._instance is not None:
            apps = self._instance.apps
            apps[apps.index(before)] = self.app

    def close(self) -> None:
        """Let go of this monitor; with the last one, of the process's slot, thread and port.

        The application can still be called through it, unobserved.
        """
        instance, self._instance = self._instance, None
        if instance is not None:
            super().__init__(self.app, ledger=Ledger(), serve=lambda: None)
            _leave(instance, self.app)


# What lies in one place for all processes is no process's own.
_SHARED: Final = View(instrument_name="otelmon.session.active", meter_name=SCOPE, merge="max")

_made: weakref.WeakKeyDictionary[Meter, dict[object, Any]] = weakref.WeakKeyDictionary()
_instance: Instance | None = None
_provider: MeterProvider | None = None
"""Once it is OpenTelemetry's own there is no other in the life of the process."""
_off = False
"""It records nothing, because the environment or a monitor that is disabled says so"""
_runtime: Runtime | None = None
"""It remembers what of this process is counted already, also when all monitors were closed."""


@functools.cache
def _follow_forks() -> None:
    """Have every child forked from now on begin anew; a hook cannot be taken back, so only once."""

    def forget() -> None:
        if _provider is not None:
            guarded(_provider.ledger.forget)
            guarded(_provider.forget)
        if _runtime is not None:
            guarded(_runtime.forget)
        if _instance is not None:
            _instance.forget()

    if hasattr(os, "register_at_fork"):  # Windows has no forks
        os.register_at_fork(after_in_child=forget)


def meter_provider(*, views: Sequence[View] = ()) -> MeterProvider:
    """Return the provider of this process whose instruments all processes of the server share.

    `monitor` makes it OpenTelemetry's own unless there is one, so that nobody needs to ask for it;
    here it is for code that records on it beside another one. *views* are as for `monitor`.

    Raises:
        ConfigError: as `monitor` does.
    """
    _judge(views)
    provider = own_provider()
    _follow(provider, views)
    adoption.adopt(provider)
    return provider


def own_provider() -> MeterProvider:
    """Return it for what otelmon itself records; that decides nothing for the application.

    What is wrapped while modules are imported comes before the views and settings of `monitor`.

    Raises:
        ConfigError: as `monitor` does.
    """
    global _off, _provider  # noqa: PLW0603 - see the module's first lines
    if _provider is None:
        settings = Settings.from_env()
        _off = _off or settings.disabled or settings.sdk_disabled
        _provider = _new_provider(settings, silent=_off)
    return _provider


def on_own_meter(make: Callable[[Meter], Made]) -> Made:
    """Return what *make* makes of this process's own meter: at the first call, and once."""
    meter = own_provider().get_meter(SCOPE)
    made = _made.setdefault(meter, {})
    if make not in made:
        made[make] = make(meter)
    found: Made = made[make]
    return found


def metrics_data() -> MetricsData | None:
    """Return all that is measured now, of all processes, as the SDK's exporters take it.

    Sums and histograms are cumulative; what each process has of its own carries its slot in
    `otelmon.worker`. None before the process serves. To call it imports the SDK.
    """
    return None if _instance is None else _instance.metrics_data()


def _new_provider(settings: Settings, *, silent: bool) -> MeterProvider:
    ledger = Ledger(series_limit=settings.cardinality_limit, total_limit=settings.cardinality_total)
    _follow_forks()
    return MeterProvider(ledger, views=(_SHARED,), disabled=silent)


def _begun(settings: Settings) -> MeterProvider:
    """Return the provider for a first monitor, as its settings say."""
    global _off, _provider  # noqa: PLW0603 - see the module's first lines
    if _off and not settings.sdk_disabled:
        _off, _provider = False, None
    if _provider is None:
        _provider = _new_provider(settings, silent=settings.sdk_disabled)
    elif settings.sdk_disabled:
        _provider.silence()
    _provider.ledger.limit(
        series_limit=settings.cardinality_limit, total_limit=settings.cardinality_total
    )
    return _provider


def _turn_off() -> None:
    """Have nothing recorded in a process whose first monitor is to be none."""
    global _off  # noqa: PLW0603 - see the module's first lines
    # What was observed once goes on after a close; without a monitor nobody sees it.
    if _runtime is None:
        _off = True
        if _provider is not None:
            _provider.silence()


def _judge(views: object) -> None:
    """Raise ConfigError unless *views* are some."""
    example = 'views=[View(instrument_name="queue.*", merge="sum")]'
    for view in listed("views", views, example=example):
        if not isinstance(view, View):
            raise ConfigError(f"views have {shown(view)}: give a list of View, as in {example}.")


def _follow(provider: MeterProvider, views: Sequence[View]) -> None:
    """Have *views* hold from now on; say what they come too late for."""
    wanted = (*views, _SHARED)
    if not views or wanted == provider.views:
        return
    late = provider.made(views)
    if not provider.follow(wanted):
        log.warning(
            "The views given now are not followed: those of the first call hold for the process."
        )
    elif late:
        log.warning(
            "The views given now are followed, but not by %s, made before: call monitor(app, "
            "views=...) first.",
            ", ".join(late),
        )


def _said_in_vain(settings: Settings, used: Settings) -> None:
    """Say which of a further monitor's settings are not followed."""
    differ = [
        each.name
        for each in dataclasses.fields(settings)
        if each.compare and getattr(settings, each.name) != getattr(used, each.name)
    ]
    if differ:
        log.warning(
            "monitor() was called again with another %s, which is not followed: the settings of "
            "the first call hold for the process.",
            ", ".join(differ),
        )


def monitor(
    app: WSGIApplication, settings: Settings | None = None, *, views: Sequence[View] = ()
) -> Monitor:
    """Observe *app*: return a WSGI application that answers as *app* does, and is measured.

    Request metrics over all processes of the server, the host's figures, `/health`, `/livez`,
    `/readyz`, `/api/metrics` and, if enabled, `/metrics` and a metrics port. *settings* come from
    the environment unless given; `Settings.from_env(monitoring_interval=5)` gives some of them. Those of the first call in a process hold for its ledger, keeper
    and port. *views* say how instruments are recorded that are made through the OpenTelemetry API;
    the first that are given hold for the process, for what is made from then on, and what was made
    through the API while there was no provider. What is not followed is a warning in the log. To
    wrap twice is harmless: the request is counted once.

    Raises:
        ConfigError: an argument or a setting is wrong; the message names every setting that is.
    """
    global _instance, _runtime  # noqa: PLW0603 - see the module's first lines
    if isinstance(app, Monitor):
        log.warning("monitor() was called on an application that it had wrapped already.")
        return app
    refuse(problems_of(app, settings))
    _judge(views)
    settings = settings or Settings.from_env()
    settings.warn_of_unheeded()
    if settings.disabled:
        if _instance is None:
            _turn_off()
        return Monitor(app, None)
    if _instance is None:
        provider = _begun(settings)
        _follow(provider, views)
        adoption.adopt(provider)
        _runtime = _runtime or Runtime(provider.ledger)
        _instance = Instance(settings, provider, _runtime)
    else:
        _said_in_vain(settings, _instance.settings)
        _follow(_instance.provider, views)
    observe_databases(_instance.provider)
    routes.attach(app)
    monitored = Monitor(app, _instance)
    _instance.serving.watch()
    return monitored


def observe_databases(provider: MeterProvider | None = None) -> None:
    """Have this process's databases measured, as `monitor` does; by default on its own provider.

    Raises:
        ConfigError: as `monitor` does, where nothing was wrapped yet.
    """
    provider = provider or own_provider()
    if not provider.silent:
        databases.observe_databases(provider, provider.ledger)


def identity_in_use(settings: Settings, *, forker: int | None) -> Identity | None:
    """Return the instance that this process serves for, with or without `monitor`.

    *forker* is as for `serving.belonging`. None where the process shares nothing with others.
    """
    if _instance is None:
        return belonging(settings.instance, forker=forker).identity
    # First: later, the metrics port is among the sockets that this process listens on.
    _instance.serving.begin()
    return _instance.serving.identity


def settings_for(given: Settings | None = None) -> Settings:
    """Return what a part of this process goes by: *given*, else what is in use, else the environment.

    Raises:
        ConfigError: the environment's cannot be used, or what was given is none.
    """
    refuse(wrong_settings(given))
    return given or settings_in_use() or Settings.from_env()


def settings_in_use() -> Settings | None:
    """Return the settings that hold for this process's instance; None before anything was wrapped."""
    return None if _instance is None else _instance.settings


def abstain() -> None:
    """Have this process never serve, whatever was wrapped in it before it was forked."""
    if _instance is not None:
        _instance.serving.abstain()


def _leave(instance: Instance, app: WSGIApplication) -> None:
    global _instance  # noqa: PLW0603 - see the module's first lines
    instance.apps.remove(app)
    if not instance.apps:
        instance.serving.end()
        databases.rest()
        if instance.libraries is not None:
            instance.libraries.close()
        instance.runtime.close()
        _instance = None
