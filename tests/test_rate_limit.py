"""RateLimit as a middleware: policies, header fields, refusals, and what passes if it fails."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any
from wsgiref.validate import validator

import pytest
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from otelmon import ConfigError, Policy, faults, monitor
from otelmon.hardening import limit_memory, rate_limit
from otelmon.hardening.limit_measures import LimitMeasures
from otelmon.hardening.limit_memory import MEMORY
from otelmon.ledger import quota_file
from otelmon.ledger.stripes import Stripes
from otelmon.settings.rules import Rate
from tests.limited import Answered, asked, close_limits, limited, ok, passed
from tests.metered import Metered
from tests.redis_server import RedisServer
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from _typeshed.wsgi import StartResponse, WSGIEnvironment


Figures = Callable[[str], dict[object, float]]
LOGIN = Policy("login", "5/minute", paths=("/login",), methods=("POST",))


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    yield
    close_limits()


@pytest.fixture(name="figures")
def _figures(monkeypatch: pytest.MonkeyPatch) -> Figures:
    """Return what tells the figures of an instrument by its one attribute."""
    metered = Metered()
    made = LimitMeasures(metered.meter)
    monkeypatch.setattr(rate_limit, "measures", lambda: made)

    def figures(name: str) -> dict[object, float]:
        found = metered.figures(name)
        return {value: count for ((_, value),), count in found.items()}

    return figures


def _post(app: Any, path: str, **more: str) -> Answered:  # noqa: ANN401 - any application
    return asked(app, path, REQUEST_METHOD="POST", **more)


# -- what is limited -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "options", "most"),
    [
        ({}, {}, 100),
        ({"RATE_LIMIT": "7/hour"}, {}, 7),
        ({"RATE_LIMIT": "7/hour"}, {"limit": "3/minute;5/hour"}, 3),
        ({"RATE_LIMIT": "off"}, {}, 150),
        ({}, {"limit": "off"}, 150),
        ({"OTELMON_DISABLED": "true"}, {}, 150),
        ({}, {"limit": "off", "policies": [Policy("all", Rate(9, 60))]}, 9),
        ({}, {"policies": [Policy("all", "9 per 2 hours")]}, 9),
    ],
)
def test_so_many_requests_of_a_client_pass(
    env: dict[str, str], options: dict[str, Any], most: int
) -> None:
    """The default is RATE_LIMIT; all limits that are given hold together."""
    assert passed(limited(env=env, **options), 150) == most


@pytest.mark.parametrize(
    "path",
    [
        "/login",
        "/login/",
        "/login/form",
        "//login",
        "/./login",
        "/x/../login",
        "//x/..//login",
        "login",
        "x/../login",
    ],
)
def test_no_spelling_of_a_path_leaves_its_policy(path: str) -> None:
    """What an application may read as the same path is under the same limit."""
    app = limited(policies=[LOGIN])
    for _ in range(5):
        assert _post(app, "/login").status == 200
    assert _post(app, path).status == 429


@pytest.mark.parametrize("path", ["/logins", "/", "/x/login", "/x/login/../form"])
def test_another_path_is_under_no_limit_of_its_neighbours(path: str) -> None:
    """A prefix ends where a part of the path ends."""
    app = limited(policies=[LOGIN])
    for _ in range(6):
        _post(app, "/login")
    assert _post(app, path).status == 200


def test_methods_and_patterns_choose_requests() -> None:
    """GET is HEAD too; a pattern is of the whole path."""
    app = limited(
        limit="off",
        policies=[
            Policy("read", "1/minute", methods=("get",)),
            Policy("item", "2/minute", paths=(re.compile(r"/item/\d+"),), methods=("PUT",)),
        ],
    )
    assert asked(app).status == 200
    assert asked(app, REQUEST_METHOD="HEAD").status == 429
    found = [asked(app, f"/item/{n}", REQUEST_METHOD="PUT").status for n in range(4)]
    assert found == [200, 200, 429, 429]
    assert passed(app, 5, path="/item/9/x", REQUEST_METHOD="PUT") == 5


def test_what_one_policy_refuses_is_spent_on_no_other() -> None:
    """After 95 refused logins the client still has what is left of its 100."""
    app = limited(policies=[LOGIN])
    assert [_post(app, "/login").status for _ in range(100)] == [200] * 5 + [429] * 95
    assert passed(app, 150) == 95


def test_exempt_paths_pass_but_no_disguise_of_another_one() -> None:
    """`/static/../login` is not static."""
    app = limited(exempt=["/static", re.compile("/pixel.gif")])
    assert passed(app, 150, path="/static/a.css") == 150
    assert passed(app, 150, path="/pixel.gif") == 150
    assert passed(app, 150, path="/static/../login") == 100


def test_what_monitor_answers_is_not_limited() -> None:
    """A probe is no client, whichever way both are wrapped."""
    inner, outer = monitor(ok), monitor(limited(limit="1/minute"))
    try:
        for app, address in ((outer, "9.9.9.9"), (limited(inner, limit="1/minute"), "8.8.8.8")):
            assert passed(app, 5, path="/livez", address=address) == 5
            assert passed(app, 5, address=address) == 1
    finally:
        inner.close()
        outer.close()


def test_nor_is_what_a_monitor_answers_that_is_mounted_somewhere() -> None:
    """Wherever the application is made of others, by its whole path."""
    inner = monitor(ok)
    try:
        app = limited(DispatcherMiddleware(ok, {"/shop": inner}), limit="1/minute")
        assert passed(app, 5, path="/shop/livez") == 5
        assert passed(app, 5, path="/livez") == 1
    finally:
        inner.close()


def test_wrapped_twice_a_request_is_counted_once() -> None:
    """Of two limits of one name the inner one knows that the outer one has counted."""
    inner = limited(policies=[LOGIN])
    app = limited(inner)
    answer = _post(app, "/login")
    assert answer["RateLimit-Policy"] == '"default";q=100;w=60, "login";q=5;w=60'
    assert passed(app, 150) == 99


# -- what clients are told -----------------------------------------------------------------------


def test_a_tighter_limit_further_in_holds_although_it_has_the_same_name() -> None:
    """Both are called `default`; each counts for itself."""
    outer = limited(limited(limit="5/minute"), limit="100/minute")
    assert passed(outer, 20) == 5
    outer.app = ok
    assert passed(outer, 100) == 80


def test_answers_tell_the_quota_and_what_is_left() -> None:
    """By the fields of the IETF's draft, all policies in one list."""
    app = limited(policies=[LOGIN])
    answer = _post(app, "/login")
    assert answer["RateLimit-Policy"] == '"default";q=100;w=60, "login";q=5;w=60'
    assert answer["RateLimit"] == '"default";r=99;t=60, "login";r=4;t=60'
    assert answer["X-RateLimit-Limit"] is None


