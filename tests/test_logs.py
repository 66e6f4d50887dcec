"""What is logged is counted, and whoever logs notices nothing of it."""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelmon import faults
from otelmon.instruments.logs import LogMetrics, observe_log
from tests.metered import Metered


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.metrics import Meter


RECORDS: Final = "otelmon.log.records"
EXCEPTIONS: Final = "otelmon.log.exceptions"
LEVEL: Final = "otelmon.log.level"
LOGGER: Final = "otelmon.log.logger"
LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@pytest.fixture(name="metered")
def _metered() -> Iterator[Metered]:
    yield Metered()
    assert [one for one in logging.root.handlers if isinstance(one, LogMetrics)] == []


@pytest.fixture(name="shop")
def _shop() -> Iterator[logging.Logger]:
    """A tree of loggers that nothing else listens to; its top is no module."""
    shop = logging.getLogger("shop")
    shop.setLevel(logging.DEBUG)
    shop.propagate = False
    yield shop
    shop.propagate = True
    shop.setLevel(logging.NOTSET)


@contextlib.contextmanager
def _alone(shop: logging.Logger) -> Iterator[None]:
    """Do without the handlers that pytest adds for each phase of a test."""
    handlers, shop.handlers = shop.handlers, []
    yield
    shop.handlers = handlers


def _records(metered: Metered) -> dict[tuple[object, ...], float]:
    return metered.by(RECORDS, LEVEL, LOGGER)


class PlannedError(Exception):
    """Logged on purpose."""


def _raise() -> None:
    raise PlannedError


def _warn(log: logging.Logger, times: int) -> None:
    for _ in range(times):
        log.warning("x")


def _log_one(log: logging.Logger) -> None:
    try:
        _raise()
    except PlannedError:
        log.exception("as planned")


# -- figures ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "level"),
    {
        1: "DEBUG",
        10: "DEBUG",
        20: "INFO",
        25: "INFO",
        30: "WARNING",
        49: "ERROR",
        70: "CRITICAL",
    }.items(),
)
def test_a_level_is_one_of_five(
    number: int, level: str, metered: Metered, shop: logging.Logger
) -> None:
    """Levels between and beyond logging's own count as the one below them."""
    shop.setLevel(1)
    with observe_log(meter=metered.meter, logger="shop", level=1, loggers=["shop"]):
        shop.log(number, "x")

    assert metered.figures(RECORDS) == {frozenset({(LEVEL, level), (LOGGER, "shop")}): 1}


@given(
    st.lists(st.tuples(st.sampled_from(LEVELS), st.sampled_from(["shop", "shop.a", "shop.a.b"])))
)
def test_whatever_is_logged_is_counted(logged: list[tuple[str, str]]) -> None:
    """After any row of records each level and logger has its number."""
    metered = Metered()
    shop = logging.getLogger("shop")
    shop.propagate = False
    shop.setLevel(logging.DEBUG)
    names = ["shop", "shop.a"]
    with observe_log(meter=metered.meter, logger=shop, level="DEBUG", loggers=names):
        for level, name in logged:
            logging.getLogger(name).log(getattr(logging, level), "x")

    expected: dict[tuple[object, ...], float] = {}
    for level, name in logged:
        key = (level, "shop.a" if name == "shop.a.b" else name)
        expected[key] = expected.get(key, 0) + 1
    assert _records(metered) == expected
    shop.propagate = True
    shop.setLevel(logging.NOTSET)


def test_from_which_level_on_is_said(metered: Metered, shop: logging.Logger) -> None:
    """Records below the level are not counted; by default those below WARNING are not."""
    with observe_log(meter=metered.meter, logger=shop, loggers=["shop"]):
        shop.info("x")
        shop.warning("x")
    with observe_log(meter=metered.meter, logger=shop, loggers=["shop"], level="ERROR"):
        shop.warning("x")
        shop.error("x")

    assert _records(metered) == {("WARNING", "shop"): 1, ("ERROR", "shop"): 1}


def test_the_root_sees_all(metered: Metered) -> None:
    """Without a logger the records of all loggers are counted, under the names of their packages."""
    names = ("otelmon", "hypothesis.core", f"{__name__}.x", "customer-4711", "root")
    with observe_log(meter=metered.meter):
        for name in names:
            logging.getLogger(name).warning("x")

    package = __name__.partition(".")[0]
    assert _records(metered) == {
        ("WARNING", "otelmon"): 1,
        ("WARNING", "hypothesis"): 1,
        ("WARNING", package): 1,
        ("WARNING", "_OTHER"): 1,
        ("WARNING", "root"): 1,
    }


