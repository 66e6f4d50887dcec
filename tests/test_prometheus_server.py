"""What a real Prometheus makes of a real gunicorn: exact counts, no falls, every name and label."""

from __future__ import annotations

import base64
import gzip
import subprocess
from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import pytest

from tests import prometheus_text
from tests.scraped_site import BEARER, ERRORS, JOBS, KILLS, SENT, TOKEN, Site, scraped_site


if TYPE_CHECKING:
    from collections.abc import Iterator


pytestmark = pytest.mark.serial

# What the specification names and this version has: its kind, and its labels beside the target's.
SEED: Final[dict[str, tuple[str, set[str]]]] = {
    "system_cpu_usage_percent": ("gauge", set()),
    "system_memory_usage_bytes": ("gauge", set()),
    "system_memory_usage_percent": ("gauge", set()),
    "system_disk_usage_bytes": ("gauge", set()),
    "system_disk_usage_percent": ("gauge", set()),
    "system_network_bytes_sent": ("gauge", set()),
    "system_network_bytes_recv": ("gauge", set()),
    "app_requests_total": ("counter", {"method", "endpoint", "status"}),
    "app_request_duration_seconds": ("histogram", {"method", "endpoint", "status"}),
    "app_errors_total": ("counter", {"type"}),
    "app_active_connections": ("gauge", set()),
}


