"""What a Socket.IO client recovers its connection by: `recovery:<id>`, for as long as its token."""

from gateways.store.calls import Caller
from gateways.store.keys import Keys


class RecoveryStore:
    """Every method raises StoreUnavailable."""

    def __init__(self, redis: Caller, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    async def keep(self, recovery_id: str, record: bytes, *, seconds: float) -> None:
        await self._redis.call(
            "SET", self._keys.recovery(recovery_id), record, "PX", max(1, int(seconds * 1000))
        )

    async def find(self, recovery_id: str) -> bytes | None:
        record: bytes | None = await self._redis.call("GET", self._keys.recovery(recovery_id))
        return record

    async def forget(self, recovery_id: str) -> None:
        await self._redis.call("DEL", self._keys.recovery(recovery_id))
