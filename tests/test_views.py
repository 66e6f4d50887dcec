"""What the JSON endpoints say: the shapes of the specification, and of ourselves."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from typing import Any, Final

import pytest

from otelmon import __version__, faults
from otelmon.errors import LedgerError
from otelmon.ledger.instrument import Instrument, Scope
from tests.endpoints import MOUNTED, get, ops, settings
from tests.sources import HOST, SECOND, Counts, ask, published


Json = Any

# The answers of the specification, with its own values.
SEED: Final[dict[str, dict[str, Any]]] = {
    "/health": {
        "status": "healthy",
        "timestamp": "2026-01-12T...",
        "version": "1.0.0",
        "services": {},
        "monitoring": {
            "status": "healthy",
            "alerts": {"critical": 0, "warning": 0, "total": 0},
            "system": {"cpu_percent": 25.5, "memory_percent": 45.2, "disk_percent": 60.1},
            "application": {"request_rate": 12.5, "error_rate": 0.5, "avg_response_time_ms": 125.3},
        },
    },
    "/api/metrics": {
        "system": {"timestamp": "2026-01-12T...", **HOST},
        "application": {
            "timestamp": "2026-01-12T...",
            "request_count": 1250,
            "request_rate": 12.5,
            "avg_response_time": 125.3,
            "error_rate": 0.5,
            "active_connections": 25,
            "cache_hit_rate": None,
            "database_connections": None,
            "redis_connections": None,
        },
        "alerts": [],
        "timestamp": "2026-01-12T...",
    },
    "/api/metrics/health": {
        "status": "healthy",
        "alerts": {"critical": 0, "warning": 0, "total": 0},
        "system": {"cpu_percent": 25.5, "memory_percent": 45.2, "disk_percent": 60.1},
        "application": {"request_rate": 12.5, "error_rate": 0.5, "avg_response_time_ms": 125.3},
    },
    "/api/metrics/recommendations": {"recommendations": [], "timestamp": 1705094400},
}


class TestShapes:
    """The JSON that the specification shows."""

    @pytest.mark.parametrize("path", SEED)
    def test_every_field_is_there_with_its_type(self, path: str) -> None:
        """All keys of the specified objects are there, in their order, with values of their kind."""
        assert_has_shape(get(path), SEED[path], path)

    @pytest.mark.parametrize("path", SEED)
    def test_every_field_is_there_before_anything_is_known(self, path: str) -> None:
        """A process that does not serve yet answers with all fields, null where not known."""
        found = get(path, ops(counted=None, said=None))

        assert_has_keys(found, SEED[path], path)
        assert found.get("status") in (None, "unknown")

    def test_health_holds_what_its_own_endpoint_says(self) -> None:
        """`monitoring` in /health is the body of /api/metrics/health."""
        app = ops()

        assert get("/health", app)["monitoring"] == get("/api/metrics/health", app)

    def test_one_figure_has_one_value(self) -> None:
        """The mean has two names and the same value under both."""
        app = ops()
        application = get("/api/metrics", app)["application"]
        summary = get("/api/metrics/health", app)["application"]

        assert application["avg_response_time"] == summary["avg_response_time_ms"] == 125.3
        assert application["error_rate"] == summary["error_rate"] == 0.5

    def test_times_are_of_now_and_in_utc(self) -> None:
        """Timestamps are ISO 8601 with a Z, and whole seconds since 1970 in one place."""
        before = time.time_ns() // SECOND
        timestamp = get("/health")["timestamp"]
        seconds = get("/api/metrics/recommendations")["timestamp"]

        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", timestamp)
        assert type(seconds) is int
        assert before <= seconds <= time.time_ns() // SECOND

    def test_recommendations_have_structured_twins(self) -> None:
        """Beside the sentences there is a list of items."""
        assert get("/api/metrics/recommendations")["items"] == []

    def test_the_version_is_the_applications(self) -> None:
        """/health shows the service's version, /api/metrics otelmon's own."""
        app = ops(settings=settings(service_version="7.1"))

        assert get("/health", app)["version"] == "7.1"
        assert get("/api/metrics", app)["otelmon"]["version"] == __version__

    def test_what_is_no_number_is_null(self) -> None:
        """Infinity and NaN, which JSON does not have, become null wherever they are."""
        host = {**HOST, "cpu_percent": float("nan"), "load_avg": float("inf")}
        found = get("/api/metrics", ops(said=published(host=host)))

        assert (found["system"]["cpu_percent"], found["system"]["load_avg"]) == (None, None)
        assert found["system"]["cpu_count"] == 8
        assert found["alerts"] == []

    def test_text_is_utf_8(self) -> None:
        """A version may have any letters; what is no text is replaced."""
        answer = ask(ops(settings=settings(service_version="Å\udce9")), "/health")

        assert json.loads(answer.body.decode())["version"] == "Å?"
        assert "Å".encode() in answer.body


def assert_has_keys(found: Json, wanted: Json, where: str) -> None:
    """Fail if a key is missing, or keys come in another order."""
    if isinstance(wanted, dict):
        assert [key for key in found if key in wanted] == list(wanted), where
        for key, value in wanted.items():
            assert_has_keys(found[key], value, f"{where}.{key}")


def assert_has_shape(found: Json, wanted: Json, where: str) -> None:
    """Fail if a key is missing or a value of another kind; a whole number may stand for any."""
    assert_has_keys(found, wanted, where)
    if isinstance(wanted, dict):
        for key, value in wanted.items():
            assert_has_shape(found[key], value, f"{where}.{key}")
    elif isinstance(wanted, float):
        assert isinstance(found, (int, float)), where
    else:
        assert type(found) is type(wanted), where


class TestOwn:
    """What otelmon says of itself."""

    def test_health_says_how_the_ledger_is(self) -> None:
        """It is private, shared, incomplete or not there yet."""
        reading = Counts().read()
        states = {
            "private: this worker only": reading,
            "shared": replace(reading, shared=True),
            "incomplete: a worker counts for itself": replace(reading, shared=True, complete=False),
            None: None,
        }

        for state, counted in states.items():
            assert get("/health", ops(counted=counted))["otelmon"]["ledger"] == state

    def test_it_names_faults_by_class(self) -> None:
        """Faults are shown by kind, how often and which class, never with their message."""
        faults.report("ledger", OSError("/run/user/secret"))
        faults.report("ledger", LedgerError("/run/user/secret"))
        for path in ("/health", "/api/metrics"):
            answer = ask(ops(), path)
            found = json.loads(answer.body)["otelmon"]["faults"]["ledger"]

            assert (found["times"], found["error"]) == (2, "LedgerError")
            assert b"secret" not in answer.body
        assert get("/health")["status"] == "degraded"

    def test_it_names_what_failed_where_several_can(self) -> None:
        """An observable has its own count and class beside those of all."""
        faults.report("observable", KeyError("secret"), of="shop.queue")
        faults.report("observable", ValueError("secret"), of="shop.stock")
        answer = ask(ops(), "/health")
        assert "secret" not in answer.body.decode()
        found = json.loads(answer.body)["otelmon"]["faults"]["observable"]
        assert (found["times"], found["error"]) == (2, "ValueError")
        each = {name: (one["times"], one["error"]) for name, one in found["each"].items()}
        assert each == {"shop.queue": (1, "KeyError"), "shop.stock": (1, "ValueError")}

    def test_it_shows_the_port_and_the_keeper(self) -> None:
        """State of the port, slot and age of the keeper, and the ledger are there."""
        reading = Counts().read()
        said = published(monotonic=reading.monotonic - 2 * SECOND)
        app = ops(counted=reading, said=said, port_state={"state": "failed", "error": "OSError"})
        brief, full = get("/health", app)["otelmon"], get("/api/metrics", app)["otelmon"]

        assert brief["port"] == full["port"] == {"state": "failed", "error": "OSError"}
        assert brief["keeper_age_seconds"] == 2.0
        assert full["keeper"] == {"slot": 3, "age_seconds": 2.0}
        assert full["instance"] == {"shared": False, "complete": True}
        assert full["series"] == {"count": len(reading.series), "resting": 0, "overflowed": []}

    def test_it_names_the_attribute_that_explodes(self) -> None:
        """An instrument with more series than it may have is named, with the culprit."""
        counts = Counts(series_limit=3)
        orders = Instrument("orders", "counter", "", "")
        for customer in range(9):
            counts.add(orders, 1, customer=customer, shop=customer % 2)
        found = get("/api/metrics", ops(counted=counts.read()))["otelmon"]["series"]

        assert found["overflowed"] == [
            {
                "instrument": "orders",
                "scope": "otelmon",
                "attribute": "customer",
                "series": 3,
                "guilty": True,
            }
        ]

    def test_an_instrument_without_attributes_explodes_by_none(self) -> None:
        """Where nothing but the overflow was recorded there is no culprit to name."""
        counts = Counts(series_limit=0)
        counts.add(Instrument("orders", "counter", "", ""), 1, customer=1)
        found = get("/api/metrics", ops(counted=counts.read()))["otelmon"]["series"]

        assert found["overflowed"] == [
            {
                "instrument": "orders",
                "scope": "otelmon",
                "attribute": None,
                "series": 0,
                "guilty": True,
            }
        ]

    def test_a_scope_is_shown_with_all_that_it_has(self) -> None:
        """The address of its schema and its attributes, if there are any."""
        plain = Scope("shop")
        full = Scope("bank", "2.1", "https://example.org/1.2", (("part", "till"), ("tags", (1, 2))))
        counts = Counts()
        for scope in (plain, full):
            counts.add(Instrument("orders", "counter", "", "", scope=scope))
        found = get("/api/metrics", ops(counted=counts.read()))["metrics"]

        assert [each["scope"] for each in found] == [
            {"name": "shop", "version": None},
            {
                "name": "bank",
                "version": "2.1",
                "schema_url": "https://example.org/1.2",
                "attributes": {"part": "till", "tags": [1, 2]},
            },
        ]

    def test_workers_are_shown(self) -> None:
        """/api/metrics tells how many workers there are and what they do."""
        found = get("/api/metrics")["workers"]

        assert (found["total"], found["busy"], found["capacity"]) == (1, 0, 4)


def test_nothing_private_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer holds a variable of the environment, a path, an address or a query."""
    monkeypatch.setenv("DATABASE_URL", "postgres://u:hunter2@db")
    private = settings(
        ledger_dir="/hunter2",
        disk_path="/hunter2",
        otlp_endpoint="http://hunter2",
        alert_webhook_secret="hunter2",
        alert_webhook_url="https://hunter2.example/hook",
    )
    app = ops(settings=private)
    for path in MOUNTED:
        answer = ask(
            app,
            path,
            QUERY_STRING="q=hunter2",
            REMOTE_ADDR="192.0.2.77",
            HTTP_COOKIE="hunter2",
            HTTP_X_FORWARDED_FOR="192.0.2.78",
        )
        shown = f"{answer.headers} {answer.body!r}"
        assert not any(word in shown for word in ("hunter2", "192.0.2.", "/tmp", "/work", "/root"))
