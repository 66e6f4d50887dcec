"""Clients that ask a server as often as they can, and what they were told."""

from __future__ import annotations

import http.client
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from tests.gunicorn_server import ask


if TYPE_CHECKING:
    from collections.abc import Mapping


DIED: Final = 0
"""In place of a status: the connection ended without an answer"""


def hammer(
    port: int,
    *,
    times: int,
    clients: int = 8,
    path: str = "/ok",
    headers: Mapping[str, str] | None = None,
) -> Counter[int]:
    """Ask *times* in all, by so many clients at once; return how often which status came."""

    def one(_: int) -> int:
        try:
            return ask(port, path, headers=headers).status
        except (OSError, http.client.HTTPException):
            return DIED

    with ThreadPoolExecutor(clients) as pool:
        return Counter(pool.map(one, range(times)))