def test_a_refusal_says_which_policy_and_when_to_come_again() -> None:
    """429, problem+json, and a Retry-After that is not earlier than the field's seconds."""
    app = limited(policies=[LOGIN], legacy_headers=True)
    answer = [_post(app, "/login") for _ in range(6)][-1]
    assert (answer.status, answer["Content-Type"]) == (429, "application/problem+json")
    said = json.loads(answer.body)
    assert said["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert (said["status"], said["violated-policies"]) == (429, ["login"])
    assert answer["RateLimit"] == f'"login";r=0;t={answer["Retry-After"]}'
    assert answer["X-RateLimit-Limit"] == "5"
    assert answer["X-RateLimit-Remaining"] == "0"
    assert answer["X-RateLimit-Reset"] == answer["Retry-After"]
    assert 1 <= int(answer["Retry-After"] or 0) <= 60
    assert "9.9.9.9" not in answer.body.decode()


def test_an_applications_own_fields_stay_alone() -> None:
    """What it says of the same name is neither doubled nor mixed with ours."""

    def own(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("ratelimit", '"x";r=1'), ("X-RateLimit-Limit", "7")])
        return []

    answer = asked(limited(own, legacy_headers=True))
    assert (answer["RateLimit"], answer["RateLimit-Policy"]) == ('"x";r=1', None)
    assert (answer["X-RateLimit-Limit"], answer["X-RateLimit-Remaining"]) == ("7", "99")


