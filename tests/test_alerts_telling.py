"""Telling somebody of alerts: what arrives, in which order, how often, and what is said if it does not."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from otelmon.alerts import bodies, transitions
from otelmon.alerts.courier import MOST_WAITING, Courier
from otelmon.alerts.places import Alertmanager, Log, Webhook, places, sentence, signature
from otelmon.alerts.posting import Address, RefusedError
from otelmon.alerts.showing import about, quantity
from otelmon.ledger import layout
from otelmon.ledger.segment import Segment
from otelmon.settings import Settings
from tests.alarms import SECOND, Alarm, rule
from tests.receiver import closed_port, receiving
from tests.sources import published
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator

    from otelmon.alerts.courier import Place
    from otelmon.board import Published
    from tests.receiver import Receiver


LABELS = {"service": "shop", "instance": "h1:80"}


class Board:
    """A ledger with an alert whose value the test sets."""

    def __init__(self) -> None:
        """Begin without news."""
        self.segment = Segment()
        self.alarm = Alarm(rule(for_seconds=0.0, resolve_seconds=0.0))
        # Of now: what ended long ago is not sent again.
        self.alarm.monotonic = time.monotonic_ns()
        self.alarm.state = replace(self.alarm.state, about=about(self.alarm.rule))

    def see(self, *values: float) -> Published:
        """Judge values, and return the board that a keeper would publish."""
        before = len(self.alarm.found)
        self.alarm.see(*values)
        transitions.keep(self.segment, self.alarm.found[before:])
        return self.published

    @property
    def published(self) -> Published:
        """Return the board."""
        return published(
            alerts=(self.alarm.state,), transitions=len(self.alarm.found), labels=LABELS
        )


@contextmanager
def webhook(**given: Any) -> Iterator[tuple[Board, Receiver, Courier]]:  # noqa: ANN401 - fields of Receiver
    """Yield an alert, somebody who is told of it, and who tells."""
    with receiving() as receiver:
        for name, value in given.items():
            setattr(receiver, name, value)
        # So patient that nothing is sent twice because a machine stood still.
        place = Webhook(Address(receiver.url(), seconds=20.0), "secret")
        yield Board(), receiver, Courier(place, first_pause=0.01)


def told(courier: Courier, board: Board, seconds: float = 20.0) -> bool:
    """Tick as the keeper does until nothing waits."""

    def nothing_waits() -> bool:
        courier.tick(board.segment, board.published)
        return not courier.shown()["waiting"]

    return until(nothing_waits, seconds)


def test_every_change_is_told_once_and_in_order() -> None:
    """Ten changes are ten messages; another courier, as of the next keeper, has nothing to add."""
    with webhook() as (board, receiver, courier):
        for value in (90.0, 99.0, 90.0, 10.0, 99.0):
            board.see(value)
            assert told(courier, board)
        assert told(Courier(Webhook(Address(receiver.url()), None)), board)
        numbers = [each.headers["X-Otelmon-Delivery"] for each in receiver.taken]

        assert receiver.news == [
            ("Cpu", "warning", "firing"),
            *(("Cpu", "warning", "resolved"), ("Cpu", "critical", "firing")),
            # 90 is not yet clear of the critical level: it goes on.
            ("Cpu", "critical", "resolved"),
            ("Cpu", "critical", "firing"),
        ]
        assert numbers == [f"{board.segment.created:x}-{n}" for n in (1, 2, 3, 4)]
        # It counts, and notes that all is well, a moment after nothing waits any more.
        assert until(lambda: courier.shown()["delivered"] == 4)


def test_the_body_is_that_of_a_webhook_of_alertmanagers() -> None:
    """Version 4, all labels and annotations text, the signature that of the bytes."""
    with webhook() as (board, receiver, courier):
        board.see(99.5)
        assert told(courier, board)
        (message,) = receiver.taken
        (alert,) = message.body["alerts"]

        assert message.headers["X-Otelmon-Signature"] == signature(message.raw, "secret")
        assert message.body == {
            "version": "4",
            "groupKey": '{}:{alertname="Cpu"}',
            "truncatedAlerts": 0,
            "status": "firing",
            "receiver": "otelmon",
            "groupLabels": {"alertname": "Cpu"},
            "commonLabels": alert["labels"],
            "commonAnnotations": alert["annotations"],
            "externalURL": "",
            "alerts": [alert],
        }
        assert alert["endsAt"] == "0001-01-01T00:00:00Z"
        assert alert["annotations"] == {
            "summary": "CPU usage is too high.",
            "description": "CPU usage is 99.5% (critical above 95%).",
            "value": "99.5%",
            "threshold": "95%",
        }
        assert all(isinstance(text, str) for text in alert["labels"].values())
        assert all("." not in name for name in alert["labels"])


def test_a_keeper_that_dies_loses_nothing() -> None:
    """What could not be told is told by the next one, in order; what was told is not."""
    with webhook() as (board, receiver, courier):
        board.see(90.0)
        assert told(courier, board)
        receiver.answers = 503
        board.see(99.0, 10.0)
        courier.tick(board.segment, board.published)
        assert until(lambda: courier.shown()["failures"])
        receiver.answers = 200
        assert told(Courier(Webhook(Address(receiver.url()), None)), board)
        assert receiver.news == [
            ("Cpu", "warning", "firing"),
            *(("Cpu", "warning", "resolved"), ("Cpu", "critical", "firing")),
            ("Cpu", "critical", "resolved"),
        ]


def test_an_outage_is_one_log_line_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    """Failures are counted, the pauses grow, the address is nowhere; its end is said too."""
    caplog.set_level(logging.INFO, "otelmon")
    board = Board()
    port = closed_port()
    address = Address(f"http://me:pw@127.0.0.1:{port}/very/secret")
    courier = Courier(Webhook(address, None), first_pause=0.01)
    board.see(90.0)
    assert until(lambda: _failures(courier, board) >= 3)
    shown = courier.shown()
    assert (shown["state"], shown["error"]) == ("failing", "ConnectionRefusedError")
    assert shown["waiting"] == 1
    with receiving(port) as receiver:
        assert told(courier, board, 60)
        assert until(lambda: courier.shown()["state"] == "ok")
        assert len(receiver.taken) == 1
    lines = [record.getMessage() for record in caplog.records]

    assert sum("does not take notifications: ConnectionRefusedError" in each for each in lines) == 1
    assert sum("takes notifications again" in each for each in lines) == 1
    assert not any(word in "".join(lines) for word in ("pw", "secret", str(port)))


def _failures(courier: Courier, board: Board) -> int:
    courier.tick(board.segment, board.published)
    found: int = courier.shown()["failures"]
    return found


def test_no_more_than_a_hundred_wait() -> None:
    """Of 120 changes that nobody took the oldest 20 are dropped, and counted."""
    with webhook() as (board, receiver, courier):
        board.see(*[99.0, 10.0] * 60)
        assert told(courier, board, 40)
        numbers = [int(each.headers["X-Otelmon-Delivery"].split("-")[1]) for each in receiver.taken]

        assert numbers == list(range(21, 121))
        assert len(numbers) == MOST_WAITING
        assert courier.shown()["dropped"] == 20


def test_a_message_that_is_refused_as_such_keeps_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """400 is an answer for good: that message is dropped and counted, the next one is told."""
    with webhook(answers=400) as (board, receiver, courier):
        board.see(90.0)
        assert told(courier, board)
        assert until(lambda: courier.shown()["dropped"] == 1)
        receiver.answers = 200
        board.see(10.0)
        assert told(courier, board)
        assert receiver.news == [("Cpu", "warning", "resolved")]
        assert until(lambda: courier.shown()["error"] is None)
    assert "HTTP 400" in caplog.text


def test_a_redirect_is_not_followed() -> None:
    """Not even to the same server: it is a failure like any other."""
    with webhook(answers=307, location="/elsewhere") as (board, receiver, courier):
        board.see(90.0)
        assert until(lambda: _failures(courier, board) >= 2)

        assert {each.path for each in receiver.refused} == {"/hook"}
        assert courier.shown()["error"] == "HTTP 307"


@pytest.mark.parametrize("how", ["hangs", "drips"])
def test_a_receiver_without_an_end_is_left(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither silence nor an answer that comes byte by byte holds the keeper or the next try."""
    monkeypatch.setattr("otelmon.alerts.courier._DEADLINE_SECONDS", 0.5)
    with webhook(**{how: True}) as (board, receiver, courier):
        board.see(90.0)
        ticks = 0

        def has_failed_twice() -> bool:
            nonlocal ticks
            ticks += 1
            return _failures(courier, board) >= 2

        assert until(has_failed_twice, 30)
        setattr(receiver, how, False)
        monkeypatch.undo()

        assert ticks > 5  # where each waits there are two or three
        assert told(courier, board)
        assert len(receiver.taken) == 1


