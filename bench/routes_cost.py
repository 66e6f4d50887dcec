"""What it adds to a framework's request to leave its route for otelmon: calls without a server.

There are two applications of each framework, of which one is attached; neither is measured by
otelmon. Flask shows its rule in `start_response`, so an attached one has nothing added; what it costs
to read it there has a row of its own, and so has a Flask that is mounted, which needs a signal.
"""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING

from bench.apps.frameworks import APPS
from bench.interleaved import Cost, measure
from bench.request_cost import request
from bench.tables import show
from otelmon.middleware.routes import attach, flask, matched


if TYPE_CHECKING:
    from collections.abc import Callable


_READ = "Flask, its rule read"
_EMPTY = "a call that does nothing"


def _nothing() -> None:
    return


def _row(name: str, bare: Cost, added: Cost) -> list[str]:
    return [
        name,
        f"{bare.least / 1e3:.1f}",
        f"{(added.least - bare.least) / 1e3:+.2f}",
        f"{(added.median - bare.median) / 1e3:+.2f}",
        f"{(added.least - bare.least) / bare.least:+.1%}",
    ]


def main() -> None:
    """Print what each adapter adds."""
    bare = {name: make() for name, make in APPS.items()}
    attached = {name: make() for name, make in APPS.items()}
    for each in attached.values():
        attach(each)
    bare["Flask, mounted"], attached["Flask, mounted"] = APPS["Flask"](), APPS["Flask"]()
    flask.attach(attached["Flask, mounted"], "/api")
    environ = {"werkzeug.request": SimpleNamespace(url_rule=SimpleNamespace(rule="/orders"))}
    cases: dict[str, Callable[[], object]] = {
        _EMPTY: _nothing,
        _READ: partial(matched, environ),
    }
    for name, app in bare.items():
        # Next to each other, so that a drift of the machine is the same for both.
        cases[f"{name}, bare"] = request(app)
        cases[f"{name}, attached"] = request(attached[name])
    costs = measure(cases, calls=200, rounds=80)
    show(
        "What an adapter adds to a request of its framework, CPU time",
        ["framework", "bare, min (us)", "added, min (us)", "added, median (us)", "of the bare"],
        [_row(name, costs[f"{name}, bare"], costs[f"{name}, attached"]) for name in bare],
    )
    read = (costs[_READ].least - costs[_EMPTY].least) / 1e3
    print(f"\nReading a Flask's rule in start_response: {read:.2f} us.")


if __name__ == "__main__":
    main()
