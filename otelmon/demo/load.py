"""Visitors for the shop: a bounded number of requests, to this machine only.

    python -m otelmon.demo.load http://127.0.0.1:5001 --seconds 60 --rate 30

It ends by itself when its time is over or when the process that started it is gone, and tells in
one line what it did. A shop that does not answer is counted, and tried again at the same rate.
"""

from __future__ import annotations

import argparse
import http.client
import ipaddress
import json
import os
import random
import signal
import socket
import sys
import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from otelmon.demo.arguments import add_load
from otelmon.demo.errors import DemoError


if TYPE_CHECKING:
    from collections.abc import Sequence


ADDRESS = "127.0.0.2"
"""Where visitors come from, so that the shop can tell them from a person at this machine"""

PRODUCTS = 12
"""The shop's products are numbered from 1 to this."""

SHARES = {
    "GET /products": 34,
    "GET /products/{product}": 30,
    "POST /orders": 8,
    "GET {order}": 6,
    "POST /cart": 3,
    "GET /cart": 1,
    "POST /checkout": 8,
    "GET /": 5,
    "GET /report": 2,
    "GET /products/999": 2,
    "GET /wp-login.php": 1,
}
"""What visitors ask for, and how often in a hundred times."""

_VISITORS = 8  # threads: with the slow report among the pages enough for the highest rate
_TIMEOUT = 5.0  # seconds until a visitor gives up
_TICK = 0.2  # seconds between two looks at the clock and the parent


class Page(NamedTuple):
    """One request."""

    method: str
    path: str
    order: dict[str, int] | None = None


class Habits:
    """What visitors ask for next."""

    def __init__(self, chance: random.Random) -> None:
        """Take what rules the choices."""
        self._chance = chance
        # The last ones made, to be looked at again. It never shrinks, so that a thread can pick
        # one while another adds.
        self._orders = deque(["/orders/1"], maxlen=100)

    def page(self) -> Page:
        """Choose."""
        share = self._chance.choices(list(SHARES), list(SHARES.values()))[0]
        product = self._chance.randint(1, PRODUCTS)
        method, path = share.split()
        if method == "POST" and path != "/checkout":
            return Page(method, path, {"product": product, "quantity": self._chance.randint(1, 5)})
        return Page(method, path.format(product=product, order=self._chance.choice(self._orders)))

    def remember(self, order: str) -> None:
        """Note the path of a new order."""
        self._orders.append(order)


class Load:
    """Visitors at a given rate, until they are sent home."""

    def __init__(self, url: str, rate: float, chance: random.Random) -> None:
        """Take where to go, how many requests a second, and what rules the choices.

        Raises DemoError unless *url* leads to this machine.
        """
        self._address = _loopback(url)
        self._gap = _VISITORS / rate
        self._chance = chance
        self._habits = Habits(chance)
        # On some systems there is no second loopback address; then they are limited as all are.
        self._source = (ADDRESS, 0) if _is_ours(ADDRESS, self._address[0]) else None
        self._cookies = threading.local()
        self._over = threading.Event()
        self._tallies = [Counter[str]() for _ in range(_VISITORS)]
        self._threads = [
            threading.Thread(target=self._visit, args=(tally,), daemon=True)
            for tally in self._tallies
        ]

    def start(self) -> None:
        """Let the visitors in."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> Counter[str]:
        """Send the visitors home; return how many requests had which outcome."""
        self._over.set()
        for thread in self._threads:
            thread.join(_TIMEOUT)
        return sum(self._tallies, Counter())

    def _visit(self, tally: Counter[str]) -> None:
        # One thread, one tally: nothing is lost and no lock is needed.
        due = time.monotonic() + self._chance.uniform(0, self._gap)
        while not self._over.wait(max(0.0, due - time.monotonic())):
            tally[self._outcome(self._habits.page())] += 1
            # Late by one gap at the most: no flood follows a stall.
            due = max(due, time.monotonic() - self._gap)
            due += self._chance.uniform(0.5, 1.5) * self._gap

    def _outcome(self, page: Page) -> str:
        connection = http.client.HTTPConnection(
            *self._address, timeout=_TIMEOUT, source_address=self._source
        )
        try:
            return self._ask(connection, page)
        except (OSError, http.client.HTTPException):
            return "none"
        finally:
            connection.close()

    def _ask(self, connection: http.client.HTTPConnection, page: Page) -> str:
        headers = {"User-Agent": "otelmon-demo-load", **vars(self._cookies)}
        body = None
        if page.order:
            headers["Content-Type"] = "application/json"
            body = json.dumps(page.order)
        connection.request(page.method, page.path, body, headers)
        response = connection.getresponse()
        response.read()
        for cookie in response.headers.get_all("Set-Cookie", ()):
            self._cookies.Cookie = cookie.partition(";")[0]
        if response.status == http.client.CREATED:
            self._habits.remember(response.headers["Location"])
        return f"{response.status // 100}xx"


def _loopback(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        # Any other name might lead anywhere.
        host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname or ""
        if parts.scheme == "http" and parts.port and ipaddress.ip_address(host).is_loopback:
            return host, parts.port
    except ValueError:
        pass
    raise DemoError(f"{url!r} is not on this machine: give an address like http://127.0.0.1:5001.")


def _is_ours(address: str, host: str) -> bool:
    """Tell whether connections to *host* can come from an address of this machine."""
    try:
        with socket.socket() as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return ":" not in host


def summary(tally: Counter[str], seconds: float) -> str:
    """Tell in one line what the visitors did."""
    answers = ", ".join(f"{tally[kind]} {kind}" for kind in ("2xx", "4xx", "5xx"))
    return (
        f"Load: {tally.total()} requests in {seconds:.0f} s: {answers}, "
        f"{tally['none']} without an answer."
    )


class Watch:
    """Knows when to end: its time is over, a signal came, or the parent process is gone."""

    def __init__(self, seconds: float, parent: int) -> None:
        """Start the clock; *parent* is the pid of the process to end with."""
        self._began = time.monotonic()
        self._seconds = seconds
        self._parent = parent
        self._told = False

    def tell(self, *_signal: object) -> None:
        """Note a signal. Only a flag: a handler may interrupt the holder of any lock."""
        self._told = True

    @property
    def seconds(self) -> float:
        """The seconds since the start."""
        return time.monotonic() - self._began

    @property
    def is_over(self) -> bool:
        """Whether to end now."""
        return self._told or self.seconds >= self._seconds or os.getppid() != self._parent

    def wait(self) -> None:
        """Return when it is over."""
        tick = threading.Event()
        while not self.is_over:
            tick.wait(min(_TICK, max(0.0, self._seconds - self.seconds)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Visit as the arguments say; return the exit code."""
    parser = argparse.ArgumentParser("python -m otelmon.demo.load", description="Visit the shop.")
    parser.add_argument("url", help="where it is, like http://127.0.0.1:5001")
    add_load(parser)
    # To be told it is safer than to ask: a parent may be gone before we could.
    parser.add_argument(
        "--parent", type=int, default=os.getppid(), metavar="PID", help="end with this parent"
    )
    options = parser.parse_args(arguments)
    watch = Watch(options.seconds, options.parent)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, watch.tell)
    try:
        load = Load(options.url, options.rate, random.Random())  # noqa: S311 - no secret
    except DemoError as error:
        parser.error(str(error))
    load.start()
    watch.wait()
    tally = load.stop()
    sys.stdout.write(f"{summary(tally, watch.seconds)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
