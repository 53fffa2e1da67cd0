"""Friend lists: `u:{id}:friends`, and their other side `u:{id}:friend_of`: whose lists the user is
on.
"""

from collections.abc import Sequence

from gateways.store.calls import Caller
from gateways.store.keys import Keys
from gateways.store.resp import Argument

#: Members a command: a list of any length goes in bounded steps.
_STEP = 1000


class FriendStore:
    """Both sides are sets in different slots, written one after the other: repeating a write mends
    a half one.
    """

    def __init__(self, redis: Caller, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    async def of(self, user_id: str) -> list[str]:
        """The user's own list."""
        return sorted(_decoded(await self._redis.call("SMEMBERS", self._keys.friends(user_id))))

    async def of_all(self, user_ids: Sequence[str]) -> list[list[str]]:
        """The same of many users."""
        answers = await self._redis.call_all(
            [("SMEMBERS", self._keys.friends(user_id)) for user_id in user_ids]
        )
        return [_decoded(answer) for answer in answers]

    async def watchers(self, user_ids: Sequence[str]) -> list[list[str]]:
        """Those on whose lists each user is: they hear when the user comes and goes."""
        answers = await self._redis.call_all(
            [("SMEMBERS", self._keys.friend_of(user_id)) for user_id in user_ids]
        )
        return [_decoded(answer) for answer in answers]

    async def count(self, user_id: str) -> int:
        total: int = await self._redis.call("SCARD", self._keys.friends(user_id))
        return total

    async def add(self, user_id: str, friend_ids: Sequence[str]) -> None:
        # The other side first: a watcher too many hears something, one too few would miss it.
        await self._each("SADD", [self._keys.friend_of(friend) for friend in friend_ids], user_id)
        await self._members("SADD", self._keys.friends(user_id), friend_ids)

    async def remove(self, user_id: str, friend_ids: Sequence[str]) -> None:
        await self._members("SREM", self._keys.friends(user_id), friend_ids)
        await self._each("SREM", [self._keys.friend_of(friend) for friend in friend_ids], user_id)

    async def enlist(self, user_id: str, owner_ids: Sequence[str]) -> None:
        """Put the user on the lists of others."""
        await self._members("SADD", self._keys.friend_of(user_id), owner_ids)
        await self._each("SADD", [self._keys.friends(owner) for owner in owner_ids], user_id)

    async def delist(self, user_id: str, owner_ids: Sequence[str]) -> None:
        await self._each("SREM", [self._keys.friends(owner) for owner in owner_ids], user_id)
        await self._members("SREM", self._keys.friend_of(user_id), owner_ids)

    async def _each(self, command: str, keys: Sequence[str], member: str) -> None:
        for start in range(0, len(keys), _STEP):
            await self._redis.call_all(
                [(command, key, member) for key in keys[start : start + _STEP]]
            )

    async def _members(self, command: str, key: str, members: Sequence[Argument]) -> None:
        for start in range(0, len(members), _STEP):
            await self._redis.call(command, key, *members[start : start + _STEP])


def _decoded(members: set[bytes] | list[bytes]) -> list[str]:
    return [member.decode() for member in members]
