"""What an OpenTelemetry instrument and its attributes are called in Prometheus text.

https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from otelmon.ledger.instrument import Attribute, Attributes, Instrument


_UNITS: Final = {
    "d": "days",
    "h": "hours",
    "min": "minutes",
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
    "By": "bytes",
    "KiBy": "kibibytes",
    "MiBy": "mebibytes",
    "GiBy": "gibibytes",
    "TiBy": "tibibytes",
    "KBy": "kilobytes",
    "MBy": "megabytes",
    "GBy": "gigabytes",
    "TBy": "terabytes",
    "m": "meters",
    "V": "volts",
    "A": "amperes",
    "J": "joules",
    "W": "watts",
    "g": "grams",
    "Cel": "celsius",
    "Hz": "hertz",
    "%": "percent",
}
_PER: Final = {
    "s": "second",
    "m": "minute",
    "h": "hour",
    "d": "day",
    "w": "week",
    "mo": "month",
    "y": "year",
}
_ANNOTATION: Final = re.compile(r"\{[^}]*\}")
_NO_NAME: Final = re.compile(r"[^a-zA-Z0-9:]+")
_NO_LABEL: Final = re.compile(r"[^a-zA-Z0-9]+")


def family_name(instrument: Instrument) -> str:
    """Return the name of an instrument's family, a counter's without `_total`."""
    name = _sound(_NO_NAME, instrument.name)
    if instrument.kind == "counter":
        name = name.removesuffix("_total")
    unit = _unit(instrument)
    if unit and not name.endswith(f"_{unit}") and name != unit:
        name = f"{name}_{unit}"
    return name


def _unit(instrument: Instrument) -> str:
    unit = _ANNOTATION.sub("", instrument.unit).strip()
    if unit == "1":
        return "ratio" if instrument.kind == "gauge" else ""
    above, slash, below = unit.partition("/")
    words = [_UNITS.get(above) or _NO_NAME.sub("_", above).strip("_")]
    if slash and below:
        words += ["per", _PER.get(below) or _NO_NAME.sub("_", below).strip("_")]
    return "_".join(word for word in words if word)


def _sound(unsound: re.Pattern[str], name: str) -> str:
    name = unsound.sub("_", name)
    return f"_{name}" if name[:1].isdecimal() or not name else name


def attribute_labels(attributes: Attributes, *, ours: Collection[str] = ()) -> bytes:
    """Return the labels of a series; an attribute named like a label that is *ours* gives way.

    Attributes that come to one name become one label, their values joined by semicolons.
    """
    values: dict[str, str] = {}
    for key, value in attributes:
        name = _sound(_NO_LABEL, key)
        if name in ours:
            name = f"exported_{name}"
        text = label_value(value)
        values[name] = f"{values[name]};{text}" if name in values else text
    return label_text(values.items())


def label_text(labels: Iterable[tuple[str, str]]) -> bytes:
    """Return what stands between the braces of a sample."""
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels).encode(
        # What is no text, like one half of a surrogate pair, becomes a question mark.
        "utf-8",
        "replace",
    )


def label_value(value: Attribute) -> str:
    """Return an attribute's value as text, of a list as JSON."""
    if isinstance(value, tuple):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def help_text(text: str, *, openmetrics: bool) -> bytes:
    """Return a description as it stands behind `# HELP name `."""
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return (text.replace('"', '\\"') if openmetrics else text).encode("utf-8", "replace")


def number(value: float) -> bytes:
    """Return a sample's value."""
    if math.isfinite(value):
        return b"%d" % value if isinstance(value, int) else repr(value).encode()
    return b"NaN" if math.isnan(value) else b"+Inf" if value > 0 else b"-Inf"