def test_counts_go_on_with_the_next_keeper() -> None:
    """What is on the board is where its successor goes on."""
    board = Board()
    courier = Courier(Log())
    before = {"log": {"delivered": 5, "failures": 2, "dropped": 1}}
    courier.tick(board.segment, replace(board.published, channels=before))

    assert {name: courier.shown()[name] for name in before["log"]} == before["log"]


# -- the log --------------------------------------------------------------------------------------


def test_the_log_has_a_record_for_each_change(caplog: pytest.LogCaptureFixture) -> None:
    """WARNING, ERROR, and INFO at the end, each a sentence with the value."""
    caplog.set_level(logging.INFO, "otelmon")
    board = Board()
    board.see(90.0, 99.0, 10.0)
    courier = Courier(Log())
    assert told(courier, board)
    assert told(Courier(Log()), board)

    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("WARNING", "Alert Cpu raised to warning: CPU usage is 90% (warning above 80%)."),
        ("ERROR", "Alert Cpu escalated to critical: CPU usage is 99% (critical above 95%)."),
        (
            "INFO",
            "Alert Cpu resolved (cleared) after 20 s: CPU usage is 10%, at its worst it was 99%.",
        ),
    ]
    assert sentence(board.alarm.found[0]) == caplog.records[0].getMessage()


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (86.24, "%", "86.2%"),
        (0.451, "fraction", "45.1%"),
        (1200.4, "ms", "1,200 ms"),
        (0.0123, "s", "0.0123 s"),
        (None, "%", "unknown"),
        (12.0, "", "12"),
    ],
)
def test_a_value_reads_well(value: float | None, unit: str, text: str) -> None:
    """With its unit, and no more digits than it needs; a fraction is percent in a sentence."""
    assert quantity(value, unit) == text


