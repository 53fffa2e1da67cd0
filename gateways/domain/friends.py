"""Friend lists, and which friends are online."""

from collections.abc import Sequence

from gateways.protocol.events import OnlineFriend, timestamp
from gateways.store.friends import FriendStore
from gateways.store.sessions import SessionStore


class Friends:
    def __init__(self, friends: FriendStore, sessions: SessionStore) -> None:
        self._friends = friends
        self._sessions = sessions

    async def online(self, user_id: str) -> list[OnlineFriend]:
        """The user's friends who are online now, by id."""
        friend_ids = await self._friends.of(user_id)
        states = await self._sessions.states(friend_ids)
        return [
            OnlineFriend(
                user_id=friend_id,
                email=state.email,
                status="online",
                last_seen=timestamp(state.last_seen_ms) if state.last_seen_ms else None,
            )
            for friend_id, state in zip(friend_ids, states, strict=True)
            if state.online
        ]

    async def of(self, user_id: str) -> list[str]:
        return await self._friends.of(user_id)

    async def set(self, user_id: str, friend_ids: Sequence[str]) -> int:
        """Replace a user's whole list. Returns how long it is. Idempotent: repeating it mends a
        half one.
        """
        wanted = {friend_id for friend_id in friend_ids if friend_id != user_id}
        present = set(await self._friends.of(user_id))
        await self._friends.remove(user_id, sorted(present - wanted))
        await self._friends.add(user_id, sorted(wanted))
        return len(wanted)

    async def add(self, user_id: str, friend_ids: Sequence[str], *, mutual: bool = True) -> int:
        """Put users on a user's list, and, where it is mutual, the user on theirs. Returns how long
        the user's own list is now. Idempotent, as `set`.
        """
        others = sorted({friend_id for friend_id in friend_ids if friend_id != user_id})
        await self._friends.add(user_id, others)
        if mutual:
            await self._friends.enlist(user_id, others)
        return await self._friends.count(user_id)

    async def remove(self, user_id: str, friend_ids: Sequence[str], *, mutual: bool = True) -> int:
        """The opposite of `add`. A friendship that is not there is none to remove."""
        others = sorted(set(friend_ids))
        await self._friends.remove(user_id, others)
        if mutual:
            await self._friends.delist(user_id, others)
        return await self._friends.count(user_id)
