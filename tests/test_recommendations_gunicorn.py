"""Recommendations of real servers: one with many faults, its healthy twin, and one that is too small."""

from __future__ import annotations

import contextlib
import http.client
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.cgroups import MIB, plant
from tests.container_site import V2
from tests.gunicorn_server import Gunicorn
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


PATH: Final = "/api/metrics/recommendations"
APP: Final = "tests.apps.faulty:app"
OFTEN: Final = {"MONITORING_INTERVAL": "1"}
# How often each is asked for in a round: 4xx above 20 %, errors above 1 %, nameless above 10 %.
ROUND: Final = (
    *["/broken-link"] * 12,
    *["/nameless"] * 8,
    *["/leak"] * 10,
    *["/cache"] * 12,
    *["/user"] * 4,
    *["/checkout"] * 2,
    "/orders",
    *["/report"] * 2,
)
FAULTS: Final = {
    "OTM-R001": "high-cpu",
    "OTM-R003": "high-memory",
    "OTM-R004": "worker-growth",
    "OTM-R005": "disk-space",
    "OTM-R006": "errors",
    "OTM-R007": "slow-routes",
    "OTM-R010": "too-many-workers",
    "OTM-R013": "pool-exhausted",
    "OTM-R014": "connection-budget",
    "OTM-R015": "n-plus-one",
    "OTM-R016": "cache-misses",
    "OTM-R021": "unmatched-routes",
    "OTM-R022": "client-errors",
    "OTM-R023": "monitoring",
    "OTM-R024": "no-checks",
    "OTM-R025": "unused-settings",
    "OTM-R026": "cardinality",
}
GROUP: Final = "sys/fs/cgroup/pod/app"
MEMORY: Final = f"{GROUP}/memory.current"
SMALL: Final = {"OTM-R002", "OTM-R008", "OTM-R009", "OTM-R011", "OTM-R020"}


def send(server: Gunicorn) -> None:
    """Ask for one round, one after the other."""
    for path in ROUND:
        server.get(path)


def made(server: Gunicorn) -> dict[str, dict[str, Any]]:
    """Return all that is recommended, by id."""
    return {each["id"]: each for each in server.get(f"{PATH}?all").json()["items"]}


def checked(server: Gunicorn) -> dict[str, str]:
    """Return the status of each."""
    found = server.get(f"{PATH}?all").json()["checked"]
    return {each["id"]: each["status"] for each in found}


@pytest.fixture(name="faulty", scope="module")
def _faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gunicorn]:
    """Have every fault."""
    env = {
        **OFTEN,
        # So low that this machine, whatever it does, is above them.
        "ALERT_CPU_THRESHOLD": "0.5",
        "ALERT_MEMORY_THRESHOLD": "0.5",
        "ALERT_DISK_THRESHOLD": "0.5",
        # Just below what a report takes: on a busy machine other routes take long as well.
        "ALERT_RESPONSE_TIME_THRESHOLD": "190",
        "OTELMON_CARDINALITY_LIMIT": "24",
        "MAX_CONTENT_LENGTH": "1000",
    }
    with Gunicorn(tmp_path_factory.mktemp("faulty"), app=APP, workers=8, env=env) as server:
        server.wait_for_workers(seconds=60)
        yield server


Found = dict[str, dict[str, Any]]


@pytest.fixture(name="found")
def _found(faulty: Gunicorn) -> Found:
    """Have traffic until all faults are found, and keep that: memory soon grows no more."""
    found: Found = {}

    def all_were_found() -> bool:
        nonlocal found
        send(faulty)
        found = made(faulty)
        return set(FAULTS) <= set(found)

    assert until(all_were_found, 60), (set(FAULTS) - set(found), checked(faulty))
    return found


