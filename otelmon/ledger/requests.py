"""The instruments of a request.

They stand here because a slot is settled by them: what its owner had finished is the sum of the
duration's buckets, what it had started and not finished when it died is lost.

Names, units, attributes and duration bounds are those of the semantic conventions for HTTP
servers, https://opentelemetry.io/docs/specs/semconv/http/http-metrics/, where these have them.
"""

from __future__ import annotations

from typing import Final

from otelmon.ledger.instrument import Instrument


SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
# Powers of eight from 128 bytes to 32 MiB: the conventions name no bounds for sizes.
SIZES: Final = (128.0, 1024.0, 8192.0, 65536.0, 524288.0, 4194304.0, 33554432.0)

DURATION: Final = Instrument(
    "http.server.request.duration",
    "histogram",
    "s",
    "Time from the call of the application until the server closed the response body.",
    SECONDS,
    1e-9,
)
FIRST_BYTE: Final = Instrument(
    "otelmon.http.server.time_to_first_byte",
    "histogram",
    "s",
    "Time from the call of the application until its first byte of response body.",
    SECONDS,
    1e-9,
)
QUEUE: Final = Instrument(
    "otelmon.http.server.queue.duration",
    "histogram",
    "s",
    "Time between the proxy's X-Request-Start and the call of the application.",
    SECONDS,
    1e-9,
)
REQUEST_SIZE: Final = Instrument(
    "http.server.request.body.size",
    "histogram",
    "By",
    "Size of request bodies by their Content-Length.",
    SIZES,
)
RESPONSE_SIZE: Final = Instrument(
    "http.server.response.body.size",
    "histogram",
    "By",
    "Size of response bodies as handed to the server.",
    SIZES,
)

ALL: Final = (DURATION, FIRST_BYTE, QUEUE, REQUEST_SIZE, RESPONSE_SIZE)
