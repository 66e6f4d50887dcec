"""A real Prometheus that scrapes what a test names: started on a free port, asked by its own API."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from tests.free_ports import free_port
from tests.gunicorn_server import ask
from tests.prometheus_program import PrometheusProgram
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# The first scrape comes 5 s after the start, whatever the interval.
FIRST_SCRAPE = 60.0


@dataclass(frozen=True)
class Target:
    """What to scrape, with more of a scrape's configuration in *options*."""

    port: int
    path: str = "/metrics"
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """One element of a query's result."""

    labels: Mapping[str, str]
    value: float


class Prometheus(PrometheusProgram):
    """One running Prometheus. *targets* are by the name of their job."""

    def __init__(self, directory: Path, targets: Mapping[str, Target]) -> None:
        """Describe it; the first sample comes some seconds after its start."""
        self._jobs = set(targets)
        port, config = free_port(), directory / "prometheus.yml"
        # JSON is YAML as well.
        config.write_text(json.dumps(_config(targets)))
        command = [
            *("prometheus", f"--config.file={config}"),
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        super().__init__(command, port=port, log_path=directory / "prometheus.log")

    def api(self, path: str, **parameters: str) -> Any:  # noqa: ANN401 - whatever it is
        """Ask `/api/v1/` and return the data of the answer."""
        answer = ask(self.port, f"/api/v1/{path}?{urlencode(parameters)}").json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression: str, at: float | None = None) -> list[Sample]:
        """Evaluate an expression that gives a vector, as of now or the Unix time *at*."""
        moment = {} if at is None else {"time": f"{at:.3f}"}
        data = self.api("query", query=expression, **moment)
        assert data["resultType"] == "vector", data
        return [Sample(each["metric"], float(each["value"][1])) for each in data["result"]]

    def number(self, expression: str, at: float | None = None) -> float | None:
        """Evaluate an expression that gives one sample at most."""
        found = self.query(expression, at)
        assert len(found) <= 1, found
        return found[0].value if found else None

    def scraped(
        self, *, after: float = 0.0, jobs: set[str] | None = None, at: float | None = None
    ) -> bool:
        """Tell whether the last scrape of all *jobs*, every one by default, was well and *after*.

        The last one is that as of now, or as of the Unix time *at*.
        """
        found = self.query(f"up == 1 and timestamp(up) > {after:.3f}", at)
        return self._names(jobs) <= {each.labels["job"] for each in found}

    def wait_for_scrapes(self, jobs: set[str] | None = None) -> None:
        """Wait for a scrape of each of the *jobs* from now on."""
        now = _now()
        assert until(lambda: self.scraped(after=now, jobs=jobs), FIRST_SCRAPE, every=0.05), self.log

    def moment_of_scrapes(self, jobs: set[str] | None = None) -> float:
        """Return a time as of which the last scrape of each of the *jobs* was well and from now on.

        What is asked as of it never changes again: a scrape bears the time of its beginning, and
        one that was under way then, and failed, would take all series away.
        """
        began, moments = _now(), list[float]()

        def all_are_in() -> bool:
            if not moments and self.scraped(after=began, jobs=jobs):
                moments.append(_now())
            if not moments or not self._is_over(moments[-1], jobs):
                return False
            return self.scraped(after=began, jobs=jobs, at=moments[-1]) or not moments.pop()

        assert until(all_are_in, FIRST_SCRAPE, every=0.05), self.log
        return moments[-1]

    def _is_over(self, moment: float, jobs: set[str] | None) -> bool:
        """Tell whether all that was under way at a moment has ended: a later one has, of each job."""
        found = self.query(f"timestamp(up) > {moment:.3f}")
        return self._names(jobs) <= {each.labels["job"] for each in found}

    def _names(self, jobs: set[str] | None) -> set[str]:
        return self._jobs if jobs is None else jobs


def _now() -> float:
    return time.time_ns() / 1e9


def _config(targets: Mapping[str, Target]) -> dict[str, object]:
    # A scrape may take as long as the pause between two: half a second, also on a busy machine.
    return {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms"},
        "scrape_configs": [
            {
                "job_name": job,
                "metrics_path": target.path,
                "static_configs": [{"targets": [f"127.0.0.1:{target.port}"]}],
                **target.options,
            }
            for job, target in targets.items()
        ],
    }
