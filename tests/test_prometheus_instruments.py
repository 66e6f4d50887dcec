"""What an application records, in the Prometheus text: names, kinds, and names in use."""

from __future__ import annotations

from dataclasses import replace

import pytest

from otelmon import faults
from otelmon.ledger.instrument import Attribute, Instrument, Scope
from otelmon.ledger.requests import DURATION
from otelmon.metrics.names import family_name
from otelmon.metrics.prometheus import Renderer
from tests.prometheus_text import ORDERS, QUEUED, WAIT, both, families, text, value
from tests.sources import Counts


class TestOtherInstruments:
    """What the application records through OpenTelemetry."""

    @pytest.mark.parametrize(
        ("name", "kind", "unit", "family"),
        [
            ("orders", "counter", "", "orders"),
            ("orders_total", "counter", "1", "orders"),
            (
                "http.server.request.duration",
                "histogram",
                "s",
                "http_server_request_duration_seconds",
            ),
            ("memory", "gauge", "By", "memory_bytes"),
            ("free.bytes", "gauge", "By", "free_bytes"),
            ("bytes", "gauge", "By", "bytes"),
            ("used", "gauge", "1", "used_ratio"),
            ("used", "gauge", "%", "used_percent"),
            ("speed", "gauge", "m/s", "speed_meters_per_second"),
            ("rate", "gauge", "{request}/s", "rate_per_second"),
            ("rate", "gauge", "By/fortnight", "rate_bytes_per_fortnight"),
            ("odd", "gauge", "x/", "odd_x"),
            ("odd", "gauge", "m^3", "odd_m_3"),
            ("wait", "histogram", "{thing}", "wait"),
            ("2nd.try", "counter", "", "_2nd_try"),
            ("Größe", "gauge", "", "Gr_e"),
            ("", "gauge", "", "_"),
            ("job:orders", "gauge", "", "job:orders"),
        ],
    )
    def test_names_follow_the_specification(
        self, name: str, kind: str, unit: str, family: str
    ) -> None:
        """Dots become underscores, and the unit's word goes to the end."""
        instrument = Instrument(name, kind, unit, "")  # type: ignore[arg-type]

        assert family_name(instrument) == family

    def test_each_kind_is_shown(self) -> None:
        """Counters and histograms are of the whole instance, gauges of each worker."""
        counts = Counts()
        counts.add(ORDERS, 3)
        counts.record(WAIT, 7, {"at": "till"})
        counts.set(QUEUED, 2.5)
        reading = counts.read()
        lane = next(each.base for each in reading.series if each.instrument == QUEUED)
        two = replace(reading, values={lane: {0: 2.5, 7: 4.0}})

        for found in both(two):
            assert found["shop_orders_total", frozenset()] == 3
            assert found["shop_wait_milliseconds_sum", frozenset({("at", "till")})] == 7
            assert found["shop_queue_length", frozenset({("worker", "0")})] == 2.5
            assert found["shop_queue_length", frozenset({("worker", "7")})] == 4.0

    @pytest.mark.parametrize(
        ("said", "shown"), [(float("inf"), "+Inf"), (float("-inf"), "-Inf"), (float("nan"), "NaN")]
    )
    def test_a_gauge_need_not_be_a_number(self, said: float, shown: str) -> None:
        """Infinity and what is no number are written as Prometheus writes them."""
        counts = Counts()
        counts.set(QUEUED, said)

        assert f'shop_queue_length{{worker="0"}} {shown}\n' in text(counts.read())

    def test_other_scales_are_written_as_numbers(self) -> None:
        """A scale that is no power of ten is multiplied, one that is moves the point."""
        counts = Counts()
        counts.add(replace(ORDERS, name="thirds", scale=1 / 3), 6)
        counts.add(replace(ORDERS, name="cents", scale=0.01), 1_234)
        counts.add(replace(ORDERS, name="dozens", scale=12.0), 2)
        document = text(counts.read())

        assert value(document, "thirds_total") == pytest.approx(2.0)
        assert "cents_total 12.34\n" in document
        assert value(document, "dozens_total") == 24

    def test_a_counter_shows_its_zero_but_not_an_empty_overflow(self) -> None:
        """Adding 0 makes a counter visible from the start; the overflow is there only if used."""
        counts = Counts(series_limit=1)
        counts.add(ORDERS, 0, shop="a")
        counts.add(ORDERS, 0, shop="b")
        before = text(counts.read())
        counts.add(ORDERS, 2, shop="b")

        assert value(before, "shop_orders_total", shop="a") == 0
        assert "overflow" not in before
        assert value(text(counts.read()), "shop_orders_total", otel_metric_overflow="true") == 2

    @pytest.mark.parametrize(
        ("said", "shown"),
        [
            (("a", "b"), '["a","b"]'),
            ((1, 2), "[1,2]"),
            ((True, 0.5), "[true,0.5]"),
            (('ä"\\\n',), '["ä\\"\\\\\\n"]'),
            ((), "[]"),
            (True, "true"),
        ],
    )
    def test_a_list_is_json_in_a_label(self, said: Attribute, shown: str) -> None:
        """As the specification has attributes that are no text."""
        counts = Counts()
        counts.add(ORDERS, 1, tags=said)

        assert value(text(counts.read()), "shop_orders_total", tags=shown) == 1

    def test_help_is_escaped(self) -> None:
        """A description may have more than one line, backslashes and quotes."""
        about = 'One\nline, "quoted" \\ and\\nslashed.'
        counts = Counts()
        counts.add(replace(ORDERS, description=about))
        reading = counts.read()

        assert families(text(reading))["shop_orders"].documentation == about
        openmetrics = families(text(reading, openmetrics=True), openmetrics=True)
        assert openmetrics["shop_orders"].documentation == about


