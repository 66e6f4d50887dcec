"""Scrapes as a sceptic reads them: every growing sample, compared with the scrape before."""

from __future__ import annotations


GROWING = ("_total", "_bucket", "_sum", "_count")

Samples = dict[str, float]


def samples(text: str) -> Samples:
    """Return all samples of a Prometheus text by name and labels."""
    pairs = (line.rsplit(" ", 1) for line in text.splitlines() if line and line[0] != "#")
    return {key: float(value) for key, value in pairs}


def growing(text: str) -> Samples:
    """Return the samples that may never fall: counters, buckets, sums and counts."""
    return {
        key: value
        for key, value in samples(text).items()
        if key.partition("{")[0].endswith(GROWING)
    }


def total(found: Samples, name: str) -> float:
    """Add up the samples of one metric, whatever their labels."""
    return sum(value for key, value in found.items() if key.partition("{")[0] == name)


class Watch:
    """Takes one scrape after the other and keeps what fell."""

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self.attempts = 0
        self.scrapes = 0
        self.falls: list[str] = []
        self.last: Samples = {}

    def see(self, text: str) -> Samples:
        """Compare a scrape with all before it; a sample that is missing has fallen to nothing."""
        now = growing(text)
        self.scrapes += 1
        self.falls += [
            f"{key}: {before} then {now.get(key)}"
            for key, before in self.last.items()
            if now.get(key, -1.0) < before
        ]
        self.last |= now
        return now
