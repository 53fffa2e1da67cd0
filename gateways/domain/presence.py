"""Who is here: sessions come and go, and those who watch a user hear of it, once a change.

The store decides atomically what is a change (first session in, last one out). This module carries
it out: into the directory, and to the friends. Announcing is repeated until the store takes it; a
newer change of the same user replaces an older one.
"""

import asyncio
from collections import defaultdict
from collections.abc import Coroutine, Iterable
from typing import Any, Final

import structlog

from gateways.hub import Hub
from gateways.mailbox import Mailbox
from gateways.nudges import StatusNudge
from gateways.session import Session
from gateways.store.directory import DirectoryStore
from gateways.store.errors import StoreUnavailable
from gateways.store.friends import FriendStore
from gateways.store.nodes import NodeStore
from gateways.store.sessions import (
    Opened,
    SessionRecord,
    SessionStore,
    Transition,
    UserState,
    node_of,
)

log = structlog.get_logger(__name__)

RETRY_SECONDS: Final = 1.0


class Presence:
    def __init__(
        self,
        *,
        node_id: str,
        sessions: SessionStore,
        nodes: NodeStore,
        friends: FriendStore,
        directory: DirectoryStore,
        mailbox: Mailbox,
        hub: Hub,
        offline_grace_seconds: float,
    ) -> None:
        self._node_id = node_id
        self._sessions = sessions
        self._nodes = nodes
        self._friends = friends
        self._directory = directory
        self._mailbox = mailbox
        self._hub = hub
        self._grace_seconds = offline_grace_seconds
        self._announcing: dict[str, Transition] = {}
        #: What must be said before the node may go, and what another node takes over if it goes.
        self._urgent: set[asyncio.Task[None]] = set()
        self._graces: set[asyncio.Task[None]] = set()
        self._arriving: defaultdict[str, int] = defaultdict(int)

    async def arrive(
        self,
        session: Session,
        record: SessionRecord,
        *,
        new_epoch: str,
        resume: tuple[str, int] | None = None,
    ) -> Opened:
        """A session begins, or is put back after a loss of data. Raises StoreUnavailable."""
        user_id = session.user_id
        self._arriving[user_id] += 1
        try:
            await self._nodes.hold(self._node_id, user_id)
            opened = await self._sessions.open(
                user_id,
                session.session_id,
                record,
                email=session.identity.email,
                new_epoch=new_epoch,
                resume=resume,
            )
        except StoreUnavailable:
            self._spawn(self._announce_standing(user_id), self._urgent)
            raise
        finally:
            self._arriving[user_id] -= 1
            if not self._arriving[user_id]:
                del self._arriving[user_id]
        if opened.came_online:
            self.announce(
                Transition(
                    user_id, True, opened.generation, session.identity.email, session.active_ms
                )
            )
        return opened

    def leave(self, session: Session, *, goodbye: bool) -> None:
        """A session ended. In the background, and repeated until the store takes it."""
        self._spawn(self._leave(session, goodbye=goodbye), self._urgent)

    async def _leave(self, session: Session, *, goodbye: bool) -> None:
        user_id = session.user_id
        lost = False
        while True:
            try:
                closed = await self._sessions.close(
                    user_id,
                    session.session_id,
                    goodbye=goodbye,
                    handed_seq=0 if session.outbound.lags else session.order.position,
                    epoch=session.epoch,
                )
                break
            except StoreUnavailable:
                lost = True
                await asyncio.sleep(RETRY_SECONDS)
                if session.session_id in {s.session_id for s in self._hub.of_user(user_id)}:
                    return  # its client authenticated again, on the same socket
        if closed.transition is not None:
            self.announce(closed.transition)
        elif lost:
            await self._announce_standing(user_id)
        if closed.vacancy:
            self._spawn(self._bury(user_id, closed.vacancy), self._graces)
        else:
            await self._let_go(user_id)

    def announce(self, transition: Transition) -> None:
        """Tell the directory and the friends, in the background."""
        user_id = transition.user_id
        current = self._announcing.get(user_id)
        if current is not None:
            if transition.generation > current.generation:
                self._announcing[user_id] = transition
            return
        self._announcing[user_id] = transition
        self._spawn(self._announce(user_id), self._urgent)

    def announce_all(self, transitions: Iterable[Transition]) -> None:
        for transition in transitions:
            self.announce(transition)

    async def _announce_standing(self, user_id: str) -> None:
        """An answer of the store was lost, and perhaps a change with it: tell how things stand. By
        its generation, whoever heard it already drops it.
        """
        while True:
            try:
                (state,) = await self._states([user_id])
                break
            except StoreUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
        self.announce(
            Transition(
                user_id, state.online, state.generation, state.email, state.last_seen_ms or 0
            )
        )

    async def settle(self, *, timeout_seconds: float) -> None:
        """Wait, so long at most, for sessions that end and changes that are announced; not for
        graces.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                while self._urgent:
                    await asyncio.wait(self._urgent)
        except TimeoutError:
            log.warning("left unsaid", tasks=len(self._urgent))

    async def stop(self) -> None:
        tasks = self._urgent | self._graces
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _announce(self, user_id: str) -> None:
        told: Transition | None = None
        try:
            while told is not (transition := self._announcing[user_id]):
                try:
                    await self.index([user_id])
                    await self._tell_watchers(transition)
                except StoreUnavailable:
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                told = transition
        finally:
            del self._announcing[user_id]

    async def index(self, user_ids: list[str]) -> None:
        """Make the directory say what the users' states say.

        Written first and checked after: of two nodes that write at once, the last writer sees the
        newest state.
        """
        online = {u: s.online for u, s in zip(user_ids, await self._states(user_ids), strict=True)}
        while online:
            await self._directory.write(online)
            again = await self._states(list(online))
            online = {
                user: state.online
                for (user, written), state in zip(online.items(), again, strict=True)
                if state.online != written
            }

    async def _states(self, user_ids: list[str]) -> list[UserState]:
        return await self._sessions.states(user_ids)

    async def _tell_watchers(self, transition: Transition) -> None:
        watchers = await self._friends.watchers(transition.user_id)
        if not watchers:
            return
        held: defaultdict[str, list[str]] = defaultdict(list)
        for watcher, session_ids in zip(
            watchers, await self._sessions.ids_of_users(watchers), strict=True
        ):
            for node_id in {node_of(session_id) for session_id in session_ids}:
                held[node_id].append(watcher)
        for node_id, here in held.items():
            self._mailbox.send(
                node_id,
                StatusNudge(
                    user_id=transition.user_id,
                    online=transition.online,
                    generation=transition.generation,
                    email=transition.email,
                    last_seen_ms=transition.last_seen_ms,
                    watchers=here,
                ),
            )

    async def _bury(self, user_id: str, vacancy: int) -> None:
        await asyncio.sleep(self._grace_seconds)
        lost = False
        while True:
            try:
                transition = await self._sessions.bury_vacant(user_id, vacancy)
                break
            except StoreUnavailable:
                lost = True
                await asyncio.sleep(RETRY_SECONDS)
        if transition is not None:
            self.announce(transition)
        elif lost:
            await self._announce_standing(user_id)
        await self._let_go(user_id)

    async def _let_go(self, user_id: str) -> None:
        """The node no longer answers for the user, unless a session stands or is just coming."""
        if user_id in self._arriving or self._hub.of_user(user_id):
            return
        try:
            await self._nodes.let_go(self._node_id, user_id)
        except StoreUnavailable:
            return  # one too many there is found empty by whoever reaps the node
        while user_id in self._arriving or self._hub.of_user(user_id):
            try:
                await self._nodes.hold(self._node_id, user_id)
            except StoreUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    def _spawn(self, work: Coroutine[Any, Any, None], among: set[asyncio.Task[None]]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        among.add(task)
        task.add_done_callback(among.discard)
        task.add_done_callback(_log_failure)


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("presence failed", exc_info=error)
