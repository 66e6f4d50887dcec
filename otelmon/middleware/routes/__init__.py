"""The route of a request: the template that its URL matched, never the URL itself.

A path, a host or any other thing that a client chooses would make series without end, so what no
framework and no `set_route` names is `{unmatched}`.
"""

from __future__ import annotations

from otelmon.middleware.routes.attaching import attach, rules
from otelmon.middleware.routes.template import ROUTE, UNMATCHED, matched, set_route


__all__ = ["ROUTE", "UNMATCHED", "attach", "matched", "rules", "set_route"]
