"""Limits in Redis: one decision over all policies, by the same rule as in memory."""

from __future__ import annotations

import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import pytest
from redis.exceptions import ClusterCrossSlotError

from otelmon import Policy, faults
from otelmon.hardening.limit_redis import LimitRedis
from otelmon.hardening.policies import ruled
from otelmon.ledger.sliding import Window, is_over, rolled, used
from otelmon.settings.variables import warn_once
from tests.free_ports import free_port
from tests.limited import asked, close_limits, limited, passed
from tests.redis_server import KINDS, RedisServer
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from redis import Redis

    from otelmon.hardening.policies import Quota
    from tests.limited import Answered


LOGIN: Final = Policy("login", "5/minute", paths=("/login",), methods=("POST",))
POST: Final = {"path": "/login", "REQUEST_METHOD": "POST"}


@pytest.fixture(name="redis", scope="module", params=KINDS)
def _redis(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis"), request.param) as server:
        yield server


@pytest.fixture(autouse=True)
def _fresh(redis: RedisServer) -> Iterator[None]:
    redis.reset()
    yield
    close_limits()


@pytest.fixture(name="machines")
def _machines(redis: RedisServer) -> Iterator[list[LimitRedis]]:
    """Return what eight machines have of one service."""
    found = [LimitRedis(redis.patient_url, "shop") for _ in range(8)]
    yield found
    for each in found:
        each.close()


def quotas(*policies: Policy) -> tuple[Quota, ...]:
    return tuple(quota for ruling in ruled(policies) for quota in ruling.quotas)


def post(app: object) -> Answered:
    return asked(app, "/login", REQUEST_METHOD="POST")


def test_redis_counts_all_policies_and_holds_no_address(redis: RedisServer) -> None:
    """The same answers as from memory, and keys that tell nobody who asked."""
    app = limited(env={"REDIS_URL": redis.patient_url}, policies=[LOGIN])
    answers = [post(app) for _ in range(7)]
    assert [each.status for each in answers] == [200] * 5 + [429] * 2
    assert answers[0]["RateLimit"] == '"default";r=99;t=60, "login";r=4;t=60'
    assert answers[6]["RateLimit"] == f'"login";r=0;t={answers[6]["Retry-After"]}'
    assert passed(app, 150) == 95
    with redis.client() as client:
        keys = b" ".join(client.keys("*"))
    assert b"9.9.9.9" not in keys
    assert keys.count(b"otelmon:limits:") == 2


def test_a_request_is_one_question(redis: RedisServer) -> None:
    """However many policies there are, a request is one command; the script is sent once."""
    app = limited(env={"REDIS_URL": redis.patient_url}, policies=[LOGIN])
    assert post(app).status == 200
    redis.reset()
    assert [post(app).status for _ in range(9)] == [200] * 5 + [429] * 4
    found = Counter(redis.calls())
    assert found["EVALSHA"] == 9
    assert not found["SCRIPT"]


def test_two_services_in_one_redis_have_limits_of_their_own(redis: RedisServer) -> None:
    """By OTEL_SERVICE_NAME, whatever is in the name."""
    for name in ("shop", "blog", "shop:{a}", "{}"):
        app = limited(env={"REDIS_URL": redis.patient_url, "OTEL_SERVICE_NAME": name})
        assert passed(app, 110) == 100


def test_who_has_no_name_is_told_so_once(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Two applications without OTEL_SERVICE_NAME share what a client may ask, which is logged with
    the setting; one with a name, and one that counts in memory, are told nothing."""
    warn_once.cache_clear()
    limited(env={"REDIS_URL": redis.patient_url, "OTEL_SERVICE_NAME": "shop"})
    limited(env={})
    assert caplog.messages == []
    one, other = (limited(env={"REDIS_URL": redis.patient_url}) for _ in range(2))
    assert passed(one, 60) + passed(other, 60) == 100
    (said,) = caplog.messages
    assert "unknown_service" in said
    assert "Set OTEL_SERVICE_NAME" in said


def test_a_request_of_several_policies_is_answered_by_a_cluster(tmp_path: Path) -> None:
    """All records of a client are in one slot, as a cluster asks of what a script touches."""
    bus = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with RedisServer(tmp_path, "redis", *bus) as node:
        with node.client(decode_responses=True) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            assert until(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
            with pytest.raises(ClusterCrossSlotError):
                client.mget("a", "b")
        app = limited(
            env={"REDIS_URL": node.patient_url, "OTEL_SERVICE_NAME": "{}"}, policies=[LOGIN]
        )
        assert [post(app).status for _ in range(6)] == [200] * 5 + [429]


def test_a_refused_request_is_counted_under_none_of_its_policies(
    redis: RedisServer, machines: list[LimitRedis]
) -> None:
    """Eight machines race at a limit of 5, for each of 40 clients: 5 pass, and under the other
    policy exactly these 5 are counted, as under memory's."""
    both = quotas(Policy("wide", "20/minute"), Policy("narrow", "5/minute"))
    together = threading.Barrier(len(machines))

    def race(machine: LimitRedis) -> Counter[str]:
        found: Counter[str] = Counter()
        for number in range(40):
            together.wait(30)
            for _ in range(3):
                answer = machine.hit(both, f"client {number}")
                found[f"client {number}"] += all(each.admitted for each in answer.standings)
        return found

    with ThreadPoolExecutor(len(machines)) as threads:
        admitted = sum(threads.map(race, machines), Counter[str]())
    assert set(admitted.values()) == {5}
    for number in range(40):
        (wide,) = machines[0].hit(both[:1], f"client {number}").standings
        assert wide.remaining == 20 - 5 - 1


def test_it_decides_as_the_rule_does(machines: list[LimitRedis]) -> None:
    """Over random hits under one to three short limits: each answer and each window are those of
    `ledger.sliding`, at the time that Redis tells."""
    decide = machines[0]._decide
    known: dict[str, Window] = {}
    admitted: Counter[bool] = Counter()
    # The last one refuses also where the machine is slow.
    limits = {"a": (1, 3), "b": (4, 10), "c": (6, 37), "d": (5, 400)}
    for _ in range(1500):
        names = random.sample(sorted(limits), random.randint(1, 3))
        passes, now, windows = decide(names, [figure for name in names for figure in limits[name]])
        expected = []
        for name in names:
            start, before, hits = known.get(name, (now, 0, 0))
            over = is_over(start, limits[name][1], now)
            expected.append(
                (now, 0, 0) if over else rolled((start, before, hits), limits[name][1], now)
            )
        room = [
            used(window, limits[name][1], now) < limits[name][0]
            for name, window in zip(names, expected, strict=True)
        ]
        assert bool(passes) == all(room)
        expected = [(start, before, hits + passes) for start, before, hits in expected]
        assert [tuple(window) for window in windows] == expected
        if passes:
            known.update(zip(names, expected, strict=True))
        admitted[bool(passes)] += 1
        # The clock is Redis's own, and goes on while it is asked something else.
        for _ in range(random.choice([0, 0, 0, 10, 50])):
            machines[0]._client.ping()
    assert min(admitted[True], admitted[False]) > 100


def test_records_go_when_their_windows_are_over(
    redis: RedisServer, machines: list[LimitRedis]
) -> None:
    """Each lives for twice the length of its window, and its kind tells a cluster where it is."""
    both = quotas(Policy("wide", "20/minute"), Policy("narrow", "5/60 minutes"))
    with redis.client(decode_responses=True) as client:
        began = now(client)
        machines[0].hit(both, "a")
        ended = now(client)
        ends = {key: client.pexpiretime(key) for key in client.keys("*")}
    lives = {":wide:20:60": 120_000, ":narrow:5:3600": 7_200_000}
    assert {key.rpartition("}")[2] for key in ends} == lives.keys()
    for key, end in ends.items():
        life = lives[key.rpartition("}")[2]]
        assert began + life <= end <= ended + life
    assert len({key.partition("{")[2].partition("}")[0] for key in ends}) == 1


def now(client: Redis) -> int:
    """Return the time of a server, in whole milliseconds that are over."""
    seconds, more = client.time()
    return int(seconds) * 1000 + int(more) // 1000


def test_a_redis_that_has_forgotten_the_script_is_sent_it_again(redis: RedisServer) -> None:
    """The count goes on, and nothing fails."""
    app = limited(env={"REDIS_URL": redis.patient_url}, limit="10/minute")
    assert passed(app, 4) == 4
    with redis.client() as client:
        client.script_flush()
    assert passed(app, 20) == 6
    assert "rate_limit" not in faults.seen()
