"""Which host is shown under which name."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelmon import ConfigError
from otelmon.instruments.hosts import Hosts


HOSTS: Final = (
    "api.example.org",
    "*.example.org",
    "*.eu.example.org",
    "127.0.0.1",
    "[::1]",
    "Shop.Example.",
    "bücher.example",
    "localhost",
)


@pytest.mark.parametrize(
    ("host", "shown"),
    {
        "api.example.org": "api.example.org",
        "API.Example.ORG.": "api.example.org",
        "img.example.org": "*.example.org",
        "a.b.example.org": "*.example.org",
        "a.eu.example.org": "*.eu.example.org",
        "eu.example.org": "*.example.org",
        "example.org": "_OTHER",
        "badexample.org": "_OTHER",
        "api.example.org.evil": "_OTHER",
        "127.0.0.1": "127.0.0.1",
        "127.0.0.2": "_OTHER",
        "::1": "::1",
        "[::1]": "::1",
        "shop.example": "shop.example",
        "xn--bcher-kva.example": "xn--bcher-kva.example",
        "localhost": "localhost",
        "*.example.org": "*.example.org",
        "bücher": "_OTHER",
        "": "_OTHER",
        ".": "_OTHER",
    }.items(),
)
def test_a_host_is_shown_as_the_name_that_allows_it(host: str, shown: str) -> None:
    """A name of its own goes before patterns, the longer pattern before the shorter one."""
    assert Hosts(HOSTS).shown(host) == shown


@given(st.text(max_size=30) | st.from_regex(r"[a-z.]{0,12}\.example\.org"))
def test_no_host_is_shown_that_was_not_named(host: str) -> None:
    """Whatever a client asks for, the label is one of the names or `_OTHER`."""
    allowed = {"api.example.org", "*.example.org", "_OTHER"}

    assert Hosts(["api.example.org", "*.example.org"]).shown(host) in allowed


@pytest.mark.parametrize(
    "name",
    [
        *("", "*", "*.", "a*.example", "*.a.*.b", "a b.example", "ü" * 70),
        *("http://a.example", "a.example/x", "a.example:80", "me@a.example"),
    ],
)
def test_what_is_no_host_is_refused(name: str) -> None:
    """A name with a scheme, a port, a path or a star in the midst is an error that says so."""
    with pytest.raises(ConfigError) as caught:
        Hosts(["a.example", name])

    (problem,) = caught.value.problems
    assert problem.startswith(f"The host {name!r} cannot be observed: give a name such as")


def test_a_string_is_one_host() -> None:
    """A name that stands alone is not taken for a list of letters."""
    assert Hosts("a.example").shown("a.example") == "a.example"


def test_the_ports_of_a_host_are_few() -> None:
    """Sixteen ports are told apart for each host, and none for hosts that are not allowed."""
    hosts = Hosts(["a.example", "*.b.example"])
    shown = [hosts.port("a.example", port) for port in range(1, 100)]

    assert shown == [*range(1, 17), *[None] * 83]
    assert hosts.port("a.example", 16) == 16
    assert hosts.port("*.b.example", 8080) == 8080
    assert hosts.port("*.b.example", None) is None
    assert hosts.port("_OTHER", 443) is None