def test_loggers_are_few(metered: Metered) -> None:
    """Of all modules fifty are told apart."""
    modules = [name for name in sys.modules if "." not in name and name != "otelmon"][:60]
    assert len(modules) == 60
    with observe_log(meter=metered.meter):
        for name in modules:
            logging.getLogger(name).warning("x")

    records = _records(metered)
    assert len(records) == 51
    assert records["WARNING", "_OTHER"] == 10


def test_exceptions_are_counted_by_class(metered: Metered, shop: logging.Logger) -> None:
    """A record with an exception, however it came there, counts its class beside the record."""
    error = KeyError("secret")
    with observe_log(meter=metered.meter, logger=shop, loggers=["shop"]):
        _log_one(shop)
        shop.error("x", exc_info=error)
        shop.error("x", exc_info=(OSError, OSError(), None))
        shop.error("none", exc_info=True)
        shop.error("none")

    assert metered.by(EXCEPTIONS, "error.type", LOGGER) == {
        ("PlannedError", "shop"): 1,
        ("KeyError", "shop"): 1,
        ("OSError", "shop"): 1,
    }
    assert _records(metered) == {("ERROR", "shop"): 5}


def test_classes_are_few(metered: Metered, shop: logging.Logger) -> None:
    """After a hundred classes every further one is `_OTHER`."""
    with observe_log(meter=metered.meter, logger=shop):
        for number in range(103):
            shop.error("x", exc_info=type(f"Error{number}", (Exception,), {})())

    found = metered.by(EXCEPTIONS, "error.type")
    assert len(found) == 101
    assert found["_OTHER",] == 3


