"""What this node hands out and holds, compared with what the store has, and set right."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from gateways import metrics
from gateways.connections import Connections
from gateways.domain.delivery import new_epoch
from gateways.domain.presence import Presence
from gateways.hub import Hub
from gateways.nudges import StatusNudge
from gateways.protocol.checks import MAX_SAFE_INTEGER
from gateways.protocol.errors import CloseCode
from gateways.session import Session
from gateways.store.friends import FriendStore
from gateways.store.nodes import NodeStore
from gateways.store.records import UserState, node_of
from gateways.store.sessions import SessionStore

#: Users a round trip.
BATCH: Final = 500


class Reconciler:
    """Every method raises StoreUnavailable, and may then be called again."""

    def __init__(
        self,
        *,
        node_id: str,
        connections: Connections,
        hub: Hub,
        presence: Presence,
        nodes: NodeStore,
        sessions: SessionStore,
        friends: FriendStore,
    ) -> None:
        self._node_id = node_id
        self._connections = connections
        self._hub = hub
        self._presence = presence
        self._nodes = nodes
        self._sessions = sessions
        self._friends = friends

    async def reconcile(self) -> None:
        """Each session of this node, and each that the store believes to be here."""
        metrics.reconciles.add()
        for user_ids in _batches(self._hub.user_ids):
            await self._compare(user_ids)
        async for user_ids in self._nodes.users(self._node_id):
            await self._compare([user for user in user_ids if not self._hub.of_user(user)])

    async def tell_statuses(self) -> None:
        """Tell each session what its friends' presence is. The hub knows what is news to it.

        For a node that did not hear for a while: messages are found by their seq, but nothing
        numbers changes of presence.
        """
        for user_ids in _batches(self._hub.user_ids):
            lists = await self._friends.of_all(user_ids)
            watchers: defaultdict[str, list[str]] = defaultdict(list)
            for user_id, friend_ids in zip(user_ids, lists, strict=True):
                for friend_id in friend_ids:
                    watchers[friend_id].append(user_id)
            for some in _batches(list(watchers)):
                states = await self._sessions.states(some)
                for friend_id, state in zip(some, states, strict=True):
                    self._hub.on_status(_standing(friend_id, state, watchers[friend_id]))

    async def _compare(self, user_ids: Sequence[str]) -> None:
        # What is here, from before the store is asked: what comes later it may not know yet.
        placed = {
            session.session_id: (session, session.order.position)
            for user_id in user_ids
            for session in self._hub.of_user(user_id)
            if session.epoch and not session.outbound.closed
        }
        states = await self._sessions.states(user_ids)
        stored = await self._sessions.ids_of_users(user_ids)
        checks = []
        for user_id, state, session_ids in zip(user_ids, states, stored, strict=True):
            self._hub.reconcile(user_id, epoch=state.epoch, seq=state.seq)
            self._presence.disown(user_id, self._strangers(session_ids))
            checks += [
                self._check(
                    *placed[session.session_id], state, known=session.session_id in session_ids
                )
                for session in self._hub.of_user(user_id)
                if session.session_id in placed
            ]
        await asyncio.gather(*checks)

    def _strangers(self, session_ids: Sequence[str]) -> Iterator[str]:
        """Sessions that the store has at this node, and whose sockets are not here, as where an
        answer was lost and the store came to a call later than to the next one.
        """
        for session_id in session_ids:
            if node_of(session_id) == self._node_id and session_id not in self._connections:
                metrics.repairs.add("disowned")
                yield session_id

    async def _check(
        self, session: Session, position: int, state: UserState, *, known: bool
    ) -> None:
        """`position` is the session's from before the store was asked."""
        if session.outbound.closed or session.session_id not in self._connections:
            return
        if state.epoch == session.epoch and (state.seq < position or session.went_back):
            # The store went back, as after a fail-over: its next messages would look like old ones,
            # or have done so already, and there may be more of them now than there were.
            seq = MAX_SAFE_INTEGER if session.went_back else position
            await self._sessions.renew_epoch(
                session.user_id, session.epoch, seq, new_epoch=new_epoch()
            )
            await session.put_back()
            metrics.repairs.add("put back")
        elif state.epoch != session.epoch:
            # The store lost this user: what it knew of the session is gone, the session is not.
            await session.put_back()
            metrics.repairs.add("put back")
        elif not known:
            metrics.repairs.add("ended")
            session.end(CloseCode.REVOKED, "The session was ended.")


def _batches(user_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(user_ids), BATCH):
        yield user_ids[start : start + BATCH]


def _standing(user_id: str, state: UserState, watchers: list[str]) -> StatusNudge:
    return StatusNudge(
        user_id=user_id,
        online=state.online,
        generation=state.generation,
        email=state.email,
        last_seen_ms=state.last_seen_ms or 0,
        watchers=watchers,
    )
