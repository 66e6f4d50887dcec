"""Systems without shared memory, locks or forks: each process by itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Final


ROOT = Path(__file__).parent.parent
WITHOUT: Final = """
import json, os, random, sys
sys.platform, sys.modules["fcntl"] = "win32", None
del os.register_at_fork, os.posix_fallocate
import otelmon
from otelmon.ledger import identity
identity.network_namespace = lambda: 0

def app(environ, start_response):
    start_response("200 OK", [])
    return [b"ok"]

app = otelmon.monitor(app, otelmon.Settings(instance="named"))
for path in ("/a", "/b", "/api/metrics"):
    body = app({"REQUEST_METHOD": "GET", "PATH_INFO": path}, lambda *_: None)
    answer = b"".join(body)
    getattr(body, "close", lambda: None)()
print(answer.decode())
"""


def test_a_system_without_locks_and_forks_counts_by_itself() -> None:
    """Without fcntl, fork hooks and namespaces it imports, measures, and says that it is alone."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, check=True, cwd=ROOT, timeout=60
    )
    found = json.loads(done.stdout)
    assert found["application"]["request_count"] == 2
    assert found["otelmon"]["instance"]["shared"] is False