def test_threads_lose_nothing(metered: Metered, shop: logging.Logger) -> None:
    """Eight threads that log at once are counted exactly."""
    with observe_log(meter=metered.meter, logger=shop, loggers=["shop"]):
        threads = [threading.Thread(target=_warn, args=(shop, 250)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert _records(metered) == {("WARNING", "shop"): 2000}


# -- several at once -------------------------------------------------------------------------------


def test_the_last_call_for_a_logger_counts(metered: Metered, shop: logging.Logger) -> None:
    """Two observations of one logger count a record once; closing the last brings the first back."""
    other = Metered()
    first = observe_log(meter=metered.meter, logger=shop, loggers=["shop"])
    second = observe_log(meter=other.meter, logger=shop, loggers=["shop"])
    shop.warning("x")
    second.close()
    second.close()
    shop.warning("x")
    first.close()
    shop.warning("x")

    assert _records(other) == _records(metered) == {("WARNING", "shop"): 1}
    assert [one for one in shop.handlers if isinstance(one, LogMetrics)] == []


def test_a_record_that_two_observe_counts_once(metered: Metered, shop: logging.Logger) -> None:
    """It counts at the first observed logger on its way up that takes its level."""
    shop.propagate = True
    with (
        observe_log(meter=metered.meter, level="INFO", loggers=["root"]),
        observe_log(meter=metered.meter, logger=shop, level="ERROR", loggers=["shop"]),
    ):
        logging.getLogger("shop.orders").error("both")
        logging.getLogger("shop.orders").warning("root alone")
        logging.getLogger("shopping").error("root alone")

    assert _records(metered) == {
        ("ERROR", "shop"): 1,
        ("WARNING", "_OTHER"): 1,
        ("ERROR", "_OTHER"): 1,
    }


# -- whoever logs notices nothing ------------------------------------------------------------------


@pytest.mark.parametrize("level", ["DEBUG", "WARNING", "ERROR"])
@pytest.mark.parametrize("observed", ["shop", "shop.orders"])
def test_what_nobody_listens_to_is_still_written(
    observed: str,
    level: str,
    metered: Metered,
    shop: logging.Logger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where no handler is set up, warnings go to stderr once, as they do without us."""
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    with (
        _alone(shop),
        observe_log(meter=metered.meter, logger=observed, level=level),
        observe_log(meter=metered.meter, logger=shop, level=level),
    ):
        logging.getLogger("shop.orders").info("quiet")
        logging.getLogger("shop.orders").warning("loud")
    monkeypatch.undo()

    assert written.getvalue() == "loud\n"


def test_what_somebody_listens_to_is_not_written_by_us(
    metered: Metered, shop: logging.Logger, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where there is a handler, below ours or beside it, it is the only one that writes."""
    orders = logging.getLogger("shop.orders")
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    with observe_log(meter=metered.meter, logger=shop, loggers=["shop"]):
        for log in (orders, shop):
            log.addHandler(handler)
            orders.warning("once")
            log.removeHandler(handler)

    assert written.getvalue() == "once\nonce\n"
    assert capfd.readouterr().err == ""
    assert _records(metered) == {("WARNING", "shop"): 2}


def test_a_record_is_left_as_it_was(metered: Metered, shop: logging.Logger) -> None:
    """No other handler finds anything of ours on a record."""
    seen: list[dict[str, object]] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(dict(vars(record)))

    keeping = Keeping()
    shop.addHandler(keeping)
    with observe_log(meter=metered.meter, logger=shop):
        shop.warning("x")
    shop.warning("x")
    shop.removeHandler(keeping)

    assert seen[0].keys() == seen[1].keys()


class Counters:
    """A meter whose counters do what they are told at each addition."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.added = 0
        self._act = act

    def create_counter(self, *args: object) -> Counters:
        """Return itself."""
        return self

    def add(self, amount: int, attributes: object) -> None:
        """Add, and do it."""
        self.added += amount
        self._act()

    @property
    def meter(self) -> Meter:
        """Return it as what it stands for."""
        return self  # type: ignore[return-value]


def test_a_failure_inside_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """If counting fails, that is logged once by a logger that is counted itself, and ends there."""
    with observe_log(meter=Counters(_raise).meter):
        for _ in range(3):
            logging.getLogger("otelmon.tests").warning("x")

    said = sorted(record.name for record in caplog.records)
    assert said == ["otelmon", "otelmon.tests", "otelmon.tests", "otelmon.tests"]
    assert faults.seen()["log_metrics"].times == 4


def test_counting_that_logs_comes_to_an_end(shop: logging.Logger) -> None:
    """A meter that logs at each addition does not go on for ever."""
    counters = Counters(lambda: shop.warning("counted"))
    with observe_log(meter=counters.meter, logger=shop):
        shop.warning("x")

    assert counters.added == 4


@pytest.mark.parametrize("name", ["signal", "gc"])
def test_what_interrupts_may_log(name: str, shop: logging.Logger) -> None:
    """A signal handler or GC callback that logs while a record is counted is counted too."""
    said: list[str] = []

    def interrupt(*_: object) -> None:
        if not said:
            said.append(name)
            shop.warning("from within")

    def act() -> None:
        os.kill(os.getpid(), signal.SIGUSR1) if name == "signal" else gc.collect()

    before = signal.signal(signal.SIGUSR1, interrupt)
    gc.callbacks.append(interrupt)
    counters = Counters(act)
    try:
        said.extend(["not yet"])
        with observe_log(meter=counters.meter, logger=shop):
            said.clear()
            shop.warning("x")
    finally:
        gc.callbacks.remove(interrupt)
        signal.signal(signal.SIGUSR1, before)

    assert said
    assert counters.added == 2


def test_a_fork_in_the_midst_leaves_no_lock(shop: logging.Logger) -> None:
    """A child that is forked while another thread counts a record can log."""
    held = threading.Event()
    # No second Event to wait for: whoever begins to has its lock for a moment, which may be that
    # of the fork.
    reader, writer = os.pipe()

    def act() -> None:
        held.set()
        os.read(reader, 1)

    with observe_log(meter=Counters(act).meter, logger=shop):
        thread = threading.Thread(target=shop.warning, args=("x",))
        thread.start()
        assert held.wait(20)
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)  # SIGALRM ends a child that waits for a lock
            os.write(writer, b"!")
            shop.warning("x")
            os._exit(0)
        os.write(writer, b"!")
        ended = os.waitpid(pid, 0)
        # In place of the child, if that has not come to read.
        os.write(writer, b"!")
        thread.join()
    os.close(reader)
    os.close(writer)
    assert ended == (pid, 0)


def test_a_record_made_by_hand_is_counted(metered: Metered, shop: logging.Logger) -> None:
    """What other programs put into a record's exc_info is no failure."""
    with _alone(shop), observe_log(meter=metered.meter, logger=shop, loggers=["shop"]):
        for info in (True, 1, (None, None, None), None):
            shop.handle(logging.makeLogRecord({"name": "shop", "levelno": 40, "exc_info": info}))

    assert _records(metered) == {("ERROR", "shop"): 4}
    assert metered.figures(EXCEPTIONS) == {}
    assert faults.seen() == {}
