"""Sessions and the presence that follows from them: `u:{id}:sessions`, `u:{id}:state`."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TypeVar

import msgspec

from gateways.store import records, scripts
from gateways.store.calls import Caller
from gateways.store.errors import TooManySessions
from gateways.store.keys import Keys
from gateways.store.records import (
    Closed,
    Opened,
    SessionRecord,
    StoredSession,
    Transition,
    UserState,
)

T = TypeVar("T")


class SessionStore:
    def __init__(
        self, redis: Caller, keys: Keys, *, inbox_ttl_seconds: float, inbox_max_messages: int
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._inbox_ttl_ms = int(inbox_ttl_seconds * 1000)
        self._inbox_max_messages = inbox_max_messages

    async def open(
        self,
        user_id: str,
        session_id: str,
        record: SessionRecord,
        *,
        email: str | None,
        new_epoch: str,
        resume: tuple[str, int] | None,
        at_most: int = 0,
    ) -> Opened:
        """Idempotent: opening a session that stands changes nothing but its record. Raises
        TooManySessions where the user has `at_most` others.
        """
        keys = self._keys
        epoch, seq = resume or ("", -1)
        answer = await self._redis.run(
            scripts.OPEN_SESSION,
            (keys.sessions(user_id), keys.state(user_id), keys.inbox(user_id)),
            session_id,
            msgspec.json.encode(record),
            email or "",
            new_epoch,
            epoch,
            seq,
            self._inbox_ttl_ms,
            self._inbox_max_messages,
            at_most,
        )
        if not answer:
            raise TooManySessions
        (
            untold,
            generation,
            stored_email,
            at_ms,
            standing_epoch,
            newest,
            position,
            missed,
            reason,
        ) = answer
        return Opened(
            untold=records.untold(user_id, (untold, 1, generation, stored_email, at_ms)),
            at_ms=at_ms,
            epoch=standing_epoch.decode(),
            seq=newest,
            position=position,
            missed=missed,
            reason=reason.decode() or None,
        )

    async def close(
        self,
        user_id: str,
        session_id: str,
        *,
        goodbye: bool,
        handed_seq: int = 0,
        epoch: str = "",
    ) -> Closed:
        """Idempotent: a session that is not there changes nobody's presence."""
        keys = self._keys
        answer = await self._redis.run(
            scripts.CLOSE_SESSION,
            (keys.sessions(user_id), keys.state(user_id)),
            session_id,
            int(goodbye),
            handed_seq,
            epoch,
        )
        existed, vacancy, *standing = answer
        return Closed(existed == 1, vacancy, records.untold(user_id, standing))

    async def bury_vacant(self, user_id: str, vacancy: int) -> Transition | None:
        standing = await self._redis.run(
            scripts.BURY_VACANT,
            (self._keys.sessions(user_id), self._keys.state(user_id)),
            vacancy,
        )
        return records.untold(user_id, standing)

    async def reap(self, user_ids: Sequence[str], node_id: str) -> tuple[int, list[Transition]]:
        """Take away what a dead node held of these users. Returns how many sessions, and the
        changes that nobody has announced: its own, and those that it did not come to.
        """
        keys = self._keys
        answers = await self._redis.run_all(
            scripts.REAP_USER,
            [((keys.sessions(user), keys.state(user)), (node_id,)) for user in user_ids],
        )
        removed = 0
        untold = []
        for user_id, (count, *standing) in zip(user_ids, answers, strict=True):
            removed += count
            transition = records.untold(user_id, standing)
            if transition is not None:
                untold.append(transition)
        return removed, untold

    async def mark_announced(self, generations: Mapping[str, int]) -> None:
        """The directory and the friends know of each user's change of this generation."""
        await self._redis.call_all(
            [
                ("HSET", self._keys.state(user_id), "announced", generation)
                for user_id, generation in generations.items()
            ]
        )

    async def untold(self, user_ids: Sequence[str]) -> list[Transition]:
        """The changes of these users that nobody has announced."""
        return [
            Transition(
                user_id, state.online, state.generation, state.email, state.last_seen_ms or 0
            )
            for user_id, state in zip(user_ids, await self.states(user_ids), strict=True)
            if state.generation > state.announced
        ]

    async def renew_epoch(self, user_id: str, epoch: str, seq: int, *, new_epoch: str) -> None:
        """Begin another epoch, where the store no longer knows of a `seq` that was handed out."""
        await self._redis.run(
            scripts.RENEW_EPOCH, (self._keys.state(user_id),), epoch, seq, new_epoch
        )

    async def touch(self, activity: Mapping[str, Mapping[str, int]]) -> None:
        """Record last activities, in ms: user id → session id → when."""
        calls = []
        for user_id, sessions in activity.items():
            pairs = [item for pair in sessions.items() for item in pair]
            keys = (self._keys.sessions(user_id), self._keys.state(user_id))
            calls.append((keys, (max(sessions.values()), *pairs)))
        await self._redis.run_all(scripts.TOUCH_SESSIONS, calls)

    async def mark_handed(self, handed: Mapping[tuple[str, str], int]) -> None:
        """User id and epoch → newest seq that a session of theirs has been handed."""
        await self._redis.run_all(
            scripts.MARK_HANDED,
            [
                (
                    [self._keys.state(user_id) for user_id, _ in some],
                    [word for place in some for word in (place[1], handed[place])],
                )
                for some in self._stretches(list(handed))
            ],
        )

    async def vacated_by(self, user_id: str) -> str | None:
        """The node that is to bury this user's presence, where it stands without a session."""
        online, node_id = await self._redis.call(
            "HMGET", self._keys.state(user_id), "online", "vacated_by"
        )
        return node_id.decode() if online == b"1" and node_id else None

    async def of_user(self, user_id: str) -> list[StoredSession]:
        return (await self.of_users([user_id]))[0]

    async def of_users(self, user_ids: Sequence[str]) -> list[list[StoredSession]]:
        answers = await self._redis.call_all(
            [("HGETALL", self._keys.sessions(user_id)) for user_id in user_ids]
        )
        return [[records.stored(*item) for item in records.pairs(answer)] for answer in answers]

    async def ids_of_users(self, user_ids: Sequence[str]) -> list[list[str]]:
        answers = await self._redis.call_all(
            [("HKEYS", self._keys.sessions(user_id)) for user_id in user_ids]
        )
        return [[key.decode() for key in answer] for answer in answers]

    async def nodes_of(self, user_ids: Sequence[str]) -> list[tuple[str, ...]]:
        """Which nodes hold sessions of each user."""
        answers = await self._redis.run_all(
            scripts.NODES_OF,
            [
                ([self._keys.sessions(user) for user in some], ())
                for some in self._stretches(user_ids)
            ],
        )
        return [_nodes(answer) for some in answers for answer in some]

    async def counts(self, user_ids: Sequence[str]) -> list[int]:
        return await self._redis.call_all(
            [("HLEN", self._keys.sessions(user_id)) for user_id in user_ids]
        )

    async def states(self, user_ids: Sequence[str]) -> list[UserState]:
        answers = await self._redis.call_all(
            [("HMGET", self._keys.state(user_id), *records.STATE_FIELDS) for user_id in user_ids]
        )
        return [records.state(answer) for answer in answers]

    def _stretches(self, users: Sequence[T]) -> Iterator[Sequence[T]]:
        at_once = self._redis.users_a_call
        for start in range(0, len(users), at_once):
            yield users[start : start + at_once]


# Of many users at once nearly all have the same answer.
@lru_cache(1000)
def _nodes(answer: bytes) -> tuple[str, ...]:
    return tuple(answer.decode().split())