def test_it_keeps_to_wsgi_on_both_sides() -> None:
    """wsgiref's validator finds nothing, with answers and refusals, to GET and HEAD."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("200 OK", [("Content-Type", "text/plain")], None)
        write(b"")
        return [b""] if environ["REQUEST_METHOD"] == "HEAD" else [b"ok"]

    from wsgiref.util import setup_testing_defaults

    statuses: list[str] = []

    def start(status: str, *_: object) -> Callable[[bytes], object]:
        statuses.append(status)
        return lambda _: None

    wrapped: Any = validator(limited(validator(app), limit="1/minute"))
    for method in ("HEAD", "GET", "HEAD"):
        environ: dict[str, Any] = {"REQUEST_METHOD": method, "QUERY_STRING": ""}
        setup_testing_defaults(environ)
        environ["REMOTE_ADDR"] = "9.9.9.9"
        body = wrapped(environ, start)
        assert (b"".join(body) == b"") == (method == "HEAD")
        body.close()
    assert statuses == ["200 OK", *["429 Too Many Requests"] * 2]


# -- figures -------------------------------------------------------------------------------------


def test_the_figures_tell_outcomes_and_no_client(
    figures: Figures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Allowed and limited, by policy; what could not be told, and what could not be checked."""
    app = limited(policies=[LOGIN])
    for _ in range(7):
        _post(app, "/login")
    asked(app, address="")
    monkeypatch.setattr(MEMORY, "hit", _fails)
    asked(app)
    found = figures("otelmon.rate_limit.requests")
    assert found == {"allowed": 5, "limited": 2, "unknown_client": 1, "unchecked": 1}
    assert figures("otelmon.rate_limit.refusals") == {"login": 2}
    assert figures("otelmon.rate_limit.errors") == {"TimeoutError": 1}


def test_the_limit_holds_without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes wrong in measuring decides nothing."""
    monkeypatch.setattr(rate_limit, "measures", _fails)
    assert passed(limited(), 150) == 100
    assert passed(limited(key=_fails), 5) == 5
    assert faults.seen()["rate_limit_measures"].times == 155


def _fails(*_: object) -> None:
    raise TimeoutError


# -- what passes if it fails ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [lambda environ: environ["HTTP_X_API_KEY"], lambda _: b"name", lambda _: True, lambda _: 1.5],
    ids=["raises", "bytes", "bool", "float"],
)
def test_a_key_that_fails_does_not_switch_the_limit_off(
    key: Callable[[WSGIEnvironment], Any],
) -> None:
    """The address counts, with one place in /health and no traceback to the client."""
    app = limited(key=key)
    assert passed(app, 150) == 100
    assert passed(app, 50, address="8.8.8.8") == 50
    assert faults.seen()["rate_limit_key"].times == 200


def test_a_second_thread_does_not_wait_for_who_opens_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where to open the memory hangs, other requests pass."""
    monkeypatch.setattr(limit_memory, "_OPEN_SECONDS", 0.0)
    app = limited(limit="1/minute")
    with MEMORY._lock:
        assert passed(app, 5) == 5
    assert passed(app, 5) == 1


