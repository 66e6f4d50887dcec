"""All that is proven of SQLAlchemy 2.1 holds with 2.0 too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gunicorn_server import ROOT


OLDER = Path(sys.prefix) / "sqlalchemy20"
TESTS = (
    "test_databases_pools.py",
    "test_databases_requests.py",
    # These with a PostgreSQL, behind a network that fails; also by asyncio.
    "test_databases_troubled.py",
    "test_engines.py",
)


# They are many: on a busy machine they take more than two minutes.
@pytest.mark.timeout(300)
def test_the_same_tests_pass_with_it() -> None:
    """Pools, queries and `create_engine` are tested again, with the older version before the newer."""
    env = {**os.environ, "PYTHONPATH": str(OLDER)}  # noqa: TID251 - a child needs its PATH
    version = subprocess.run(
        [sys.executable, "-c", "import sqlalchemy; print(sqlalchemy.__version__)"],
        check=True,
        capture_output=True,
        text=True,
        env=env,
    )
    assert version.stdout.startswith("2.0.")
    tests = [f"tests/{name}" for name in TESTS]
    plain = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *plain, *tests],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=env,
        timeout=280,
    )
    assert ran.returncode == 0, ran.stdout
