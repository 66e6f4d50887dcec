"""Load from processes of their own: raw sockets, so that two cores can make and serve it.

    python -m tests.load PORT SECONDS LEAST PATH...

asks for the paths in turn until the time is over and it has asked so often at least, a minute more
at the most. It takes one connection each, and prints a line of JSON: how many requests were sent at
least in part (attempts) and how many answers came whole (completed).
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from itertools import cycle
from pathlib import Path
from typing import Final, NamedTuple


_MORE_SECONDS: Final = 60.0


class Tally(NamedTuple):
    """What the clients saw."""

    attempts: int
    completed: int


class Load:
    """Client processes that run beside a test until their time is over."""

    def __init__(
        self, port: int, seconds: float, paths: list[str], *, clients: int = 3, least: int = 0
    ) -> None:
        """Start them; together they ask *least* times at least."""
        each = str(-(-least // clients))
        command = [sys.executable, "-m", "tests.load", str(port), str(seconds), each, *paths]
        self._clients = [
            subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent)
            for _ in range(clients)
        ]

    @property
    def running(self) -> bool:
        """Tell whether any client is still at work."""
        return any(client.poll() is None for client in self._clients)

    def tally(self) -> Tally:
        """Wait for the clients; return what all of them saw."""
        tallies = [json.loads(client.communicate(timeout=90)[0]) for client in self._clients]
        return Tally(*map(sum, zip(*tallies, strict=True)))

    def kill(self) -> None:
        """End the clients at once."""
        for client in self._clients:
            client.kill()
            client.wait(10)
            if client.stdout is not None:
                client.stdout.close()


def run(port: int, seconds: float, least: int, paths: list[str]) -> Tally:
    """Send requests for *seconds*; a client counts an attempt before its first byte is sent."""
    attempts = completed = 0
    deadline = time.monotonic() + seconds
    for path in cycle(paths):
        over = time.monotonic() - deadline
        if over > (0 if attempts >= least else _MORE_SECONDS):
            return Tally(attempts, completed)
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                attempts += 1
                connection.sendall(request)
                completed += _whole(connection)
        except OSError:
            continue
    raise AssertionError


def _whole(connection: socket.socket) -> bool:
    """Read an answer; tell whether all of it came, by the length it declared or its last chunk."""
    answer = b""
    while chunk := connection.recv(65536):
        answer += chunk
    head, separator, body = answer.partition(b"\r\n\r\n")
    if b" 502 " in head.partition(b"\r\n")[0]:
        # Apache answers so by itself when the process that was to take the request is killed.
        return False
    lengths = [
        int(line.split(b":")[1])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length:")
    ]
    return bool(separator) and (len(body) >= lengths[0] if lengths else body.endswith(b"0\r\n\r\n"))


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])))  # noqa: T201