class TestNamesInUse:
    """Two instruments that would have one name."""

    def test_one_instrument_of_two_scopes_is_one_family(self) -> None:
        """Series of both are shown, and added where their labels are equal."""
        counts = Counts()
        counts.add(ORDERS, 1, shop="a")
        counts.add(replace(ORDERS, scope=Scope("other"), description="Other."), 2, shop="a")
        counts.add(replace(ORDERS, scope=Scope("other"), description="Other."), 4, shop="b")
        document = text(counts.read())

        assert value(document, "shop_orders_total", shop="a") == 3
        assert value(document, "shop_orders_total", shop="b") == 4
        assert faults.seen() == {}

    def test_of_two_gauges_the_newer_is_shown(self) -> None:
        """Last values cannot be added: of two scopes that say the same, the later one counts."""
        counts = Counts()
        counts.set(QUEUED, 1.0)
        counts.set(replace(QUEUED, scope=Scope("other")), 2.0)

        assert value(text(counts.read()), "shop_queue_length", worker="0") == 2.0

    @pytest.mark.parametrize(
        "second",
        [
            pytest.param(Instrument("app.requests", "counter", "", ""), id="of the table"),
            pytest.param(Instrument("app.requests.total", "gauge", "", ""), id="of a sample"),
            pytest.param(Instrument("otelmon.series", "gauge", "", ""), id="of the instance"),
            pytest.param(Instrument("system.cpus", "gauge", "", ""), id="of the host"),
            pytest.param(Instrument("shop.orders", "gauge", "", ""), id="of another kind"),
            pytest.param(Instrument("shop.orders", "histogram", "", "", (1.0,)), id="of a third"),
            pytest.param(replace(ORDERS, scale=0.1), id="in another scale"),
            pytest.param(replace(DURATION, name="app.request.duration"), id="alike but ours"),
        ],
    )
    def test_the_first_keeps_its_name(self, second: Instrument) -> None:
        """The later instrument is left out, and that is reported; the document stays sound."""
        counts = Counts()
        counts.add(ORDERS, 5)
        if second.kind == "gauge":
            counts.set(second, 1.0)
        elif second.kind == "counter":
            counts.add(second)
        else:
            counts.record(second, 1, {})
        reading = counts.read()

        for found in both(reading):
            assert found["shop_orders_total", frozenset()] == 5
        assert faults.seen()["prometheus_family"].error == "OtelmonError"
        without = replace(
            reading, series=tuple(s for s in reading.series if s.instrument != second)
        )
        assert [line for line in text(reading).splitlines() if "otelmon_series" not in line] == [
            line for line in text(without).splitlines() if "otelmon_series" not in line
        ]

    def test_changed_bounds_are_those_of_the_newest(self) -> None:
        """After a reload with other bounds the new histogram is shown and the old one is not."""
        counts = Counts()
        newer = replace(WAIT, bounds=(5.0, 50.0))
        renderer = Renderer(version="0")
        counts.record(WAIT, 7, {"at": "till"})
        renderer.text(counts.read(), None, openmetrics=False)
        counts.record(newer, 3, {"at": "till"})
        counts.record(WAIT, 7, {"at": "door"})
        document = renderer.text(counts.read(), None, openmetrics=False).decode()

        assert value(document, "shop_wait_milliseconds_bucket", at="till", le="5.0") == 1
        assert value(document, "shop_wait_milliseconds_count", at="till") == 1
        assert value(document, "shop_wait_milliseconds_count", at="door") is None
        assert "prometheus_family" in faults.seen()

    @pytest.mark.parametrize("first", ["library", "otelmon"])
    def test_a_library_that_measures_itself_stands_beside_what_is_measured_of_it(
        self, first: str
    ) -> None:
        """In one family, told apart by the scope, whichever came first and whatever their bounds."""
        counts, renderer = Counts(), Renderer(version="0")
        ours = replace(WAIT, scope=Scope("otelmon.instruments"))
        theirs = replace(WAIT, scope=Scope("redis-py"), bounds=(5.0, 50.0))
        for instrument in (ours, theirs) if first == "otelmon" else (theirs, ours):
            for _ in range(2):
                counts.record(instrument, 7, {"at": "till"})
                renderer.text(counts.read(), None, openmetrics=False)
        counts.record(theirs, 60, {"otel.scope.name": "x"})
        openmetrics = renderer.text(counts.read(), None, openmetrics=True).decode()
        assert "shop_wait_milliseconds" in families(openmetrics, openmetrics=True)
        document = renderer.text(counts.read(), None, openmetrics=False).decode()
        name, scope = "shop_wait_milliseconds", {"otel_scope_name": "redis-py"}
        assert value(document, f"{name}_count", at="till") == 2
        assert value(document, f"{name}_count", at="till", **scope) == 2
        assert value(document, f"{name}_bucket", at="till", le="50.0", **scope) == 2
        assert value(document, f"{name}_count", exported_otel_scope_name="x", **scope) == 1
        assert faults.seen() == {}

    def test_gauges_that_are_put_together_in_other_ways_stand_beside_each_other(self) -> None:
        """One of each worker, and one summed, of two scopes."""
        counts = Counts()
        counts.set(QUEUED, 1.0)
        counts.set(replace(QUEUED, scope=Scope("other"), merge="sum"), 2.0)
        document = text(counts.read())

        assert value(document, "shop_queue_length", worker="0") == 1.0
        assert value(document, "shop_queue_length", otel_scope_name="other") == 2.0
        assert faults.seen() == {}

    def test_a_reload_with_other_bounds_keeps_what_stands_beside(self) -> None:
        """The newest of each scope is shown."""
        counts, renderer = Counts(), Renderer(version="0")
        ours = replace(WAIT, scope=Scope("otelmon.instruments"))
        theirs = replace(WAIT, scope=Scope("redis-py"))
        for bound in (1.0, 2.0, 3.0):
            for instrument in (ours, theirs):
                counts.record(replace(instrument, bounds=(bound, 10.0)), 2, {})
                renderer.text(counts.read(), None, openmetrics=False)
        document = renderer.text(counts.read(), None, openmetrics=False).decode()
        name = "shop_wait_milliseconds_bucket"
        assert value(document, name, le="3.0") == 1
        assert value(document, name, le="3.0", otel_scope_name="redis-py") == 1
        assert 'le="2.0"' not in document
