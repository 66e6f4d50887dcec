"""A request that forks is one request, whatever becomes of the child."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from otelmon import faults
from tests.apps.bodies import TEXT, Closing
from tests.gunicorn_server import ROOT
from tests.wsgi_driver import Measured


if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def test_no_fork_inside_a_request_counts_twice(tmp_path: Path) -> None:
    """Children that exit, return through the stack or raise book nothing; new requests are new."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.apps.forking"],
        cwd=ROOT,
        env={**os.environ, "OTELMON_DIR": str(tmp_path), "OTELMON_INSTANCE": "forking"},  # noqa: TID251
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )

    # 3 places, 4 kinds, twice each; and 3 x 2 children that served a request of their own.
    found = json.loads(done.stdout)
    assert found["figures"] == [30, 30, 0, 0]
    assert found["rows"] == [["GET", "{unmatched}", 200, "ok", None, 30]]
    assert "failed" not in done.stderr


@pytest.mark.parametrize("known", [False, True])
def test_a_forked_child_books_nothing_of_its_parent_s_request(known: bool) -> None:
    """A child that returns from its parent's request stores nothing, and reports no failure."""
    reader, writer = os.pipe()

    def app(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", list(TEXT))
        pids.append(os.fork())
        if pids[-1] == 0:
            # What the stack does in every child.
            measured.ledger.forget()
        return Closing([b"abc"])

    pids: list[int] = [1]
    measured = Measured(app)
    if known:
        measured.ask()
        _end_child(pids)
    seen = measured.ask()
    if pids[-1] == 0:
        os.write(writer, repr((seen.body, faults.seen())).encode())
        os._exit(0)
    os.waitpid(pids[-1], 0)
    os.close(writer)

    with os.fdopen(reader) as told:
        assert told.read() == "(b'abc', {})"
    assert measured.row() == ("GET", "{unmatched}", 200, "ok", None, 1 + known)


def _end_child(pids: list[int]) -> None:
    if pids[-1] == 0:
        os._exit(0)
    os.waitpid(pids[-1], 0)
