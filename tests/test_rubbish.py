"""Whatever the constructors of hardening are given: it is taken, or a ConfigError says what is wrong."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otelmon import (
    BodyLimit,
    ConfigError,
    Policy,
    RateLimit,
    Sessions,
    Settings,
    Static,
    faults,
    harden,
)
from otelmon.settings.rules import Rate
from tests.limited import asked, close_limits, ok


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


SECRET: Final = "a secret of the tests; made up"
ENV: Final = Settings.from_env({})
RUBBISH: Final[list[Any]] = [
    *(None, True, False, 0, 1, -1, 10**30, 1.5, float("nan"), float("inf"), 1j),
    *("", "x", "/", "/x", "off", "5/minute", "10.0.0.0/8", "\0", "/\udc80", "x" * 5000, "(", "[a"),
    *(b"", b"/x", bytearray(b"/x"), memoryview(b"/x")),
    *(
        [],
        [1],
        [None],
        ["x"],
        ["/x", 1],
        [b"/x"],
        [[]],
        ["/\udc80"],
        (),
        (1,),
        ("login", "5/minute"),
    ),
    *(
        {},
        {1: 2},
        {"/x": "y"},
        {"x": 1},
        {None: None},
        {"/\udc80": 1},
        {1, "x"},
        frozenset((b"x",)),
    ),
    *(object(), object, int, len, sys, NotImplemented, ..., ValueError("x"), range(3)),
    *(re.compile("x"), re.compile(b"x"), Path("/x"), Path("x"), Rate(5, 60), Rate("a", None)),  # type: ignore[arg-type]
    *(Policy("a", "5/minute"), Policy(1, 2, 3, 4), ENV, lambda: None, lambda *_: None),  # type: ignore[arg-type]
]
STATUSES: Final = (200, 404, 405, 413, 429)
WRAPPED: Final = ("app", "settings")
POLICY: Final = ("name", "rate", "paths", "methods")
"""Of each constructor: what makes it, and its arguments"""


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    yield
    close_limits()
    faults.forget()


def policy(app: Any = ok, **given: Any) -> RateLimit:  # noqa: ANN401 - rubbish
    sound = {"name": "a", "rate": "5/minute"}
    return RateLimit(app, settings=ENV, policies=[Policy(**{**sound, **given})])


def sessions(app: Any = ok, **given: Any) -> Sessions:  # noqa: ANN401 - as above
    return Sessions(app, **{"settings": ENV, "secrets": [SECRET], **given})


def static(app: Any = ok, **given: Any) -> Static:  # noqa: ANN401 - as above
    return Static(app, **{"settings": ENV, "root": Path(__file__).parent / "data", **given})


def made(constructor: Callable[..., Any]) -> Callable[..., Any]:
    """Return the constructor, of an application that answers and an environment that is empty."""
    return lambda app=ok, **given: constructor(app, **{"settings": ENV, **given})


CASES: Final[dict[str, tuple[Callable[..., Any], tuple[str, ...]]]] = {
    "BodyLimit": (made(BodyLimit), ("max_bytes", "prefixes", *WRAPPED)),
    "RateLimit": (
        made(RateLimit),
        ("limit", "policies", "key", "allow", "exempt", "legacy_headers", *WRAPPED),
    ),
    "Policy": (policy, POLICY),
    "Sessions": (
        sessions,
        ("secrets", "lifetime", "url", "client", "prefix", "cookie", "secure", *WRAPPED),
    ),
    "Static": (static, ("root", "prefix", "max_age", "hashed", *WRAPPED)),
    "harden": (
        made(harden),
        ("policies", "key", "allow", "exempt", "body_limits", "secure", *WRAPPED),
    ),
}
PARAMETERS: Final = [(name, each) for name, (_, names) in CASES.items() for each in names]


def is_directory(value: object) -> bool:
    """Tell whether it is one of this machine's: no rubbish, and it may have many files."""
    is_path = isinstance(value, str | Path) and bool(value)
    return is_path and os.path.isdir(str(value))  # noqa: PTH112 - Path's raises for long names


def tried(constructor: str, parameter: str, value: object) -> ConfigError | None:
    """Give it; return how that was refused. What is taken must serve a request."""
    make, _ = CASES[constructor]
    if parameter == "root" and is_directory(value):
        return None
    try:
        app = make(**{parameter: value})
    except ConfigError as error:
        return error
    if parameter != "app":
        assert asked(app, "/x/a").status in STATUSES
        assert asked(app, "/x/a", REQUEST_METHOD="POST", CONTENT_LENGTH="1").status in STATUSES
    return None


@pytest.mark.parametrize(("constructor", "parameter"), PARAMETERS)
def test_rubbish_is_a_config_error(constructor: str, parameter: str) -> None:
    """Each argument, each kind of rubbish: a sentence that ends, or a middleware that works."""
    refused = 0
    for value in RUBBISH:
        error = tried(constructor, parameter, value)
        if error is not None:
            refused += 1
            assert all(each.endswith(".") for each in error.problems), error.problems
            assert max(map(len, error.problems)) < 500
    assert refused > 0


NESTED: Final = st.recursive(
    st.sampled_from([each for each in RUBBISH if not isinstance(each, (set, list, dict))])
    | st.text(max_size=8)
    | st.binary(max_size=4)
    | st.integers()
    | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=4).map(lambda word: f"/{word}"), inner, max_size=2)
        | st.builds(Policy, inner, inner, inner, inner)
    ),
    max_leaves=6,
)


@given(which=st.sampled_from(PARAMETERS), value=NESTED)
@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_rubbish_in_rubbish_is_a_config_error(which: tuple[str, str], value: object) -> None:
    """Also within lists, tuples, mappings and policies."""
    tried(*which, value)
