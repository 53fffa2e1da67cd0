"""Who is online, of everybody: pages for clients that list more than their friends."""

import asyncio
import base64
import binascii
from collections.abc import Sequence
from typing import Final

from msgspec import UNSET

from gateways.protocol.errors import InvalidPayload
from gateways.protocol.events import (
    DetailedUser,
    DetailedUsers,
    OnlineUser,
    OnlineUsers,
    Page,
    timestamp,
)
from gateways.protocol.internal_events import UserStatus
from gateways.session import Identity
from gateways.store.directory import DirectoryStore
from gateways.store.friends import FriendStore
from gateways.store.keys import DIRECTORY_SHARDS
from gateways.store.records import UserState
from gateways.store.sessions import SessionStore

DETAILED_SCOPE: Final = "presence:detailed"


class Directory:
    def __init__(
        self,
        directory: DirectoryStore,
        sessions: SessionStore,
        friends: FriendStore,
        *,
        detailed_for_everyone: bool,
    ) -> None:
        self._directory = directory
        self._sessions = sessions
        self._friends = friends
        self._detailed_for_everyone = detailed_for_everyone

    async def online(self, page: Page) -> OnlineUsers:
        users, next_cursor = await self._page(page)
        return OnlineUsers(
            users=[OnlineUser(user_id, "online", _last_seen(state)) for user_id, state in users],
            total=await self._directory.total(),
            next_cursor=next_cursor or UNSET,
        )

    async def detailed(self, viewer: Identity, page: Page) -> DetailedUsers:
        """As `online`, with e-mail and number of sessions where the viewer may see them."""
        users, next_cursor = await self._page(page)
        user_ids = [user_id for user_id, _ in users]
        counts = await self._sessions.counts(user_ids)
        everyone = self._detailed_for_everyone or DETAILED_SCOPE in viewer.scope
        visible = set(user_ids) if everyone else {viewer.user_id}
        if not everyone:
            visible.update(await self._friends.of(viewer.user_id))
        return DetailedUsers(
            users=[
                DetailedUser(
                    user_id=user_id,
                    status="online",
                    last_seen=_last_seen(state),
                    email=state.email if user_id in visible else UNSET,
                    session_count=count if user_id in visible else UNSET,
                )
                for (user_id, state), count in zip(users, counts, strict=True)
            ],
            total=await self._directory.total(),
            timestamp=timestamp(),
            next_cursor=next_cursor or UNSET,
        )

    async def statuses(self, user_ids: Sequence[str]) -> list[UserStatus]:
        """How things stand with these users; one never seen is offline, `last_seen` unknown."""
        states, counts = await asyncio.gather(
            self._sessions.states(user_ids), self._sessions.counts(user_ids)
        )
        return [
            UserStatus(
                user_id=user_id,
                status="online" if state.online else "offline",
                last_seen=_last_seen(state),
                session_count=count,
            )
            for user_id, state, count in zip(user_ids, states, counts, strict=True)
        ]

    async def total(self) -> int:
        return await self._directory.total()

    async def _page(self, page: Page) -> tuple[Sequence[tuple[str, UserState]], str | None]:
        shard, after = _parse_cursor(page.cursor)
        user_ids: list[str] = []
        next_cursor = None
        while shard < DIRECTORY_SHARDS:
            # One more than wanted tells whether there is a next page.
            found = await self._directory.page(shard, after, page.limit + 1 - len(user_ids))
            user_ids += found
            if len(user_ids) > page.limit:
                user_ids = user_ids[: page.limit]
                last_here = len(found) > 1
                next_cursor = _cursor(shard, user_ids[-1] if last_here else after)
                break
            shard, after = shard + 1, ""
        states = await self._sessions.states(user_ids)
        # The directory may lag behind a state by a moment; the state is right.
        pairs = zip(user_ids, states, strict=True)
        return [(user_id, state) for user_id, state in pairs if state.online], next_cursor


def _last_seen(state: UserState) -> str | None:
    return timestamp(state.last_seen_ms) if state.last_seen_ms else None


def _cursor(shard: int, after: str) -> str:
    return base64.urlsafe_b64encode(f"{shard}:{after}".encode()).decode()


def _parse_cursor(cursor: str | None) -> tuple[int, str]:
    if cursor is None:
        return 0, ""
    try:
        text = base64.b64decode(cursor, altchars=b"-_", validate=True).decode()
        shard, separator, after = text.partition(":")
        if separator and shard.isdecimal() and int(shard) < DIRECTORY_SHARDS:
            return int(shard), after
    except (binascii.Error, ValueError):
        pass
    raise InvalidPayload("cursor: expected the nextCursor of an earlier page")