# -- Alertmanager ---------------------------------------------------------------------------------


def sent(receiver: Receiver) -> list[list[tuple[str, bool]]]:
    """Return for each message the severities in it, and whether each still fires."""
    now = bodies._time(time.time_ns() / 1e9)
    return [
        [(each["labels"]["severity"], each["endsAt"] > now) for each in message.body]
        for message in receiver.taken
    ]


def test_alertmanager_is_told_how_things_stand() -> None:
    """At once at a change, again after a while; a change of level is both alerts together."""
    with receiving() as receiver:
        board = Board()
        board.alarm.state = replace(board.alarm.state)
        place = Alertmanager(Address(receiver.url("/"), path="/api/v2/alerts"), again_seconds=0.05)
        courier = Courier(place)
        # So that what is said of them is of now.
        board.alarm.monotonic = time.time_ns() - 30 * SECOND
        courier.tick(board.segment, board.see(10.0))
        assert told(courier, board)
        assert receiver.taken == []
        board.see(90.0)
        assert told(courier, board)
        assert until(lambda: _ticked(courier, board, receiver) >= 3)
        assert sent(receiver)[0] == [("warning", True)]
        board.see(99.0)
        assert told(courier, board)
        assert sent(receiver)[-1] == [("warning", False), ("critical", True)]
        board.see(10.0)
        assert told(courier, board)
        assert sent(receiver)[-1] == [("warning", False), ("critical", False)]
        assert {each.path for each in receiver.taken} == {"/api/v2/alerts"}
        for alert in (each for message in receiver.taken for each in message.body):
            assert alert["startsAt"] <= alert["endsAt"]


def _ticked(courier: Courier, board: Board, receiver: Receiver) -> int:
    courier.tick(board.segment, board.published)
    return len(receiver.taken)


def test_what_ended_is_sent_for_five_minutes() -> None:
    """And longer if Alertmanager was not told of it yet."""
    board = Board()
    board.see(99.0, 10.0)
    found = board.alarm.found
    end = found[-1].monotonic

    assert bodies.recent(found, after=2, now=end + 289 * SECOND) == found
    assert bodies.recent(found, after=2, now=end + 301 * SECOND) == []
    assert bodies.recent(found, after=1, now=end + 9999 * SECOND) == [found[1]]


def test_a_clock_that_was_set_back_ends_nothing_before_its_begin() -> None:
    """Alertmanager refuses an end before the begin; a firing alert ends after it, whatever is now."""
    board = Board()
    (alert,) = bodies.for_alertmanager(board.see(99.0), [], now=0.0)

    assert alert["endsAt"] > alert["startsAt"]


# -- addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "path", "target"),
    [
        ("http://h", "", "/"),
        ("http://h/a/b?c=d", "", "/a/b?c=d"),
        ("http://h:9093/", "/api/v2/alerts", "/api/v2/alerts"),
        ("https://h/prefix/", "/api/v2/alerts", "/prefix/api/v2/alerts"),
    ],
)
def test_an_address_keeps_its_path_and_query(url: str, path: str, target: str) -> None:
    """What the API wants is appended to the path that was given."""
    assert Address(url, path=path)._target == target


def test_there_is_a_place_for_each_setting() -> None:
    """The log always; the others where they are set."""

    def names(found: tuple[Place, ...]) -> list[str]:
        return [each.name for each in found]

    assert names(places(Settings())) == ["log"]
    told_of = Settings(alert_webhook_url="http://h/", alertmanager_url="https://h:9093")
    assert names(places(told_of)) == ["log", "webhook", "alertmanager"]
    assert {each.word for each in places(told_of)} == {
        *(layout.HEADER_LOGGED, layout.HEADER_POSTED, layout.HEADER_PUSHED)
    }


@pytest.mark.parametrize(("status", "for_good"), [(400, True), (401, False), (500, False)])
def test_only_a_message_itself_is_refused_for_good(status: int, for_good: bool) -> None:
    """A receiver that is closed to us today may be open tomorrow."""
    assert RefusedError(status).for_good is for_good