@pytest.fixture(name="healthy", scope="module")
def _healthy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gunicorn]:
    """Have the same traffic and none of the faults."""
    env = {
        **OFTEN,
        "HEALTHY": "1",
        # What other programs do on this machine is none of its faults.
        "ALERT_CPU_THRESHOLD": "off",
        "ALERT_MEMORY_THRESHOLD": "100",
        "ALERT_DISK_THRESHOLD": "100",
        # Nobody writes to it, so it does not look as if it were full soon.
        "DISK_PATH": "/dev",
        "ALERT_RESPONSE_TIME_THRESHOLD": "2000",
    }
    with Gunicorn(tmp_path_factory.mktemp("healthy"), app=APP, workers=2, env=env) as server:
        server.wait_for_workers(seconds=60)

        def all_were_judged() -> bool:
            send(server)
            return "insufficient_data" not in checked(server).values()

        assert until(all_were_judged, 60), checked(server)
        yield server


def test_every_fault_is_found_and_explained(found: Found) -> None:
    """Each has a severity, evidence, an action and a place in the documents, worst first."""
    assert {each: found[each]["slug"] for each in FAULTS} == FAULTS
    for each in found.values():
        assert each["evidence"]
        assert each["actions"]
        assert each["docs"].endswith(f"#{each['id'].lower()}")
        assert each["since"].endswith("Z")
    order = [("critical", "warning", "info").index(each["severity"]) for each in found.values()]
    assert order == sorted(order)


def test_faults_are_named_with_their_numbers(faulty: Gunicorn, found: Found) -> None:
    """The route, the error's class, the setting and what it should be stand in the text."""
    messages = {each["slug"]: each["message"] for each in found.values()}

    assert "POST" not in messages["errors"]
    assert "come from GET /checkout (KeyError)" in messages["errors"]
    assert messages["slow-routes"].startswith("GET /report is slow (p95 ")
    assert found["OTM-R007"]["impact"]["metric"] == "workers"
    assert found["OTM-R007"]["impact"]["estimate"] > 0
    assert messages["too-many-workers"].startswith("8 workers on 1 CPUs but at most ")
    assert found["OTM-R010"]["actions"][0] == {
        "text": "Run fewer workers.",
        "setting": "--workers",
        "present": 8,
        "proposed": found["OTM-R010"]["actions"][0]["proposed"],
    }
    assert 3 <= found["OTM-R010"]["actions"][0]["proposed"] < 8
    assert found["OTM-R004"]["evidence"]["bytes_per_hour"] > 20_000_000
    assert "1 of 1 in use" in messages["pool-exhausted"]
    assert "(8 workers x 20)" in messages["connection-budget"]
    assert messages["n-plus-one"].startswith(
        "GET /orders runs one statement 10 times or more in 100%"
    )
    assert "SELECT" in found["OTM-R015"]["evidence"]["statement"]
    assert messages["cache-misses"].startswith("Low cache hit rate (0.0%).")
    assert "mostly 404 of GET {unmatched}" in messages["client-errors"]
    assert "host_network" in messages["monitoring"]
    assert "MAX_CONTENT_LENGTH" in messages["unused-settings"]
    assert faulty.log.count("MAX_CONTENT_LENGTH") == 1
    assert "shop.seen" in messages["cardinality"]
    assert "attribute user" in messages["cardinality"]


@pytest.mark.usefixtures("found")
def test_the_endpoint_has_ten_sentences_at_the_most(faulty: Gunicorn) -> None:
    """The list is of strings, each with its twin, and the metrics port says the same."""
    said = faulty.get(PATH).json()

    assert len(said["recommendations"]) == len(said["items"]) == 10
    assert said["recommendations"] == [each["message"] for each in said["items"]]
    assert type(said["timestamp"]) is int
    assert "checked" not in said


@pytest.mark.usefixtures("found")
def test_all_processes_advise_the_same(faulty: Gunicorn) -> None:
    """Between two looks of the keeper, each worker's answer and the port's are one."""

    def they_agree() -> bool:
        answers = [faulty.get(PATH).json()["items"] for _ in range(8)]
        return all(each == faulty.ops(PATH).json()["items"] for each in answers)

    assert until(they_agree, 60), faulty.log


def test_the_healthy_twin_is_advised_nothing(healthy: Gunicorn) -> None:
    """Under the same traffic each recommendation passes, or is not about it."""
    # If the machine stood still for seconds, samples are missing; of more of them that is little.
    assert until(lambda: "OTM-R023" not in made(healthy), 60), made(healthy)
    assert made(healthy) == {}
    status = checked(healthy)
    passes = {each for each in FAULTS if status[each] == "pass"}
    # The CPU is not asked about there.
    assert passes == set(FAULTS) - {"OTM-R001"}


