"""Counts of clients in Redis, for all machines that ask it, decided there in one step."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from otelmon.caches.clients import redis_client
from otelmon.hardening.limit_script import SCRIPT
from otelmon.ledger.quotas import KEY_BYTES, Answer
from otelmon.ledger.sliding import standing


if TYPE_CHECKING:
    from collections.abc import Sequence

    from otelmon.hardening.policies import Quota


_MS: Final = 1_000_000
_SECOND: Final = 1_000 * _MS
_PREFIX: Final = "otelmon:limits"


class LimitRedis:
    """The counts of one service in one Redis."""

    def __init__(self, url: str, service: str) -> None:
        """Ask the Redis at *url*, by the client with deadlines and breaker; nothing is sent yet.

        Raises:
            ConfigError: redis-py is missing, or the URL cannot be used.
        """
        self._client = redis_client(url)
        self._decide = self._client.register_script(SCRIPT)
        self._prefix = f"{_PREFIX}:{quote(service, safe='')}"

    def hit(self, quotas: Sequence[Quota], client: str) -> Answer:
        """Count a client's request under each quota if all admit it, else under none.

        Raises:
            redis.RedisError: it does not answer, or not in time.
        """
        # No address lies in Redis, and no text of a client's can be another one's key.
        name = hashlib.blake2b(client.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES)
        # The braces have a cluster keep all of a client's records in one place.
        begin = f"{self._prefix}:{{{name.hexdigest()}}}"
        keys = [f"{begin}:{quota.name}:{quota.requests}:{quota.seconds}" for quota in quotas]
        asked = [number for quota in quotas for number in (quota.requests, quota.seconds * 1000)]
        counted, now, windows = self._decide(keys, asked)
        return Answer(
            [
                standing(
                    (start * _MS, before, hits),
                    quota.requests,
                    quota.seconds * _SECOND,
                    now * _MS,
                    counted=bool(counted),
                )
                for quota, (start, before, hits) in zip(quotas, windows, strict=True)
            ],
            0,
        )

    def close(self) -> None:
        """Close the connections; another hit opens new ones."""
        self._client.close()
