"""Token buckets that hold across nodes: `limit:<name>:<subject>`."""

from dataclasses import dataclass

from gateways.store import scripts
from gateways.store.calls import Caller
from gateways.store.keys import Keys


@dataclass(frozen=True, slots=True)
class Rate:
    """A bucket of `count` tokens that fills up within `seconds`."""

    count: int
    seconds: float


class LimitStore:
    def __init__(self, redis: Caller, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    async def take(self, name: str, subject: str, rate: Rate, tokens: int = 1) -> int:
        """Take tokens. Returns 0, or in how many ms there are so many."""
        return await self._run(name, subject, rate, tokens)

    async def put_back(self, name: str, subject: str, rate: Rate) -> None:
        """What a token was taken for came to nothing."""
        await self._run(name, subject, rate, -1)

    async def _run(self, name: str, subject: str, rate: Rate, tokens: int) -> int:
        wait_ms: int = await self._redis.run(
            scripts.TAKE_TOKEN,
            (self._keys.limit(name, subject),),
            rate.seconds * 1000 / rate.count,
            rate.count,
            tokens,
        )
        return wait_ms