@pytest.fixture(name="small", scope="module")
def _small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gunicorn]:
    """Have one worker for three clients, requests near the timeout, and a container that is full."""
    directory = tmp_path_factory.mktemp("small")
    tree = {
        **V2,
        MEMORY: f"{195 * MIB}\n",
        f"{GROUP}/memory.stat": "anon 5\ninactive_file 0\nactive_file 7\n",
    }
    root = plant(directory / "machine", tree)
    env = {**OFTEN, "CONTAINER": str(root)}
    over = Event()
    with (
        # Loaded before: a worker whose start takes longer than that would never come to serve.
        Gunicorn(
            directory, app=APP, workers=1, preload=True, args=("--timeout", "5"), env=env
        ) as server,
        ThreadPoolExecutor(3) as clients,
    ):
        server.wait_for_workers(seconds=60)
        crowd = [clients.submit(_visit, server, over) for _ in range(3)]
        periods = 400

        def all_were_found() -> bool:
            nonlocal periods
            periods += 100
            stat = f"usage_usec 12000000\nnr_periods {periods}\nnr_throttled {periods - 100}\n"
            plant(root, {f"{GROUP}/cpu.stat": stat})
            return set(SMALL) <= _of_port(server).keys()

        try:
            found = until(all_were_found, 60, every=0.5)
            assert found, server.ops(f"{PATH}?all").json()["checked"]
            yield server
        finally:
            over.set()
            # It ends what it does; nobody need wait for all that stand in line.
            server.stop()
            for each in crowd:
                each.result()


def _visit(server: Gunicorn, over: Event) -> None:
    while not over.is_set():
        # A machine that stands still may have the worker run into its timeout.
        with contextlib.suppress(OSError, http.client.HTTPException):
            server.get("/tail", timeout=60)


def _of_port(server: Gunicorn) -> Mapping[str, Any]:
    """Return what is recommended; the workers are all busy, and one may be on its way."""
    answer = server.try_ops(f"{PATH}?all")
    return {} if answer is None else {each["id"]: each for each in answer.json()["items"]}


def _status(server: Gunicorn) -> str | None:
    """Return how the advice about the container's memory stands."""
    answer = server.try_ops(f"{PATH}?all")
    checks = [] if answer is None else answer.json()["checked"]
    return next((each["status"] for each in checks if each["id"] == "OTM-R020"), None)


def test_a_server_that_is_too_small_is_told_so(small: Gunicorn) -> None:
    """One worker, all of it busy, near its timeout, in a container that is throttled and full."""
    found: Mapping[str, Any] = {}

    def all_are_found() -> bool:
        nonlocal found
        found = _of_port(small)
        return set(SMALL) <= found.keys()

    assert until(all_are_found, 60), small.log
    assert found["OTM-R011"]["message"].startswith("Only 1 worker:")
    assert found["OTM-R009"]["actions"][0]["setting"] == "--workers"
    assert found["OTM-R009"]["actions"][0]["present"] == 1
    assert "5 s worker timeout" in found["OTM-R008"]["message"]
    assert "(quota 0.5 CPU)" in found["OTM-R002"]["message"]
    assert "of the container limit (210 MB)" in found["OTM-R020"]["message"]
    # The container says more than the memory in general.
    assert "OTM-R003" not in found


def test_what_was_mended_is_advised_no_more(small: Gunicorn) -> None:
    """The container's memory is given back, and so is the advice; with the fault it is there again."""
    machine = small.directory / "machine"
    assert until(lambda: "OTM-R020" in _of_port(small), 60)
    plant(machine, {MEMORY: f"{50 * MIB}\n"})
    try:
        assert until(lambda: _status(small) == "pass", 60), small.log
    finally:
        plant(machine, {MEMORY: f"{195 * MIB}\n"})
    assert until(lambda: set(SMALL) <= _of_port(small).keys(), 60), small.log