def test_threads_of_one_process_share_the_limit_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen threads that begin together, the first of which opens the memory."""
    # A busy machine is no reason to let one pass uncounted.
    monkeypatch.setattr(quota_file, "Stripes", partial(Stripes, seconds=20.0))
    monkeypatch.setattr(limit_memory, "_OPEN_SECONDS", 20.0)
    app = limited()
    ready = threading.Barrier(16)
    found: list[int] = []

    def ask() -> None:
        ready.wait()
        found.append(passed(app, 20))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(found) == 100


# -- Redis ---------------------------------------------------------------------------------------


def test_without_redis_requests_pass_and_are_counted(tmp_path: Path, figures: Figures) -> None:
    """Hung or gone, a request waits for a deadline at the most, and soon for nothing; it comes
    back by itself."""
    with RedisServer(tmp_path) as redis:
        _outlive(redis, figures)


def _outlive(redis: RedisServer, figures: Figures) -> None:
    # Longer than by default: until it hangs, it is to be asked.
    url = f"{redis.url}?socket_timeout=2&socket_connect_timeout=2"
    app = limited(env={"REDIS_URL": url}, limit="10/minute")
    assert passed(app, 20) == 10
    redis.hang()
    try:
        assert passed(app, 50) == 50
    finally:
        redis.go_on()
    found = figures("otelmon.rate_limit.requests")
    assert (found["unchecked"], found["limited"]) == (50, 10)
    assert set(figures("otelmon.rate_limit.errors")) == {"TimeoutError", "BreakerOpenError"}
    assert faults.seen()["rate_limit"].times == 50
    assert until(lambda: asked(app).status == 429)


# -- what cannot be used -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"limit": "many"}, "The rate of the policy 'default' is 'many': give counts from 1 up"),
        ({"limit": "0/minute"}, "The rate of the policy 'default' is '0/minute'"),
        ({"policies": [Policy("a b", "1/minute")]}, "A policy is named 'a b': give up to 64"),
        ({"policies": [Policy("default", "1/minute")]}, "Two policies are named 'default'"),
        ({"policies": [Policy("a", "1/minute", paths=("x",))]}, "The path 'x' is no path"),
        ({"policies": [Policy(str(n), "1/minute") for n in range(8)]}, "There are 9 limits"),
        (
            {"policies": [Policy("a", "1/minute", methods="POST")]},  # type: ignore[arg-type]
            "The policy 'a' has 'POST', which is one text: give a tuple, as in ('POST',).",
        ),
        ({"exempt": ["static"]}, "The path 'static' is no path"),
        ({"exempt": [re.compile(rb"/static")]}, "is no text"),
        ({"policies": [Policy("a", "1/minute", paths=(b"/a",))]}, "The path b'/a' is no text"),  # type: ignore[arg-type]
        ({"key": "HTTP_X_API_KEY"}, "key is 'HTTP_X_API_KEY'"),
        (
            {"policies": [Policy("a", "1/minute", methods=(1,))]},  # type: ignore[arg-type]
            "The policy 'a' has the method 1: give a name like 'POST'.",
        ),
        (
            {"policies": [Policy("a", "1/minute", methods=1)]},  # type: ignore[arg-type]
            "A list of the policy 'a' is 1: give a list, as in ('POST',).",
        ),
        (
            {"policies": [("login", "5/minute")]},
            "policies has ('login', '5/minute'), which is none: give Policy('login', '5/minute').",
        ),
        (
            {"policies": "login"},
            "policies is 'login': give a list, as in [Policy('login', '5/minute')].",
        ),
        ({"policies": LOGIN}, "give a list, as in [Policy('login', '5/minute')]."),
        ({"policies": [Policy("a", 5)]}, "The rate of the policy 'a' is 5: give counts from 1 up"),  # type: ignore[arg-type]
        ({"allow": "10.0.0.0/8"}, "allow is '10.0.0.0/8': give a list, as in ['10.0.0.0/8']."),
        ({"allow": [1]}, "allow has 1, which is no network"),
        ({"exempt": "/static"}, "exempt is '/static': give a list, as in ['/static']."),
        ({"legacy_headers": "no"}, "legacy_headers is 'no': give True or False."),
        ({"env": {"RATE_LIMIT": "many"}}, "RATE_LIMIT is 'many'"),
        ({"env": {"TRUSTED_PROXIES": "-1"}}, "TRUSTED_PROXIES is"),
    ],
)
def test_what_cannot_be_used_is_refused_when_the_application_is_wrapped(
    options: dict[str, Any], said: str
) -> None:
    """With the value, the rule and the way out."""
    with pytest.raises(ConfigError, match=re.escape(said)):
        limited(**options)
