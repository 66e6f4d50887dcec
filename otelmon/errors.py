"""The errors otelmon raises."""

from __future__ import annotations


class OtelmonError(Exception):
    """The root: whatever otelmon raises on purpose is one of these."""


class ConfigError(OtelmonError):
    """Settings that cannot be used, with every problem found, one sentence each."""

    def __init__(self, *problems: str) -> None:
        """Take the sentences; the message is all of them, one per line."""
        super().__init__("\n".join(problems))
        self.problems = problems


class LedgerError(OtelmonError):
    """A ledger file that cannot be used."""


class ThreadsError(OtelmonError):
    """A server that lets no threads run, which otelmon's beat and metrics port need."""
