"""Services' sessions: one hash, `{nodes}:services`, since there are few and all are asked for; in
the slot of the store's life, which is asked for with them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from gateways.store import scripts
from gateways.store.calls import Caller
from gateways.store.keys import Keys
from gateways.store.records import node_of, pairs


class _Record(msgspec.Struct, frozen=True):
    service_name: str
    address: str
    connected_at_ms: int


@dataclass(frozen=True, slots=True)
class StoredServiceSession:
    session_id: str
    service_name: str
    address: str
    connected_at_ms: int
    last_activity_ms: int

    @property
    def node_id(self) -> str:
        return node_of(self.session_id)


class ServiceSessionStore:
    def __init__(self, redis: Caller, keys: Keys) -> None:
        self._redis = redis
        self._key = keys.service_sessions
        self._life = keys.life

    async def open(self, session: StoredServiceSession) -> str:
        """Idempotent. Returns the life of the store that has the session now; '' where it begins
        one.
        """
        record = _Record(session.service_name, session.address, session.connected_at_ms)
        value = b"%d|%b" % (session.last_activity_ms, msgspec.json.encode(record))
        _, life = await self._redis.call_all(
            [("HSET", self._key, session.session_id, value), ("GET", self._life)]
        )
        return _text(life)

    async def close(self, session_ids: Sequence[str]) -> int:
        """Returns how many of them were there."""
        if not session_ids:
            return 0
        closed: int = await self._redis.call("HDEL", self._key, *session_ids)
        return closed

    async def touch(self, activity: Mapping[str, int]) -> None:
        """Record last activities, in ms, by session id."""
        if activity:
            items = [item for pair in activity.items() for item in pair]
            await self._redis.run(scripts.TOUCH_SERVICES, (self._key,), *items)

    async def ids(self) -> tuple[list[str], str]:
        """All there are, and the life of the store that says so."""
        keys, life = await self._redis.call_all([("HKEYS", self._key), ("GET", self._life)])
        return [key.decode() for key in keys], _text(life)

    async def all(self) -> list[StoredServiceSession]:
        answer = await self._redis.call("HGETALL", self._key)
        return [_stored(*item) for item in pairs(answer)]


def _text(life: bytes | None) -> str:
    return life.decode() if life is not None else ""


def _stored(session_id: bytes, value: bytes) -> StoredServiceSession:
    last_activity_ms, _, text = value.partition(b"|")
    record = msgspec.json.decode(text, type=_Record)
    return StoredServiceSession(
        session_id=session_id.decode(),
        service_name=record.service_name,
        address=record.address,
        connected_at_ms=record.connected_at_ms,
        last_activity_ms=int(last_activity_ms),
    )
