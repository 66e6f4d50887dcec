"""Databases of this process: observed as soon as it imports what speaks to them."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

from otelmon.instruments.databases import limits
from otelmon.instruments.databases.django_hooks import HOOKS as DJANGO
from otelmon.instruments.databases.django_hooks import may_ask
from otelmon.instruments.databases.imports import when_imported
from otelmon.instruments.databases.levels import SCOPE
from otelmon.instruments.databases.pools import Instruments
from otelmon.instruments.databases.queries import Queries
from otelmon.instruments.databases.sqlalchemy_hooks import HOOKS as SQLALCHEMY
from otelmon.instruments.databases.tally import QUERIES
from otelmon.instruments.observing import turns


if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider

    from otelmon.ledger.ledger import Ledger


class _Process:
    """What this process observes, once for all of its applications."""

    def __init__(self) -> None:
        self._ledger: Ledger | None = None
        self._made: tuple[Instruments, Queries] | None = None

    def observe(self, provider: MeterProvider, ledger: Ledger) -> None:
        with turns.lock:
            meter = provider.get_meter(SCOPE.name)
            if self._made is None or self._ledger is not ledger:
                self._ledger = ledger
                self._made = Instruments(meter, ledger), Queries(meter)
                limits.observe(meter, self._made[0])
            QUERIES.observe(meter)
            SQLALCHEMY.observe(*self._made)
            DJANGO.observe(*self._made)
        _hook()

    def rest(self) -> None:
        with turns.lock:
            QUERIES.rest()
            SQLALCHEMY.rest()
            DJANGO.rest()

    def forget(self) -> None:
        if self._made is not None:
            self._made[0].forget()


@cache
def _hook() -> None:
    when_imported("sqlalchemy", _hook_sqlalchemy)
    when_imported("django.db", _hook_django)


def _hook_sqlalchemy() -> None:
    SQLALCHEMY.install()
    QUERIES.expect()


def _hook_django() -> None:
    DJANGO.install()
    # Django imports it in every project.
    if may_ask():
        QUERIES.expect()


_process = _Process()
if hasattr(os, "register_at_fork"):  # Windows has no forks
    os.register_at_fork(after_in_child=_process.forget)


def observe_databases(provider: MeterProvider, ledger: Ledger) -> None:
    """Measure what this process asks of databases on *provider*, whose *ledger* is given.

    SQLAlchemy's engines and Django's connections, also those that are there already. Neither is
    imported; they are hooked when the application does it.
    """
    _process.observe(provider, ledger)


def rest() -> None:
    """Measure nothing more; what is hooked passes on."""
    _process.rest()
