"""What the demo's command lines have in common."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Callable


DEFAULT_RATE = 30.0
MOST_RATE = 200.0
DEFAULT_SECONDS = 900.0
MOST_SECONDS = 86_400.0


def whole(least: int, most: int) -> Callable[[str], int]:
    """Return an argument type: a whole number from *least* to *most*."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} to {most}.")
        return value

    return parse


def positive(most: float) -> Callable[[str], float]:
    """Return an argument type: a number above 0 and up to *most*."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not 0 < value <= most:  # also false for nan
            raise argparse.ArgumentTypeError(f"{text!r} is no number above 0 and up to {most:g}.")
        return value

    return parse


def add_load(parser: argparse.ArgumentParser) -> None:
    """Add --seconds and --rate."""
    parser.add_argument(
        "--seconds",
        type=positive(MOST_SECONDS),
        default=DEFAULT_SECONDS,
        metavar="N",
        help="how long the load goes on (default: %(default)g)",
    )
    parser.add_argument(
        "--rate",
        type=positive(MOST_RATE),
        default=DEFAULT_RATE,
        metavar="N",
        help="requests of the load per second (default: %(default)g)",
    )
