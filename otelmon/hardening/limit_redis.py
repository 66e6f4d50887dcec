"""Counts of clients in Redis, for all machines that ask it: the storage and strategy of `limits`."""

from __future__ import annotations

import hashlib
import importlib.util
from typing import TYPE_CHECKING, Final, NamedTuple

from otelmon.caches.clients import redis_client
from otelmon.errors import ConfigError
from otelmon.ledger.quotas import KEY_BYTES, Answer
from otelmon.ledger.sliding import Standing, standing


if TYPE_CHECKING:
    from collections.abc import Sequence

    from limits import RateLimitItem
    from limits.storage import RedisStorage

    from otelmon.hardening.policies import Quota


_SECOND: Final = 1_000_000_000
_PREFIX: Final = "otelmon:limits"


class _Asked(NamedTuple):
    quota: Quota
    item: RateLimitItem
    client: str


class LimitRedis:
    """The counts of one service in one Redis."""

    def __init__(self, url: str, service: str) -> None:
        """Ask the Redis at *url*, by the client with deadlines and breaker; nothing is sent yet.

        Raises:
            ConfigError: a library is missing, or the URL cannot be used.
        """
        if importlib.util.find_spec("limits") is None:
            raise ConfigError(
                "Limits in Redis take the library limits, which is not installed: "
                "pip install 'otelmon[hardening]'."
            )
        # Here, because only who counts in Redis is to pay for the imports.
        from limits.storage import RedisStorage
        from limits.strategies import SlidingWindowCounterRateLimiter

        self._client = client = redis_client(url)
        storage = RedisStorage(
            "redis://", connection_pool=client.connection_pool, key_prefix=f"{_PREFIX}:{service}"
        )
        # A subclass would take its place for all that use `limits` in this process.
        storage.storage = client
        storage.initialize_storage("redis://")
        self._storage: RedisStorage = storage
        self._limiter = SlidingWindowCounterRateLimiter(storage)

    def hit(self, quotas: Sequence[Quota], client: str) -> Answer:
        """Count a client's request under each quota if all admit it.

        Several quotas are asked first and counted afterwards, so another machine's request may come
        between: then what was counted by then under other quotas stays counted.

        Raises:
            redis.RedisError: it does not answer, or not in time.
        """
        # No address lies in Redis, and no text of a client's can be another one's key.
        name = hashlib.blake2b(client.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES)
        asked = [_Asked(quota, _item(quota), name.hexdigest()) for quota in quotas]
        if len(asked) > 1:
            before = [self._standing(each, counted=False) for each in asked]
            if not all(each.admitted for each in before):
                return Answer(before, 0)
        answers: list[Standing] = []
        for each in asked:
            passed = self._limiter.hit(each.item, each.client)
            found = self._standing(each, counted=passed)
            # By then something may have faded that was in the way a moment ago.
            answers.append(found._replace(admitted=passed))
            if not passed:
                break
        return Answer(answers, 0)

    def close(self) -> None:
        """Close the connections; another hit opens new ones."""
        self._client.close()

    def _standing(self, asked: _Asked, *, counted: bool) -> Standing:
        """Return how a client stands; *counted* tells whether its hit is among what it has."""
        quota = asked.quota
        before, _, hits, ends_in = self._storage.get_sliding_window(
            asked.item.key_for(asked.client), quota.seconds
        )
        period = quota.seconds * _SECOND
        # A window is kept for another period, in which it is the one before.
        age = 2 * period - int(ends_in * _SECOND) if ends_in else 0
        return standing((0, before, hits), quota.requests, period, age, counted=counted)


def _item(quota: Quota) -> RateLimitItem:
    from limits import RateLimitItemPerSecond

    return RateLimitItemPerSecond(quota.requests, quota.seconds, namespace=quota.name)
