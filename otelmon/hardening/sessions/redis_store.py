"""Sessions in Redis: a hash with one field for each key, so that two requests can both write.

One script for each operation, each one round trip that nothing can come between. Redis knows no
session by its id but by the id's SHA-256, so that whoever reads a dump of it can be nobody.
Beside them lies an index of when each ends, by which they are counted. A Redis Cluster is not
supported: the index and a session lie in different slots.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, Any, Final

from otelmon.errors import ConfigError
from otelmon.hardening.sessions.errors import EndedError, RejectedError
from otelmon.hardening.sessions.stores import MOST_SECONDS, REFRESH, Kept, Saved
from otelmon.hardening.sessions.values import value_of
from otelmon.instruments.redis_pools import name_of


if TYPE_CHECKING:
    import redis

    from otelmon.hardening.sessions.signatures import Signatures
    from otelmon.hardening.sessions.values import Changes


_ID_BYTES: Final = 32
"""256 bits: OWASP asks for 64 of entropy"""
_LIFETIME: Final = "lifetime"
"""The field of the milliseconds that a session lives; all others begin with a colon"""
_DAMAGED: Final = b"damaged"

# What is alive until when, in milliseconds of the server's clock. That it fails ends no session.
_ALIVE: Final = """
local function alive(index, member, ms)
  local now = redis.call('TIME')
  redis.pcall('ZADD', index, string.format('%.0f', now[1] * 1000 + ms), member)
  local left = redis.pcall('PTTL', index)
  if type(left) == 'number' and left < ms then
    redis.pcall('PEXPIRE', index, string.format('%.0f', ms))
  end
end
"""
_LOAD: Final = (
    _ALIVE
    + """
local kind = redis.call('TYPE', KEYS[1])['ok']
if kind == 'none' then return false end
if kind ~= 'hash' then return 'damaged' end
local ms = tonumber(redis.call('HGET', KEYS[1], 'lifetime'))
if not (ms and ms >= 1 and ms <= 1e12) then return 'damaged' end
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', ms))
alive(KEYS[2], ARGV[1], ms)
return redis.call('HGETALL', KEYS[1])
"""
)
# KEYS: the session, the index, what the session was before. ARGV: what to do, milliseconds, both
# members of the index, how many words of fields with values follow, these, fields that go.
_SAVE: Final = (
    _ALIVE
    + """
local what, ms, pairs_ = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[5])
if what ~= 'create' and redis.call('EXISTS', KEYS[3]) == 0 then return 0 end
if what == 'renew' then
  redis.call('RENAME', KEYS[3], KEYS[1])
  redis.pcall('ZREM', KEYS[2], ARGV[4])
end
redis.call('HSET', KEYS[1], 'lifetime', ARGV[2])
for i = 6, 5 + pairs_, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
for i = 6 + pairs_, #ARGV do redis.call('HDEL', KEYS[1], ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
alive(KEYS[2], ARGV[3], ms)
if what == 'create' then
  redis.pcall('ZREMRANGEBYSCORE', KEYS[2], '-inf', redis.call('TIME')[1] * 1000)
end
return 1
"""
)
_END: Final = """
redis.pcall('ZREM', KEYS[2], ARGV[1])
return redis.call('DEL', KEYS[1])
"""
_COUNT: Final = """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', redis.call('TIME')[1] * 1000)
return redis.call('ZCARD', KEYS[1])
"""


class RedisStore:
    """Keeps sessions in Redis, each until it was not asked for during its lifetime."""

    revocable = True

    def __init__(
        self, client: redis.Redis, signatures: Signatures, *, prefix: str, lifetime: float
    ) -> None:
        """Keep them by *client*; nothing is connected yet.

        Raises:
            ConfigError: the client decodes what it reads.
        """
        if client.get_encoder().decode_responses:
            # Bytes that are no text would leave the rest of a reply to the connection's next user.
            raise ConfigError(
                "client has decode_responses=True: give one without, or a url instead."
            )
        self._client = client
        self.lifetime = lifetime
        # So that the client's cookie, which is not given anew each time, outlives the session.
        self.cookie_seconds = round(self.lifetime * (1 + REFRESH)) + 1
        self._signatures = signatures
        self._prefix = prefix
        self._index = f"{prefix}index"
        self.place: str | None = f"{name_of(client.connection_pool)} {prefix}"
        self._load = client.register_script(_LOAD)
        self._save = client.register_script(_SAVE)
        self._end = client.register_script(_END)
        self._count = client.register_script(_COUNT)

    def load(self, cookie: str) -> Kept:
        """Read it, and let it live for another lifetime."""
        signed = self._signatures.read(cookie)
        member = _digest(signed.text)
        found: Any = self._load(keys=[self._prefix + member, self._index], args=[member])
        if found is None:
            raise RejectedError("unknown")
        if found == _DAMAGED or not isinstance(found, list):
            raise RejectedError("damaged")
        texts = _texts(found)
        data = {key: value_of(text) for key, text in texts.items()}
        stale = not signed.current or signed.age > self.lifetime * REFRESH
        return Kept(signed.text, texts, data, stale)

    def has(self, cookie: str) -> bool:
        """Ask for it alone, so that it lives no longer."""
        signed = self._signatures.read(cookie)
        return bool(self._client.exists(self._prefix + _digest(signed.text)))

    def save(
        self,
        kept: Kept | None,
        changes: Changes,
        *,
        renew: bool = False,
        lifetime: float | None = None,
    ) -> Saved:
        """Write the fields that have changed, and no others; under another id if it is to be new."""
        fresh = kept is None or renew
        id_ = secrets.token_urlsafe(_ID_BYTES) if fresh or kept is None else kept.id
        before = id_ if kept is None else kept.id
        if changes or fresh or lifetime is not None:
            what = "create" if kept is None else "renew" if renew else "keep"
            self._write(what, id_, before, changes, self.lifetime if lifetime is None else lifetime)
        stale = kept is not None and kept.stale
        cookie = self._signatures.sign(id_) if fresh or stale else None
        return Saved(Kept(id_, changes.texts, {}, stale=False), cookie)

    def _write(self, what: str, id_: str, before: str, changes: Changes, seconds: float) -> None:
        member, earlier = _digest(id_), _digest(before)
        words = [word for key, text in changes.put.items() for word in (f":{key}", text)]
        gone = [f":{key}" for key in changes.gone]
        ms = max(1, round(min(seconds, MOST_SECONDS) * 1000))
        done = self._save(
            keys=[self._prefix + member, self._index, self._prefix + earlier],
            args=[what, ms, member, earlier, len(words), *words, *gone],
        )
        if not done:
            raise EndedError

    def end(self, kept: Kept) -> bool:
        """Delete it."""
        member = _digest(kept.id)
        self._end(keys=[self._prefix + member, self._index], args=[member])
        return True

    def active(self) -> int | None:
        """Count those that have not ended, by the index."""
        count: Any = self._count(keys=[self._index])
        return int(count)


def _digest(id_: str) -> str:
    return hashlib.sha256(id_.encode()).hexdigest()


def _texts(found: list[Any]) -> dict[str, str]:
    """Return JSON by key, as it lies there."""
    pairs = iter(found)
    try:
        fields = {key.decode(): text.decode() for key, text in zip(pairs, pairs, strict=True)}
    except (AttributeError, ValueError):
        raise RejectedError("damaged") from None
    fields.pop(_LIFETIME, None)
    if not all(key.startswith(":") for key in fields):
        raise RejectedError("damaged")
    return {key[1:]: text for key, text in fields.items()}
