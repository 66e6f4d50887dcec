"""`otelmon run`: a real one, with a user's application in a directory of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.gunicorn_server import Gunicorn


if TYPE_CHECKING:
    from collections.abc import Sequence


APP = """
import os

from wsgiref.simple_server import demo_app as application

number = 3


def create_app(name="default"):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"{name} {os.environ.get('GREETING')}".encode()]

    return app
"""
"""A module that knows nothing of otelmon"""


class Run(Gunicorn):
    """One running `otelmon run` in *directory*, whose file shop.py holds the application."""

    def __init__(
        self,
        directory: Path,
        target: str,
        *,
        own: Sequence[str] = (),
        args: Sequence[str] = (),
        module: bool = False,
        workers: int = 2,
        **options: Any,  # noqa: ANN401 - Gunicorn's
    ) -> None:
        """Describe it; *own* are arguments of ours, *args* gunicorn's; or as `python -m`."""
        super().__init__(directory, workers=workers, **options)
        (directory / "shop.py").write_text(APP)
        script = [str(Path(sys.executable).with_name("otelmon"))]
        self._command = [
            *([sys.executable, "-m", "otelmon"] if module else script),
            *("run", target, *own, "--"),
            *("--no-control-socket", "-b", "127.0.0.1:0", "--graceful-timeout", "5"),
            *("-w", str(workers), *args),
        ]
