"""What the store knows of users and their sessions, and how to read it from its answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec


class SessionRecord(msgspec.Struct, frozen=True):
    """What the store keeps of a session beside its id and its last activity."""

    device_id: str | None
    device_info: Any
    connected_at_ms: int


@dataclass(frozen=True, slots=True)
class StoredSession:
    session_id: str
    last_activity_ms: int
    record: SessionRecord

    @property
    def node_id(self) -> str:
        return node_of(self.session_id)


@dataclass(frozen=True, slots=True)
class Transition:
    """A user came online or went offline. A higher generation is the later one; it is about the
    time of the change, by the store's clock, in ms.
    """

    user_id: str
    online: bool
    generation: int
    email: str | None
    last_seen_ms: int


@dataclass(frozen=True, slots=True)
class Opened:
    """Where a session comes in: it needs what lies after `position`, up to `seq` and beyond.

    `untold`: the user's presence, where nobody has announced it yet. `at_ms`: the store's time.
    """

    untold: Transition | None
    at_ms: int
    epoch: str
    seq: int
    position: int
    missed: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class Closed:
    existed: bool
    vacancy: int
    untold: Transition | None


@dataclass(frozen=True, slots=True)
class UserState:
    """What is known of a user; all unknown for one who never connected."""

    online: bool = False
    generation: int = 0
    email: str | None = None
    last_seen_ms: int | None = None
    epoch: str | None = None
    seq: int = 0
    announced: int = 0


#: What `state` reads, in its order.
STATE_FIELDS: Final = ("online", "generation", "email", "last_seen", "epoch", "seq", "announced")


def node_of(session_id: str) -> str:
    """A session's id begins with its node's: no look-up is needed to find it."""
    return session_id.partition(".")[0]


def untold(user_id: str, standing: Sequence[Any]) -> Transition | None:
    """From what scripts say of presence: {untold, online, generation, email, last seen}."""
    is_untold, online, generation, email, last_seen_ms = standing
    if not is_untold:
        return None
    return Transition(user_id, online == 1, generation, email.decode() or None, last_seen_ms)


def pairs(answer: list[bytes]) -> list[tuple[bytes, bytes]]:
    """HGETALL's answer, a flat list over RESP2."""
    return list(zip(answer[::2], answer[1::2], strict=True))


def stored(session_id: bytes, value: bytes) -> StoredSession:
    last_activity_ms, _, record = value.partition(b"|")
    return StoredSession(
        session_id.decode(),
        int(last_activity_ms),
        msgspec.json.decode(record, type=SessionRecord),
    )


def state(answer: Sequence[bytes | None]) -> UserState:
    online, generation, email, last_seen, epoch, seq, announced = answer
    return UserState(
        online=online == b"1",
        generation=int(generation or 0),
        email=email.decode() if email else None,
        last_seen_ms=int(last_seen) if last_seen else None,
        epoch=epoch.decode() if epoch else None,
        seq=int(seq or 0),
        announced=int(announced or 0),
    )
