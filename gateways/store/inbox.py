"""The inboxes: one stream a user, `u:{id}:inbox`, whose entry ids are `<seq>-0`."""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from msgspec import Struct

from gateways.store import scripts
from gateways.store.calls import Caller
from gateways.store.keys import Keys
from gateways.store.resp import Argument, pack_arguments

#: How long a message id that its sender chose is recognised.
REPEAT_WINDOW_MS: Final = 600_000
#: Entries that a stream keeps beyond an inbox's length: a session may begin at the oldest message
#: of a full inbox, and must have read it before new ones push it out.
TRIM_SLACK: Final = 100
#: Recipients whose packed keys and places are remembered: about 500 bytes each.
KNOWN_RECIPIENTS: Final = 20_000


class Stored(Struct, frozen=True, gc=False):
    """One recipient's outcome. `seq` 0: nothing stored. `nodes` is empty for a repeat: all is said
    already.
    """

    user_id: str
    seq: int
    epoch: str
    live: bool
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    seq: int
    body: bytes


class InboxStore:
    def __init__(self, redis: Caller, keys: Keys, *, ttl_seconds: float, max_messages: int) -> None:
        self._redis = redis
        self._keys = keys
        self._ttl_ms = int(ttl_seconds * 1000)
        self._max_messages = max_messages
        # Making and packing them takes 1 µs a recipient, a tenth of what a delivery costs.
        self._recipient_keys = lru_cache(KNOWN_RECIPIENTS)(
            lambda user_id: pack_arguments(*keys.delivery(user_id))
        )

    @property
    def keeps(self) -> bool:
        """Whether there are inboxes at all."""
        return self._ttl_ms > 0

    async def deliver(
        self,
        user_ids: Sequence[str],
        body: bytes,
        *,
        repeat_key: str | None,
        new_epoch: str,
    ) -> list[Stored]:
        """Append to every recipient's inbox. `repeat_key`: the sender chose the message's id."""
        args = (
            body,
            self._ttl_ms,
            self._max_messages + TRIM_SLACK,
            REPEAT_WINDOW_MS if repeat_key else 0,
            new_epoch,
        )
        at_once = self._redis.users_a_call
        if len(user_ids) <= at_once:
            answers = await self._append(user_ids, repeat_key, args)
        else:
            starts = range(0, len(user_ids), at_once)
            some = [user_ids[start : start + at_once] for start in starts]
            chunks = await asyncio.gather(*[self._append(ids, repeat_key, args) for ids in some])
            answers = [answer for chunk in chunks for answer in chunk]
        return [_outcome(user, answer) for user, answer in zip(user_ids, answers, strict=True)]

    def _append(
        self, user_ids: Sequence[str], repeat_key: str | None, args: Sequence[Argument]
    ) -> Awaitable[list[bytes]]:
        keys = list(map(self._recipient_keys, user_ids))
        if repeat_key:
            got = [pack_arguments(self._keys.got(user_id, repeat_key)) for user_id in user_ids]
            keys = [key for pair in zip(keys, got, strict=True) for key in pair]
        count = (4 if repeat_key else 3) * len(user_ids)
        return self._redis.run_packed(scripts.DELIVER, count, keys, *args, promises=True)

    async def after(self, user_id: str, seq: int, *, count: int) -> list[Entry]:
        """The `count` messages that follow `seq`, in order; fewer where there are no more."""
        answer = await self._redis.call(
            "XRANGE", self._keys.inbox(user_id), f"({seq}-0", "+", "COUNT", count
        )
        return [_entry(*item) for item in answer]

    async def first_receipt(self, sender_id: str, message_id: str) -> bytes | None:
        """The receipt that this sender's message of this id got within the last 10 minutes."""
        receipt: bytes | None = await self._redis.call(
            "GET", self._keys.sent(sender_id, message_id)
        )
        return receipt

    async def keep_receipt(self, sender_id: str, message_id: str, receipt: bytes) -> bytes:
        """Keep a receipt, unless there is one. Returns the one that stands."""
        key = self._keys.sent(sender_id, message_id)
        earlier: bytes | None = await self._redis.call(
            "SET", key, receipt, "NX", "GET", "PX", REPEAT_WINDOW_MS
        )
        return earlier or receipt


def _outcome(user_id: str, answer: bytes) -> Stored:
    seq, _, rest = answer.partition(b" ")
    if not rest:
        return Stored(user_id, 0, "", live=False, nodes=())
    if seq.startswith(b"="):
        return Stored(user_id, int(seq[1:]), "", live=rest == b"sent", nodes=())
    epoch, nodes = _places(rest)
    return Stored(user_id, int(seq), epoch, live=bool(nodes), nodes=nodes)


# The next message to the same recipient most often says the same.
@lru_cache(KNOWN_RECIPIENTS)
def _places(epoch_and_nodes: bytes) -> tuple[str, tuple[str, ...]]:
    epoch, *nodes = epoch_and_nodes.decode().split()
    return epoch, tuple(nodes)


def _entry(entry_id: bytes, fields: list[bytes]) -> Entry:
    return Entry(int(entry_id.partition(b"-")[0]), fields[fields.index(b"b") + 1])
