"""All benchmarks, or those that are named: `python -m bench`, `python -m bench scrape gunicorn`.

Each runs in an interpreter of its own, so that none finds the imports of another.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path


NAMES = (
    *("request", "parts", "routes", "record", "scrape", "death", "views", "board"),
    *("gunicorn", "start", "memory", "sidecar", "idle", "round", "instruments", "databases"),
    *("redis", "sessions", "hardening", "limits"),
)
"""In this order; the module is NAME_cost"""
_COMPARED = (
    "gunicorn",
    "opentelemetry-sdk",
    "opentelemetry-exporter-prometheus",
    "opentelemetry-instrumentation-wsgi",
    "prometheus-client",
)


def machine() -> str:
    """Return what the figures depend on."""
    cpuinfo = Path("/proc/cpuinfo")
    models = [
        line.partition(":")[2].strip()
        for line in (cpuinfo.read_text().splitlines() if cpuinfo.exists() else [])
        if line.startswith("model name")
    ]
    load = Path("/proc/loadavg")
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return "\n".join(
        (
            f"{len(models)} cores, {models[0] if models else platform.machine()}",
            f"{python}, {platform.system()} {platform.release()}",
            ", ".join(f"{name} {version(name)}" for name in _COMPARED),
            f"load average {load.read_text().split()[0] if load.exists() else 'unknown'}",
        )
    )


def main(names: list[str]) -> int:
    """Run the benchmarks *names*, all of them if there are none; return the exit status."""
    unknown = set(names) - set(NAMES)
    if unknown:
        print(f"{__doc__}\nThere is no {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}.")
        return 2
    print(machine(), flush=True)
    failed = []
    for name in names or NAMES:
        print(f"\n## {name}", flush=True)
        began = time.monotonic()
        if subprocess.run([sys.executable, "-m", f"bench.{name}_cost"], check=False).returncode:
            failed.append(name)
        print(f"\n({time.monotonic() - began:.0f} s)", flush=True)
    if failed:
        print(f"\nFailed: {', '.join(failed)}.")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
