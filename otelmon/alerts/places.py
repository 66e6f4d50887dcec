"""Who is told of the alerts: the log always, a webhook and an Alertmanager where they are set."""

from __future__ import annotations

import hashlib
import hmac
import logging
import time
from typing import TYPE_CHECKING, Final

from otelmon.alerts import bodies
from otelmon.alerts.posting import Address
from otelmon.alerts.showing import message, quantity
from otelmon.alerts.transitions import OK
from otelmon.ledger import layout


if TYPE_CHECKING:
    from collections.abc import Iterator

    from otelmon.alerts.courier import Place
    from otelmon.alerts.transitions import Transition
    from otelmon.board import Published
    from otelmon.settings import Settings


SIGNATURE: Final = "X-Otelmon-Signature"
DELIVERY: Final = "X-Otelmon-Delivery"
_LEVELS: Final = {OK: logging.INFO, "warning": logging.WARNING, "critical": logging.ERROR}


class Log:
    """A record of the logger `otelmon` for each transition: ERROR, WARNING, or INFO at its end."""

    name: str = "log"
    word: int = layout.HEADER_LOGGED
    again_seconds: float | None = None
    skips_refused = False

    def tell(
        self, _published: Published, found: list[Transition], after: int, _mark: str
    ) -> Iterator[int]:
        """Log each one; see `courier.Place`."""
        logger = logging.getLogger("otelmon")
        for each in found:
            if each.number > after:
                logger.log(_LEVELS[each.after], "%s", sentence(each))
                yield each.number

    def is_late(self, _seconds: float) -> bool:
        """Leave a handler that hangs alone."""
        return False

    def abort(self) -> None:
        """Have nothing to end."""


def sentence(found: Transition) -> str:
    """Return what a transition is in the log."""
    known = found.about
    if found.after != OK:
        said = message(known, found.after, found.value)
        return f"Alert {known['name']} {found.reason} to {found.after}: {said}"
    peak = quantity(found.peak, known["unit"])
    return (
        f"Alert {known['name']} resolved ({found.reason}) after {found.seconds:.0f} s: "
        f"{known['subject']} is {quantity(found.value, known['unit'])}, at its worst it was {peak}."
    )


class _Remote:
    """A place at an address."""

    def __init__(self, address: Address) -> None:
        """Send nothing yet."""
        self._address = address

    def is_late(self, seconds: float) -> bool:
        """Compare with the begin of what is under way."""
        began = self._address.began
        return began is not None and time.monotonic() - began > seconds

    def abort(self) -> None:
        """Cut its connection."""
        self._address.abort()


class Webhook(_Remote):
    """One signed POST for each transition, in the order in which they happened."""

    name: str = "webhook"
    word: int = layout.HEADER_POSTED
    again_seconds: float | None = None
    skips_refused = True

    def __init__(self, address: Address, secret: str | None) -> None:
        """Sign with *secret*, if there is one."""
        super().__init__(address)
        self._secret = secret

    def tell(
        self, published: Published, found: list[Transition], after: int, mark: str
    ) -> Iterator[int]:
        """Post each one; see `courier.Place`."""
        for each in found:
            if each.number > after:
                body = bodies.encoded(bodies.for_webhook(each, published.labels))
                # The same for the same transition, whoever sends it, and however often.
                headers = {DELIVERY: f"{mark}-{each.number}"}
                if self._secret is not None:
                    headers[SIGNATURE] = signature(body, self._secret)
                self._address.post(body, headers)
                yield each.number


def signature(body: bytes, secret: str) -> str:
    """Return what proves that a body comes from somebody who has the secret, HMAC by RFC 2104."""
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"


class Alertmanager(_Remote):
    """All that fires, once a minute and at each transition; what ended, for five minutes.

    It is told how things stand and not what happened, so that it is right again with the next
    message, whatever was lost.
    """

    name: str = "alertmanager"
    word: int = layout.HEADER_PUSHED
    skips_refused = False

    def __init__(self, address: Address, *, again_seconds: float = bodies.RESEND_SECONDS) -> None:
        """Tell it anew after so many seconds."""
        super().__init__(address)
        self.again_seconds: float | None = again_seconds

    def tell(
        self, published: Published, found: list[Transition], after: int, _mark: str
    ) -> Iterator[int]:
        """Post the whole; see `courier.Place`."""
        now = time.time_ns() / 1e9
        recent = bodies.recent(found, after=after, now=time.monotonic_ns())
        alerts = bodies.for_alertmanager(published, recent, now)
        if alerts:
            self._address.post(bodies.encoded(alerts), {})
        if alerts or published.transitions > after:
            yield published.transitions


def places(settings: Settings) -> tuple[Place, ...]:
    """Return those that the settings name."""
    found: list[Place] = [Log()]
    if settings.alert_webhook_url is not None:
        found.append(Webhook(Address(settings.alert_webhook_url), settings.alert_webhook_secret))
    if settings.alertmanager_url is not None:
        address = Address(settings.alertmanager_url, path="/api/v2/alerts")
        found.append(Alertmanager(address))
    return tuple(found)
