"""All recommendations together: patience, silence, causes, order; and what they are made of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from otelmon import faults
from otelmon.errors import ConfigError
from otelmon.metrics import slope
from otelmon.recommendations import advice, diary
from otelmon.recommendations.catalogue import RULES, review
from otelmon.recommendations.diary import Entry
from otelmon.recommendations.verdict import Verdict
from otelmon.settings import Settings
from tests.evidences import LIMITED, SECOND, SYNC, evidence, points, pool, rule


if TYPE_CHECKING:
    from otelmon.recommendations.evidence import Evidence


PAGE: Final = Path(__file__).parent.parent / "docs" / "recommendations.md"


def test_what_is_far_past_the_alert_is_critical() -> None:
    """Severity follows the critical threshold of the alert of the same figure."""
    for percent, severity in ((94.0, "warning"), (96.0, "critical")):
        finding = rule("R001").judge(evidence(points=points(cpu_percent=percent))).finding
        assert finding is not None
        assert finding.severity == severity


def test_advice_about_load_waits_for_five_minutes() -> None:
    """With figures of 299 s only what is about configuration is said."""
    given = {"points": points(cpu_percent=99), "server": SYNC._replace(workers=1)}
    early = {each.rule.id: each for each in review(evidence(seconds=299.0, **given))}
    late = {each.rule.id: each for each in review(evidence(seconds=300.0, **given))}

    assert early["OTM-R001"].verdict == Verdict(
        "insufficient_data", "There are figures of 299 s; 300 s are needed."
    )
    assert late["OTM-R001"].is_made
    assert {id_ for id_, each in early.items() if each.is_made} == {"OTM-R011", "OTM-R024"}


@pytest.mark.parametrize("silenced", ["OTM-R024", "otm-r024", "no-checks"])
def test_a_recommendation_can_be_silenced(silenced: str) -> None:
    """By its id or its slug; it is still listed with its status."""
    settings = Settings(recommendations_silenced=(silenced,))
    found = advice.advice(review(evidence(settings=settings)), 1.0, None)

    assert "OTM-R024" not in {each["id"] for each in found.made}
    (listed,) = (each for each in found.checked if each["id"] == "OTM-R024")
    assert (listed["status"], listed["silenced"]) == ("recommend", True)


def test_the_cause_is_named_and_not_its_symptom() -> None:
    """A full container speaks for the memory, an exhausted pool for busy workers."""
    given = {
        "host": {**LIMITED, "container_memory_percent": 91.0},
        "measured": pool(used=30, most=30),
        "points": points(memory_percent=91.0, workers_busy=4, workers_total=4),
    }
    found = {each.rule.id: each for each in review(evidence(**given))}

    assert found["OTM-R003"].suppressed_by == "OTM-R020"
    assert found["OTM-R009"].suppressed_by == "OTM-R013"
    assert not found["OTM-R003"].is_made
    assert found["OTM-R020"].is_made
    assert found["OTM-R013"].is_made


def test_a_recommendation_that_fails_takes_no_other_with_it() -> None:
    """It is reported as a fault, and the rest is judged."""

    def fail(_: Evidence) -> Verdict:
        raise ConfigError("no")

    broken, sound = rule("R001")._replace(judge=fail), rule("R024")
    found = review(evidence(), [broken, sound])

    assert found[0].verdict.status == "insufficient_data"
    assert found[1].is_made
    assert faults.seen()["recommendation"].error == "ConfigError"


def test_worst_comes_first_and_since_goes_on() -> None:
    """Items are ordered by severity, and keep the time at which they were first made."""
    given = {"measured": pool(used=30, most=30), "counts": {"pool_timeouts": 1}}
    first = advice.advice(review(evidence(**given)), 1.0, None)
    second = advice.advice(review(evidence(checks=1, **given)), 99.0, first)
    third = advice.advice(review(evidence()), 99.0, second)

    assert [each["id"] for each in first.made] == ["OTM-R013", "OTM-R024"]
    assert [each["since"] for each in second.made] == ["1970-01-01T00:00:01.000Z"]
    assert [each["since"] for each in third.made] == ["1970-01-01T00:01:39.000Z"]


def test_ids_and_slugs_are_unique_and_documented() -> None:
    """docs/recommendations.md has a section for each, by its id, and for no other."""
    assert len({each.id for each in RULES}) == len({each.slug for each in RULES}) == len(RULES)
    sections = [line for line in PAGE.read_text().splitlines() if line.startswith("### OTM-")]

    assert sorted(line.split()[1] for line in sections) == [each.id for each in RULES]
    assert all(f"`{rule_.slug}`" in PAGE.read_text() for rule_ in RULES)


# -- what they are made of ------------------------------------------------------------------------


def _entry(minutes: float, resident: int = 1, pid: int = 7, **counts: float) -> Entry:
    return Entry(round(minutes * 60 * SECOND), counts, {"0": (pid, resident)})


def test_the_diary_has_an_entry_a_minute_for_an_hour() -> None:
    """What comes sooner is left out, and the oldest goes."""
    entries: list[Entry] = []
    for step in range(240):
        entries = diary.noted(entries, _entry(step / 2), step=60)

    assert len(entries) == diary.MOST_ENTRIES
    assert {entries[n + 1].monotonic - entries[n].monotonic for n in range(60)} == {60 * SECOND}
    assert diary.decode(diary.encode(entries)) == entries


@pytest.mark.parametrize("damaged", [b"", b"[", b"[[1]]", b'[[1, {}, {"0": 7}]]', b"7"])
def test_a_damaged_diary_is_begun_anew(damaged: bytes) -> None:
    """Another version's, or none, is an empty one."""
    assert diary.decode(damaged) == []


def test_what_was_counted_is_what_came_to_it() -> None:
    """Over the window, or since the diary began; what fell or was not counted then is not known."""
    entries = [_entry(n, hits=10 * n, lost=100 - n) for n in range(31)]
    now = _entry(31, hits=310, lost=1, new=5)

    assert diary.counted(entries, now, 900) == {"hits": 150}
    assert diary.counted(entries[30:], now, 900) == {"hits": 10}
    assert diary.counted([], now, 900) == {}
    assert diary.counted([now], now, 900) == {}


def test_growth_is_of_one_process_that_was_looked_at_for_long() -> None:
    """One MB a minute is 60 MB an hour, whatever one sample says; another process begins anew."""
    entries = [_entry(n, 10**9 + n * 10**6) for n in range(40)]
    entries[20] = _entry(20, 5 * 10**9)
    (found,) = diary.growth(entries, _entry(40, 10**9 + 40 * 10**6))

    assert found.bytes_per_hour == pytest.approx(60e6)
    assert diary.growth(entries[:20], _entry(20)) == []
    assert diary.growth(entries, _entry(40, pid=8)) == []


def test_a_slope_is_not_moved_by_what_lies_far_off() -> None:
    """The median of all pairs' slopes; of many points some are enough."""
    line = [(float(x), 3.0 * x) for x in range(3600)]
    line[1800] = (1800.0, 1e9)

    assert slope.theil_sen(line) == pytest.approx(3.0)
    assert slope.theil_sen(line[:1]) is None
    assert slope.theil_sen([(1.0, 2.0), (1.0, 3.0)]) is None
