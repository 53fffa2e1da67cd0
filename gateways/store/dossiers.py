"""All that the store has about one user, read in one go, for whoever has to explain it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateways.store import records
from gateways.store.calls import Caller
from gateways.store.keys import Keys
from gateways.store.link import Refusal
from gateways.store.records import StoredSession, UserState

#: The buckets that a user's messages are drawn from.
LIMITS: Final = ("messages", "recipients")


@dataclass(frozen=True, slots=True)
class Presence:
    """`vacated_by`: the node that was to end the user's presence, where a grace has ever begun."""

    vacated_by: str | None
    in_directory: bool
    #: How many are on the user's list, and on how many lists the user is.
    friends: int
    friend_of: int


@dataclass(frozen=True, slots=True)
class Inbox:
    """`handed`: the newest seq that a session was handed. `oldest`: the oldest entry there is."""

    handed: int
    length: int
    oldest_seq: int | None
    oldest_ms: int | None
    #: When the oldest entry that was not handed came; None where there is none.
    waiting_ms: int | None
    #: In how many ms the whole of it expires.
    expires_in_ms: int | None


@dataclass(frozen=True, slots=True)
class Dossier:
    """Times are the store's, in ms. `leases`: until when each node lives; `claims`: a node that is
    being buried, and by whom. `full_at_ms`: when each of the user's buckets is full again.
    """

    now_ms: int
    exists: bool
    state: UserState
    presence: Presence
    sessions: Sequence[StoredSession]
    inbox: Inbox
    leases: Mapping[str, float]
    claims: Mapping[str, str]
    full_at_ms: Mapping[str, float]


class DossierStore:
    def __init__(self, redis: Caller, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    async def of(self, user_id: str) -> Dossier | None:
        """None where one of the user's keys is of another kind than it should be. Raises
        StoreUnavailable.
        """
        try:
            return await self._read(user_id)
        except Refusal:
            return None

    async def _read(self, user_id: str) -> Dossier:
        keys = self._keys
        inbox = keys.inbox(user_id)
        (
            time,
            state,
            (handed, vacated_by),
            sessions,
            listed,
            friends,
            friend_of,
            length,
            oldest,
            expires_in_ms,
            leases,
            claims,
            *full_at,
        ) = await self._redis.call_all(
            [
                ("TIME",),
                ("HMGET", keys.state(user_id), *records.STATE_FIELDS),
                ("HMGET", keys.state(user_id), "handed", "vacated_by"),
                ("HGETALL", keys.sessions(user_id)),
                ("ZSCORE", keys.online(keys.shard(user_id)), user_id),
                ("SCARD", keys.friends(user_id)),
                ("SCARD", keys.friend_of(user_id)),
                ("XLEN", inbox),
                ("XRANGE", inbox, "-", "+", "COUNT", 1),
                ("PTTL", inbox),
                ("ZRANGE", keys.leases, 0, -1, "WITHSCORES"),
                ("HGETALL", keys.claims),
                *(("GET", keys.limit(name, user_id)) for name in LIMITS),
            ]
        )
        handed_seq = int(handed or 0)
        waiting = await self._redis.call("XRANGE", inbox, f"({handed_seq}-0", "+", "COUNT", 1)
        known = (*state, *sessions, friends, friend_of, length, *full_at)
        return Dossier(
            now_ms=int(time[0]) * 1000 + int(time[1]) // 1000,
            exists=any(known),
            state=records.state(state),
            presence=Presence(
                vacated_by=vacated_by.decode() if vacated_by else None,
                in_directory=listed is not None,
                friends=friends,
                friend_of=friend_of,
            ),
            sessions=[records.stored(*item) for item in records.pairs(sessions)],
            inbox=Inbox(
                handed=handed_seq,
                length=length,
                oldest_seq=_seq(oldest),
                oldest_ms=_stored_ms(oldest),
                waiting_ms=_stored_ms(waiting),
                expires_in_ms=expires_in_ms if expires_in_ms >= 0 else None,
            ),
            leases={node.decode(): float(until) for node, until in records.pairs(leases)},
            claims={node.decode(): by.decode() for node, by in records.pairs(claims)},
            full_at_ms={
                name: float(value or 0) for name, value in zip(LIMITS, full_at, strict=True)
            },
        )


def _seq(entries: Sequence[Any]) -> int | None:
    return int(entries[0][0].partition(b"-")[0]) if entries else None


def _stored_ms(entries: Sequence[Any]) -> int | None:
    """Of its fields `t` is when it was stored, by the store's clock."""
    if not entries:
        return None
    fields = entries[0][1]
    return int(fields[fields.index(b"t") + 1])
