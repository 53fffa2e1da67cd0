"""Who is online, for pages over everybody: `online:<shard>`, sorted sets whose members all score 0.

With equal scores a sorted set is ordered by its members (Redis, ZRANGEBYLEX), so the last member of
a page is a cursor that stays right while others come and go.
"""

from collections.abc import Mapping, Sequence

from gateways.store.calls import Caller
from gateways.store.keys import DIRECTORY_SHARDS, Keys


class DirectoryStore:
    """An index over what the users' own states say. It is repaired from them, never the other way
    round.
    """

    def __init__(self, redis: Caller, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    async def write(self, online: Mapping[str, bool]) -> None:
        keys = self._keys
        await self._redis.call_all(
            [
                ("ZADD", keys.online(keys.shard(user_id)), 0, user_id)
                if is_online
                else ("ZREM", keys.online(keys.shard(user_id)), user_id)
                for user_id, is_online in online.items()
            ]
        )

    async def contains(self, user_ids: Sequence[str]) -> list[bool]:
        keys = self._keys
        scores = await self._redis.call_all(
            [("ZSCORE", keys.online(keys.shard(user_id)), user_id) for user_id in user_ids]
        )
        return [score is not None for score in scores]

    async def total(self) -> int:
        return sum(
            await self._redis.call_all(
                [("ZCARD", self._keys.online(shard)) for shard in range(DIRECTORY_SHARDS)]
            )
        )

    async def page(self, shard: int, after: str, limit: int) -> Sequence[str]:
        """Up to `limit` users of a shard, in order, that come after the user `after` ('' for the
        first page).
        """
        members = await self._redis.call(
            "ZRANGEBYLEX",
            self._keys.online(shard),
            b"(" + after.encode() if after else "-",
            "+",
            "LIMIT",
            0,
            limit,
        )
        return [member.decode() for member in members]
