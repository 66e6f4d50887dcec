"""The plain application, with all that is imported late imported early.

For workers that may not read the files of Python once they have changed their user.
"""

from __future__ import annotations

import encodings.ascii
import encodings.idna

import waitress.server

import otelmon.metrics.host_text
from tests.apps.plain import app


__all__ = ["app", "encodings", "otelmon", "waitress"]
