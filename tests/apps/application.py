"""The plain application under the name that mod_wsgi looks for; and served by wsgiref.

python -m tests.apps.application PORT
"""

from __future__ import annotations

import sys
from wsgiref.simple_server import make_server

from tests.apps.plain import app as application


__all__ = ["application"]

if __name__ == "__main__":
    with make_server("127.0.0.1", int(sys.argv[1]), application) as server:
        server.serve_forever(poll_interval=0.01)
