"""Whose a request is: behind proxies, by IPv6, and where somebody would like to be another one."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.middleware.proxy_fix import ProxyFix

from otelmon import ConfigError, RateLimit
from otelmon.hardening.clients import Clients, parsed
from tests.limited import asked, limited, passed


if TYPE_CHECKING:
    from collections.abc import Iterable


FORWARDED = "HTTP_X_FORWARDED_FOR"


def _key(trusted: int | None, **environ: str) -> str | None:
    return Clients(trusted).of(environ).key


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("192.0.2.7:4711", "192.0.2.7"),
        ("[2001:db8::1]:4711", "2001:db8::/64"),
        ('"[2001:db8::1]:4711"', "2001:db8::/64"),
        ("", None),
        ("unknown", None),
        ("_hidden", None),
        ("192.0.2.7.9", None),
        ("192.0.2.07", None),
        ("9" * 100_000, None),
    ],
)
def test_an_address_is_read_to_what_one_customer_has(address: str, key: str | None) -> None:
    """IPv6 by its /64, IPv4 in IPv6 as IPv4, without ports and zones; no address is nobody's."""
    assert _key(0, REMOTE_ADDR=address) == key
    assert _key(1, REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR=f"1.1.1.1, {address}") == key


ADDRESSES = st.ip_addresses(v=4).map(str)


@given(
    trusted=st.integers(0, 4),
    entries=st.lists(ADDRESSES, max_size=6),
    remote=ADDRESSES,
    separator=st.sampled_from([",", ", ", " , "]),
)
def test_it_believes_the_entry_that_werkzeug_believes(
    trusted: int, entries: list[str], remote: str, separator: str
) -> None:
    """Over any header and number of proxies the client is ProxyFix's REMOTE_ADDR."""
    environ: dict[str, Any] = {"REMOTE_ADDR": remote}
    if entries:
        environ[FORWARDED] = separator.join(entries)

    def fixed(environ: dict[str, Any], _: object) -> Iterable[bytes]:
        return [environ["REMOTE_ADDR"].encode()]

    fix: Any = ProxyFix(fixed, x_for=trusted, x_proto=0, x_host=0)
    (wanted,) = fix(dict(environ), None)
    assert _key(trusted, **environ) == wanted.decode()


# -- attacks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("trusted", ["0", None])
def test_without_a_proxy_no_forged_header_gives_a_stranger_more(trusted: str | None) -> None:
    """A client of the Internet that sends a new X-Forwarded-For each time has one limit."""
    app = limited(env={} if trusted is None else {"TRUSTED_PROXIES": trusted})
    assert sum(asked(app, **{FORWARDED: f"1.1.1.{n}"}).status == 200 for n in range(150)) == 100


def test_an_explicit_zero_goes_by_remote_addr_also_of_a_neighbour() -> None:
    """With TRUSTED_PROXIES=0 a client on loopback cannot leave the limit by a header."""
    app = limited(env={"TRUSTED_PROXIES": "0"})
    forged = [asked(app, address="127.0.0.1", **{FORWARDED: f"1.1.1.{n}"}) for n in range(150)]
    assert sum(each.status == 200 for each in forged) == 100


def test_behind_one_proxy_a_forged_beginning_gains_nothing_and_frames_nobody() -> None:
    """With TRUSTED_PROXIES=1 all that a client can write is what is not read."""
    app = limited(env={"TRUSTED_PROXIES": "1"})

    def through(forged: str, client: str) -> int:
        header = {FORWARDED: f"{forged}, {client}" if forged else client}
        return asked(app, address="10.0.0.1", **header).status

    victim = "8.8.4.4"
    forgeries = [f"{victim}", f"1.1.1.1, {victim}", "", ",", "unknown", f"{victim}:80", "9" * 9000]
    found = [through(forgeries[n % len(forgeries)], "203.0.113.9") for n in range(150)]
    assert found.count(200) == 100
    assert through("", victim) == 200