@pytest.fixture(name="site", scope="module")
def _site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with scraped_site(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.mark.parametrize("job", JOBS)
def test_both_ports_are_up(site: Site, job: str) -> None:
    """`up` is 1 for the application's port by Bearer token, for the metrics port by password."""
    assert site.number(f'up{{job="{job}"}}') == 1


def test_without_the_token_nothing_is_scraped(site: Site) -> None:
    """A Prometheus that sends no token is told 401, and has nothing but `up` at 0."""
    stranger = '{job="stranger"}'
    (target,) = [
        each
        for each in site.prometheus.api("targets")["activeTargets"]
        if each["labels"]["job"] == "stranger"
    ]

    assert site.number(f"up{stranger}") == 0
    assert site.number("count({__name__=~'app_.+', job='stranger'})") is None
    assert "401" in target["lastError"]


@pytest.mark.parametrize("job", JOBS)
def test_the_counts_are_what_the_clients_sent(site: Site, job: str) -> None:
    """By method, endpoint and status PromQL gives the number of requests sent, no more, no less."""
    found = {
        (each.labels["method"], each.labels["endpoint"], each.labels["status"]): each.value
        for each in site.query(f'app_requests_total{{job="{job}"}}')
    }
    crowd = found.pop(("GET", "/stream/<seconds>", "200"))

    assert found == SENT
    assert crowd > 0


@pytest.mark.parametrize("job", JOBS)
def test_the_errors_are_what_the_application_did(site: Site, job: str) -> None:
    """Errors are counted by exception or status, and the known ones that never came are at 0."""
    found = site.query(f'app_errors_total{{job="{job}"}}')

    assert {each.labels["type"]: each.value for each in found} == ERRORS


def test_an_increase_is_seen_from_the_first_error_on(site: Site) -> None:
    """`increase()` over the traffic sees the first errors of a known type, as it began at 0."""
    increase = f'increase(app_errors_total{{job="app", type="http_503"}}[{site.window}])'

    # PromQL extrapolates to the ends of the window.
    assert site.number(increase) == pytest.approx(6, rel=0.4)


@pytest.mark.parametrize("job", JOBS)
def test_every_request_of_killed_workers_is_accounted_for(site: Site, job: str) -> None:
    """Started is booked plus lost; and the crowd's booked and lost lie between its own counts."""
    total = f'sum(app_requests_total{{job="{job}"}})'
    lost = site.number(f'app_requests_lost_total{{job="{job}"}}')
    booked = site.number(f'sum(app_requests_total{{job="{job}", endpoint="/stream/<seconds>"}})')
    assert booked is not None
    assert lost is not None

    assert site.number(f'app_requests_started_total{{job="{job}"}} - on() {total}') == lost
    assert lost <= KILLS
    assert site.crowd.completed <= booked + lost <= site.crowd.attempts
    assert site.number(f'otelmon_worker_deaths_total{{job="{job}"}}') == KILLS


def test_nothing_that_grows_ever_fell(site: Site) -> None:
    """Over four `kill -9` no counter, bucket, sum or count was reset in Prometheus's own eyes."""
    growing = [
        name for name in site.names() if name.endswith(("_total", "_bucket", "_sum", "_count"))
    ]
    resets = [
        each
        for name in growing
        for each in site.query(f'resets({name}{{job=~"app|port"}}[{site.window}])')
    ]
    scrapes = site.number(
        f'count_over_time(app_requests_started_total{{job="app"}}[{site.window}])'
    )

    assert [each for each in resets if each.value != 0] == []
    assert len(resets) > 100
    assert scrapes is not None
    assert scrapes > KILLS


def test_no_rate_is_negative(site: Site) -> None:
    """Raw values between scrapes never fall, so neither `increase` nor `rate` is made up."""
    rates = site.query(f"rate(app_requests_total[{site.window}])")
    assert rates
    assert min(each.value for each in rates) >= 0

    raw = site.prometheus.api(
        "query",
        query=f'app_requests_started_total{{job="app"}}[{site.window}]',
        time=f"{site.at:.3f}",
    )
    values = [float(value) for _, value in raw["result"][0]["values"]]
    assert all(before <= after for before, after in pairwise(values))


def test_quantiles_can_be_taken(site: Site) -> None:
    """`histogram_quantile` over all workers is a number that fits what the requests took."""
    of = 'app_request_duration_seconds_bucket{job="app", endpoint="%s"}'
    slow = site.number(f"histogram_quantile(0.5, sum by (le) ({of % '/slow/<seconds>'}))")
    streams = of % "/stream/<seconds>"
    rated = f"histogram_quantile(0.95, sum by (le) (rate({streams}[{site.window}])))"
    recent = site.number(rated)

    assert slow is not None
    assert 0.1 <= slow < 10
    assert recent is not None
    assert 0.01 < recent < 10


def test_every_name_of_the_specification_is_there(site: Site) -> None:
    """Each is on both ports, with its own labels and no others."""
    for name, (kind, labels) in SEED.items():
        more = {"le"} if kind == "histogram" else set()
        found = site.query(f"{name}{'_bucket' if more else ''}")

        assert {each.labels["job"] for each in found} == set(JOBS), name
        for each in found:
            own = each.labels.keys() - {"__name__", "job", "instance"}
            assert own == labels | more, name


def test_every_name_is_described(site: Site) -> None:
    """Prometheus's metadata has type and help of each; OpenMetrics names a counter without _total."""
    for name, (kind, _) in SEED.items():
        metadata = site.prometheus.api("metadata", metric=name.removesuffix("_total"))
        (described,) = metadata.values()

        assert {each["type"] for each in described} == {kind}, name
        assert all(each["help"].endswith(".") for each in described), name


def test_whatever_is_stored_is_described(site: Site) -> None:
    """No family of ours comes without a type."""
    metadata = site.prometheus.api("metadata")
    suffixes = ("_total", "_bucket", "_sum", "_count")

    def families(name: str) -> set[str]:
        return {name, *(name.removesuffix(suffix) for suffix in suffixes)}

    assert len(site.names()) > 20
    assert [name for name in site.names() if families(name).isdisjoint(metadata)] == []


def test_both_ports_say_the_same(site: Site) -> None:
    """Whichever worker or port was asked: each count of one job is that of the other."""
    values = defaultdict[frozenset[tuple[str, str]], dict[str, float]](dict)
    for each in site.query('{__name__=~"app_.+_(total|bucket|count)"}'):
        own = {key: value for key, value in each.labels.items() if key not in ("job", "instance")}
        values[frozenset(own.items())][each.labels["job"]] = each.value

    assert len(values) > 100
    for said in values.values():
        assert said == dict.fromkeys(JOBS, said["app"])


def test_promtool_has_nothing_to_say(site: Site) -> None:
    """`promtool check metrics` on the text of each port ends with 0 and without a word."""
    for answer in (site.scrape(), site.server.ops("/metrics", headers=BEARER)):
        done = subprocess.run(
            ["promtool", "check", "metrics"], input=answer.body, capture_output=True, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_the_reference_parsers_read_both_formats(site: Site) -> None:
    """prometheus_client reads text and OpenMetrics, and finds the same counts in both."""
    openmetrics = site.scrape(Accept="application/openmetrics-text; version=1.0.0")
    text = site.scrape(Accept="text/plain")
    assert openmetrics.headers["Content-Type"].startswith("application/openmetrics-text; version=1")
    assert text.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    found = [
        prometheus_text.samples(openmetrics.text, openmetrics=True),
        prometheus_text.samples(text.text),
    ]
    # What the machine and the processes have used may grow between the two.
    counts, others = (
        {key: value for key, value in each.items() if key[0].startswith("app_")} for each in found
    )

    assert counts == others
    assert len(counts) > 100
    assert found[0].keys() == found[1].keys()


def test_prometheus_is_given_openmetrics(site: Site) -> None:
    """The Accept header of a real Prometheus gets OpenMetrics, which ends as it must."""
    accept = (
        "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;"
        "q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    )
    answer = site.scrape(Accept=accept)

    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("\n# EOF\n")


def test_gzip_is_sent_to_who_takes_it(site: Site) -> None:
    """Over HTTP a body in gzip says so, is smaller, and holds the same families."""
    plain, zipped = site.scrape(), site.scrape(Accept_Encoding="gzip")
    assert "Content-Encoding" not in plain.headers
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert int(zipped.headers["Content-Length"]) == len(zipped.body) < len(plain.body) / 4
    text = gzip.decompress(zipped.body).decode()

    assert prometheus_text.families(text).keys() == prometheus_text.families(plain.text).keys()


def test_the_figures_of_json_are_those_of_prometheus(site: Site) -> None:
    """`/api/metrics` counts the requests that PromQL sums up."""
    password = base64.b64encode(f"anybody:{TOKEN}".encode()).decode()
    headers = {"Authorization": f"Basic {password}"}
    said = site.server.get("/api/metrics", headers=headers).json()

    assert said["application"]["request_count"] == site.number('sum(app_requests_total{job="app"})')
    assert said["workers"]["deaths"] == KILLS
