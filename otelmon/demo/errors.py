"""What stops the demo: an outcome told in one sentence, never a traceback."""

from __future__ import annotations

from otelmon.errors import OtelmonError


class DemoError(OtelmonError):
    """The demo cannot start, or cannot go on."""