def test_an_ipv6_client_that_changes_its_address_has_one_limit() -> None:
    """All addresses of a /64 are one client's."""
    app = limited()
    found = [asked(app, address=f"2a00:1450:4001:80b::{n:x}").status for n in range(150)]
    assert found.count(200) == 100


def test_as_ipv4_and_as_ipv4_in_ipv6_it_is_one_client() -> None:
    """A socket of both kinds gives no second limit."""
    app = limited()
    assert passed(app, 80, address="9.9.9.9") == 80
    assert passed(app, 80, address="::ffff:9.9.9.9") == 20


# -- nobody can tell -----------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["", "127.0.0.1", "10.1.2.3", "192.168.1.1", "::1", "fd00::1"])
@pytest.mark.parametrize(
    "header", [FORWARDED, "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_X_FORWARDED_PROTO", "HTTP_VIA"]
)
def test_clients_behind_an_undeclared_proxy_are_not_one(
    address: str, header: str, caplog: pytest.LogCaptureFixture
) -> None:
    """TRUSTED_PROXIES unset, a proxy's address and its header: all pass, which is logged once."""
    app = limited()
    with caplog.at_level(logging.WARNING, "otelmon"):
        assert passed(app, 150, address=address, **{header: "for=1.2.3.4"}) == 150
    (said,) = [each.message for each in caplog.records if "TRUSTED_PROXIES" in each.message]
    assert "not limited" in said


def test_on_a_unix_socket_without_a_header_nobody_is_limited() -> None:
    """REMOTE_ADDR is empty there, with an explicit 0 too."""
    assert passed(limited(), 150, address="") == 150
    assert passed(limited(env={"TRUSTED_PROXIES": "0"}), 150, address="") == 150


def test_without_a_header_a_near_address_is_a_client() -> None:
    """In a private network, or on one's own machine, the limit holds."""
    assert passed(limited(), 150, address="127.0.0.1") == 100


# -- told in another way -------------------------------------------------------------------------


def test_networks_that_are_allowed_are_not_limited() -> None:
    """By the client's address, not by the proxy's."""
    app = limited(env={"TRUSTED_PROXIES": "1"}, allow=["10.0.0.0/8", "2001:db8::/32"])
    inside = {FORWARDED: "10.9.9.9"}
    outside = {FORWARDED: "10.9.9.9, 1.2.3.4"}
    assert passed(app, 150, address="10.0.0.1", **inside) == 150
    assert passed(app, 150, address="10.0.0.1", **outside) == 100
    assert passed(app, 150, address="2001:db8::5") == 150


def test_a_key_of_ones_own_tells_clients() -> None:
    """By an API key for instance, any text of which is somebody; who has none has an address."""
    app = limited(key=lambda environ: environ.get("HTTP_X_API_KEY"))
    assert passed(app, 150, HTTP_X_API_KEY="a") == 100
    assert passed(app, 150, HTTP_X_API_KEY="b\0/\udcff" * 999) == 100
    # Nobody asks at the cost of an address by sending it as a key.
    assert passed(app, 150, address="8.8.8.8", HTTP_X_API_KEY="9.9.9.9") == 100
    assert passed(app, 150) == 100
    assert passed(app, 50, HTTP_X_API_KEY="") == 0
    assert passed(app, 150, address="8.8.8.8") == 100


def test_a_key_is_a_number_too_or_says_that_there_is_no_limit() -> None:
    """A user's number is one client, as text and as int; UNLIMITED is the one way out of all."""
    users: list[Any] = [42] * 60 + ["42"] * 60
    assert passed(limited(key=lambda _: users.pop()), 120) == 100
    assert passed(limited(key=lambda _: RateLimit.UNLIMITED), 150) == 150


def test_what_is_no_network_is_refused() -> None:
    """With what to give."""
    with pytest.raises(ConfigError, match=re.escape("allow has '10.0.0.0/33', which is no")):
        limited(allow=["10.0.0.0/33"])


@given(st.text(max_size=80))
def test_any_text_is_an_address_or_none(text: str) -> None:
    """Nothing that a header can hold raises."""
    parsed(text)
    Clients(1).of({"REMOTE_ADDR": text, FORWARDED: text})
