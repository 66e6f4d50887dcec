"""A real nginx with the example's configuration: only ports and paths are others."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import psutil

from tests import wire
from tests.daemon import Daemon
from tests.free_ports import free_port
from tests.gunicorn_server import ROOT, Answer


EXAMPLE = ROOT / "docs" / "examples" / "nginx.conf"
_TEMPORARY = ("client_body", "proxy", "fastcgi", "scgi", "uwsgi")


class Nginx(Daemon):
    """nginx in front of a port, with a static root; a context manager."""

    def __init__(self, directory: Path, *, upstream: int, root: Path) -> None:
        """Describe it; *directory* takes its logs."""
        self.port = free_port()
        self._directory = directory
        self._config = directory / "nginx.conf"
        text = EXAMPLE.read_text()
        for there, here in (
            ("listen 80;", f"listen 127.0.0.1:{self.port};"),
            ("server 127.0.0.1:8000;", f"server 127.0.0.1:{upstream};"),
            ("alias /srv/shop/static/;", f"alias {root}/;"),
            ("from=/srv/shop/static;", f"from={root};"),
            ("pid /run/nginx.pid;", f"pid {directory}/nginx.pid;"),
            ("error_log /var/log/nginx/", f"error_log {directory}/"),
            ("access_log /var/log/nginx/", f"access_log {directory}/"),
            # Where the package has them is root's alone.
            ("http {\n", f"http {{\n{self._temporary()}"),
        ):
            assert text.count(there) == 1, there
            text = text.replace(there, here)
        self._config.write_text(text)
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        assert Path(program).exists(), "nginx is missing: python3 tools/setup.py test installs it"
        # Root's workers would be nobody, who may not read pytest's directories.
        also = "user root; " if os.geteuid() == 0 else ""
        options = f"{also}daemon off; worker_shutdown_timeout 1s;"
        command = [program, "-c", str(self._config), "-g", options]
        super().__init__(command, log_path=directory / "out.log")

    def _temporary(self) -> str:
        return "".join(f"{name}_temp_path {self._directory}/{name};\n" for name in _TEMPORARY)

    def is_ready(self) -> bool:
        """Tell whether it listens and has workers, one per processor that is online: they come later."""
        with socket.socket() as probe:
            listens = probe.connect_ex(("127.0.0.1", self.port)) == 0
        workers = psutil.Process(self.pid).children()
        return listens and len(workers) == os.sysconf("SC_NPROCESSORS_ONLN")

    @property
    def log(self) -> str:
        """Return what it has said so far."""
        logs = (self._directory / name for name in ("out.log", "error.log"))
        return "".join(log.read_text() for log in logs if log.exists())

    def ask(
        self,
        path: str | bytes,
        *headers: str,
        method: str = "GET",
        body: bytes = b"",
        source: str = "127.0.0.1",
    ) -> Answer:
        """Send one request from the address *source*."""
        head = wire.request(path, *headers, method=method)
        return wire.answer(wire.exchange(self.port, head, body, source=source))
