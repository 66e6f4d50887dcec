"""What the demo prints: where to look, what is switched off, and the first figures."""

from __future__ import annotations

import json
from http.client import HTTPException
from typing import TYPE_CHECKING

from otelmon.demo.load import ADDRESS
from otelmon.settings.rules import OFF


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from otelmon.settings import Settings

    Get = Callable[[str, Mapping[str, str]], tuple[int, bytes]]


_PAGES = {
    "/health": "the state in short",
    "/api/metrics": "all figures of the system and the application",
    "/api/metrics/health": "state, alerts, figures",
    "/api/metrics/alerts": "all alerts, and how they stand",
    "/api/metrics/recommendations": "what to do about them",
    "/api/metrics/history": "the last hour, in steps of ten seconds",
}
_EVERY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, never bound to
_FIGURES = {
    ("application", "request_count"): "{} requests",
    ("application", "request_rate"): "{:.1f} per second",
    ("application", "error_rate"): "{:.1f} % errors",
    ("workers", "total"): "{} workers",
}


class Announcement:
    """The words for one set of settings."""

    def __init__(self, settings: Settings, *, port_is_free: bool) -> None:
        """Take the server's settings, and whether PROMETHEUS_PORT can be had."""
        self._settings = settings
        self._port_is_free = port_is_free

    @property
    def probe(self) -> str:
        """The page that tells whether the server answers. It is in nobody's statistics."""
        return f"{self._settings.prefix}/livez"

    def lines(self, url: str) -> Iterator[str]:
        """Yield the addresses worth opening and what there is to know, for a shop at *url*."""
        yield "The shop is open."
        rows = list(self._addresses(url))
        width = max(len(address) for address, _ in rows)
        for address, what in rows:
            yield f"  {address:<{width}}  {what}"
        yield from self._notes()

    def _addresses(self, url: str) -> Iterator[tuple[str, str]]:
        yield f"{url}/", "the shop"
        settings = self._settings
        if settings.disabled:
            return
        pages = dict(_PAGES)
        if settings.enable_prometheus:
            pages["/metrics"] = "all figures for Prometheus"
        for path, what in pages.items():
            if path not in settings.endpoints_off:
                yield f"{url}{settings.prefix}{path}", what
        if settings.enable_prometheus and settings.prometheus_port and self._port_is_free:
            yield self._prometheus_url(), "the same, on a port of its own"

    def _prometheus_url(self) -> str:
        host, port = self._settings.prometheus_host, self._settings.prometheus_port
        host = "127.0.0.1" if host in _EVERY_ADDRESS else host
        return f"http://[{host}]:{port}/metrics" if ":" in host else f"http://{host}:{port}/metrics"

    def _notes(self) -> Iterator[str]:
        settings = self._settings
        if settings.disabled:
            yield "otelmon is off, as OTELMON_DISABLED says: the shop runs without figures."
            return
        if not settings.enable_prometheus:
            yield (
                "Prometheus is off, as ENABLE_PROMETHEUS says. Set it to true, in the env file if "
                "it stands there, to get its page and port."
            )
        elif not self._port_is_free:
            yield (
                f"Port {settings.prometheus_port} is taken: set PROMETHEUS_PORT to a free one to "
                "get the figures there as well."
            )
        rate = settings.limits().rate_limit
        if rate != OFF:
            yield (
                f"You may ask the shop {rate.requests} times in {rate.seconds} s, as RATE_LIMIT says; "
                f"the visitors come from {ADDRESS}, which is not limited."
            )
        if settings.token:
            yield "The figures ask for OTELMON_TOKEN: as bearer token, or as a password."

    def first_figures(self, get: Get) -> str:
        """Tell in one line what `/api/metrics` says of requests and workers by now."""
        path = f"{self._settings.prefix}/api/metrics"
        token = self._settings.token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            status, body = get(path, headers)
            figures = list(_told(json.loads(body))) if status == 200 else []
        except (OSError, HTTPException, ValueError):
            figures = []
        return f"So far: {', '.join(figures) or 'no figures'}."


def _told(document: dict[str, dict[str, float | None]]) -> Iterator[str]:
    for (part, name), form in _FIGURES.items():
        value = document.get(part, {}).get(name)
        if value is not None:
            yield form.format(value)
