"""An application as it stands behind nginx: measured and hardened.

It tells what it sees of a request; SEEN is a file that takes the path of each that it gets.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from otelmon import harden, monitor, set_route


if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment


SEEN = Path(os.environ["SEEN"])  # noqa: TID251 - how a test and its application talk


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Tell what there is to see, and how long the body was."""
    set_route(environ, "/")
    with SEEN.open("a") as seen:
        seen.write(f"{environ['PATH_INFO']}\n")
    told = {
        name: value
        for name, value in environ.items()
        if name.startswith("HTTP_") or name in {"REMOTE_ADDR", "CONTENT_LENGTH", "wsgi.url_scheme"}
    }
    told["size"] = len(environ["wsgi.input"].read())
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(told).encode()]


app = monitor(harden(application))
