"""The shop of tests.apps.flask_database under gunicorn, on whatever database, and what it tells."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from tests.gunicorn_server import ROOT, Gunicorn
from tests.scrapes import samples
from tests.waiting import until


if TYPE_CHECKING:
    from pathlib import Path


ORDERS: Final = 12


def fill(url: str) -> None:
    """Make the tables in a database, in a process of its own: nothing is observed there."""
    subprocess.run(
        [sys.executable, "-c", f"import tests.apps.flask_database as a; a.fill({ORDERS})"],
        check=True,
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url},  # noqa: TID251 - a child needs its PATH
    )


def shop(
    directory: Path,
    url: str,
    *,
    pool: dict[str, Any],
    kind: str = "gthread",
    factory: str = "observed",
) -> Gunicorn:
    """Return the shop on four workers; it is to end before the database does."""
    env = {
        "DATABASE_URL": url,
        "ENGINE_OPTIONS": json.dumps(pool),
        "MONITORING_INTERVAL": "1",
        "ALERT_FOR_SECONDS": "0",
        "ALERT_RESOLVE_SECONDS": "0",
        # They are about the same fault, and look back over a minute.
        "ALERT_ERROR_RATE_THRESHOLD": "off",
        "ALERT_RESPONSE_TIME_THRESHOLD": "off",
    }
    app = f"tests.apps.flask_database:{factory}()"
    args = ("--threads", "8") if kind == "gthread" else ()
    return Gunicorn(directory, app=app, worker_class=kind, args=args, env=env)


def ask_all(server: Gunicorn, *paths: str, method: str = "GET") -> list[int]:
    """Ask for pages, four at once; return how they were answered."""
    with ThreadPoolExecutor(4) as clients:
        asked = clients.map(lambda path: server.get(path, method=method, timeout=90), paths)
        return [answer.status for answer in asked]


def figures(server: Gunicorn) -> dict[str, Any]:
    """Return all figures; for a moment nobody may serve the port whose worker was killed."""
    found: dict[str, Any] = {}

    def answered() -> bool:
        answer = server.try_ops("/api/metrics")
        if answer is not None:
            found.update(answer.json())
        return bool(found)

    assert until(answered, 60), server.log
    return found


def pool(server: Gunicorn) -> dict[str, Any]:
    """Return what is said of the shop's pool."""
    (found,) = figures(server)["pools"] or [{}]
    return dict(found)


def operations(server: Gunicorn) -> dict[str, int]:
    """Return how many queries there were that went well."""
    return {
        each["operation"]: each["count"]
        for each in figures(server)["queries"]["operations"]
        if each["error"] is None
    }


def limits(server: Gunicorn) -> list[float]:
    """Return how many connections each worker was told that the server allows."""
    found = samples(server.ops("/metrics").text).items()
    return [value for key, value in found if key.startswith("otelmon_db_server_connection_limit{")]


def idle(server: Gunicorn) -> bool:
    return bool(figures(server)["application"]["active_connections"] == 0)
