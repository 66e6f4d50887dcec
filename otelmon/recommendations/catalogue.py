"""All recommendations, and which of them is not made because another one says it better."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from otelmon import faults
from otelmon.recommendations import (
    cache_misses,
    cardinality,
    client_errors,
    connection_budget,
    container_memory,
    cpu_throttled,
    disk_space,
    errors,
    high_cpu,
    high_memory,
    monitoring_itself,
    n_plus_one,
    no_checks,
    pool_exhausted,
    response_tail,
    saturation,
    slow_routes,
    too_few_workers,
    too_many_workers,
    unknown_clients,
    unmatched_routes,
    unused_settings,
    worker_growth,
)
from otelmon.recommendations.evidence import Evidence
from otelmon.recommendations.verdict import Verdict, insufficient


if TYPE_CHECKING:
    from collections.abc import Sequence


Judge = Callable[[Evidence], Verdict]


class Rule(NamedTuple):
    """One recommendation. Its id never changes meaning."""

    id: str
    slug: str
    title: str
    judge: Judge
    patient: bool = True
    """It is about load, so it needs figures of five minutes"""
    suppressed_by: tuple[str, ...] = ()
    """If one of these is made, this one is not: that one names the cause"""


RULES: Final = (
    Rule("OTM-R001", "high-cpu", "High CPU usage", high_cpu.judge),
    Rule("OTM-R002", "cpu-throttled", "CPU limit reached", cpu_throttled.judge),
    Rule(
        "OTM-R003",
        "high-memory",
        "High memory usage",
        high_memory.judge,
        suppressed_by=("OTM-R020",),
    ),
    Rule("OTM-R004", "worker-growth", "Worker memory grows", worker_growth.judge),
    Rule("OTM-R005", "disk-space", "Disk space runs out", disk_space.judge),
    Rule("OTM-R006", "errors", "Requests fail", errors.judge),
    Rule("OTM-R007", "slow-routes", "Slow routes", slow_routes.judge),
    Rule("OTM-R008", "response-tail", "Requests close to the timeout", response_tail.judge),
    Rule(
        "OTM-R009",
        "saturation",
        "Workers are saturated",
        saturation.judge,
        suppressed_by=("OTM-R013",),
    ),
    Rule("OTM-R010", "too-many-workers", "Too many workers", too_many_workers.judge),
    Rule("OTM-R011", "too-few-workers", "Too few workers", too_few_workers.judge, patient=False),
    Rule("OTM-R013", "pool-exhausted", "Database pool exhausted", pool_exhausted.judge),
    Rule(
        "OTM-R014",
        "connection-budget",
        "Too many database connections possible",
        connection_budget.judge,
        patient=False,
    ),
    Rule("OTM-R015", "n-plus-one", "Repeated queries", n_plus_one.judge),
    Rule("OTM-R016", "cache-misses", "Low cache hit rate", cache_misses.judge),
    Rule("OTM-R020", "container-memory", "Container memory limit near", container_memory.judge),
    Rule("OTM-R021", "unmatched-routes", "Requests without a route", unmatched_routes.judge),
    Rule("OTM-R022", "client-errors", "Many client errors", client_errors.judge),
    Rule("OTM-R023", "monitoring", "Monitoring has trouble", monitoring_itself.judge),
    Rule("OTM-R024", "no-checks", "No health checks", no_checks.judge, patient=False),
    Rule(
        "OTM-R025",
        "unused-settings",
        "Settings that do nothing",
        unused_settings.judge,
        patient=False,
    ),
    Rule("OTM-R026", "cardinality", "Too many series", cardinality.judge, patient=False),
    Rule(
        "OTM-R027",
        "unknown-clients",
        "Clients that nobody can tell are not limited",
        unknown_clients.judge,
        patient=False,
    ),
)
"""In the order of their ids; missing numbers are of recommendations to come"""


class Reviewed(NamedTuple):
    """A recommendation and how it stands."""

    rule: Rule
    verdict: Verdict
    silenced: bool = False
    suppressed_by: str | None = None

    @property
    def is_made(self) -> bool:
        """Tell whether it is to be shown as advice."""
        is_held_back = self.silenced or self.suppressed_by is not None
        return self.verdict.status == "recommend" and not is_held_back


def review(evidence: Evidence, rules: Sequence[Rule] = RULES) -> list[Reviewed]:
    """Judge all of them; one that fails is reported, and not known."""
    verdicts = {rule.id: _judged(rule, evidence) for rule in rules}
    made = {id_ for id_, verdict in verdicts.items() if verdict.status == "recommend"}
    unwanted = {each.lower() for each in evidence.settings.recommendations_silenced}
    return [
        Reviewed(
            rule,
            verdicts[rule.id],
            silenced=not unwanted.isdisjoint((rule.id.lower(), rule.slug)),
            suppressed_by=next((each for each in rule.suppressed_by if each in made), None),
        )
        for rule in rules
    ]


def _judged(rule: Rule, evidence: Evidence) -> Verdict:
    if rule.patient and evidence.seconds < evidence.patience:
        return insufficient(
            f"There are figures of {evidence.seconds:.0f} s; {evidence.patience:.0f} s are needed."
        )
    try:
        return rule.judge(evidence)
    except Exception as error:  # noqa: BLE001 - the others may still be judged
        faults.report("recommendation", error)
        return insufficient(f"It could not be judged ({type(error).__name__}).")
