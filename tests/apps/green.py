"""The standalone program under gevent, whose patches come before all else."""

from __future__ import annotations

from gevent import monkey


monkey.patch_all()

import sys  # noqa: E402 - see above

from gevent.fileobject import FileObject  # noqa: E402
from gevent.pywsgi import WSGIServer  # noqa: E402

from tests.apps import standalone  # noqa: E402


def _serve(app: standalone.Renewable, port: int) -> None:
    WSGIServer(("127.0.0.1", port), app, log=None).serve_forever()


if __name__ == "__main__":
    # Read like this, lines come while the server, now in a greenlet, goes on.
    standalone.main(_serve, int(sys.argv[2]), FileObject(sys.stdin.fileno(), "r"))
