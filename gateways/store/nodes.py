"""Nodes: their leases, who buries a dead one, and which users each holds."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from gateways.store import scripts
from gateways.store.calls import Caller
from gateways.store.keys import Keys

_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Lease:
    """What a node learns when it renews. `term` is another one where it was buried since it last
    knew; `life` names what the store remembers since it last lost its data.
    """

    term: str
    claimed: bool
    life: str
    expired: Sequence[str]


class NodeStore:
    def __init__(self, redis: Caller, keys: Keys, *, lease_seconds: float) -> None:
        self._redis = redis
        self._keys = keys
        self._lease_ms = int(lease_seconds * 1000)

    async def renew(self, node_id: str, *, new_name: str) -> Lease:
        """`new_name` is the term's, or the life's, should one begin."""
        term, claimed, life, *expired = await self._redis.run(
            scripts.RENEW_LEASE,
            (self._keys.leases, self._keys.claims, self._keys.life, self._keys.terms),
            node_id,
            self._lease_ms,
            new_name,
        )
        return Lease(
            term.decode(), claimed == 1, life.decode(), [node.decode() for node in expired]
        )

    async def claim(self, dead_node_id: str, node_id: str) -> bool:
        claimed: int = await self._redis.run(
            scripts.CLAIM_NODE,
            (self._keys.leases, self._keys.claims),
            dead_node_id,
            node_id,
            self._lease_ms,
        )
        return claimed == 1

    async def forget(self, node_id: str) -> None:
        """The node holds nothing any more."""
        await self._redis.call_all(
            [
                ("ZREM", self._keys.leases, node_id),
                ("HDEL", self._keys.claims, node_id),
                ("HDEL", self._keys.terms, node_id),
                ("DEL", self._keys.node_users(node_id)),
            ]
        )

    async def drop_lease(self, node_id: str, *, grace_seconds: float) -> None:
        await self._redis.run(
            scripts.DROP_LEASE,
            (self._keys.leases, self._keys.claims),
            node_id,
            int(grace_seconds * 1000),
        )

    async def ping(self) -> None:
        """Raises StoreUnavailable."""
        await self._redis.call("PING")

    async def all(self) -> list[str]:
        nodes = await self._redis.call("ZRANGE", self._keys.leases, 0, -1)
        return [node.decode() for node in nodes]

    async def hold(self, node_id: str, user_id: str) -> None:
        """Before a user's session is opened here, so that no session is ever without an heir."""
        await self._redis.call("SADD", self._keys.node_users(node_id), user_id)

    async def let_go(self, node_id: str, user_id: str) -> None:
        await self._redis.call("SREM", self._keys.node_users(node_id), user_id)

    async def users(self, node_id: str) -> AsyncIterator[list[str]]:
        """The users that a node holds, in pages; one may come twice, as SSCAN has it."""
        cursor = 0
        while True:
            position, members = await self._redis.call(
                "SSCAN", self._keys.node_users(node_id), cursor, "COUNT", _PAGE
            )
            if members:
                yield [member.decode() for member in members]
            cursor = int(position)
            if cursor == 0:
                return

    async def take_duty(self, name: str, node_id: str, *, seconds: float) -> bool:
        """Whether this node is the one that does a periodic duty, for the coming `seconds`."""
        taken = await self._redis.call(
            "SET", self._keys.duty(name), node_id, "NX", "PX", int(seconds * 1000)
        )
        return taken is not None and taken is not False
