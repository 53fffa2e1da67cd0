"""Who is here: sessions come and go, and those who watch a user hear of it, once a change.

The store decides atomically what is a change (first session in, last one out); the announcer tells
of it. A node is entered as the user's holder before a session of theirs is opened, and taken out
when nothing about them is left to do: whoever buries the node finds everybody it owed something.
"""

import asyncio
from collections import defaultdict
from collections.abc import Coroutine, Iterable
from typing import Any, Final

import structlog

from gateways.domain.announcer import Announcer
from gateways.hub import Hub
from gateways.session import Session
from gateways.store.errors import StoreUnavailable
from gateways.store.nodes import NodeStore
from gateways.store.records import Opened, SessionRecord
from gateways.store.sessions import SessionStore
from gateways.trail import Trail

log = structlog.get_logger(__name__)

RETRY_SECONDS: Final = 1.0


class Presence:
    def __init__(
        self,
        *,
        node_id: str,
        sessions: SessionStore,
        nodes: NodeStore,
        announcer: Announcer,
        hub: Hub,
        trail: Trail,
        offline_grace_seconds: float,
    ) -> None:
        self._node_id = node_id
        self._sessions = sessions
        self._nodes = nodes
        self._announcer = announcer
        self._hub = hub
        self._trail = trail
        self._grace_seconds = offline_grace_seconds
        #: Sessions that end: what must be said before the node may go.
        self._leaving: dict[str, asyncio.Task[None]] = {}
        #: What another node takes over if this one goes.
        self._graces: set[asyncio.Task[None]] = set()
        self._arriving: defaultdict[str, int] = defaultdict(int)
        self._draining = False

    async def arrive(
        self,
        session: Session,
        record: SessionRecord,
        *,
        new_epoch: str,
        resume: tuple[str, int] | None = None,
        at_most: int = 0,
    ) -> Opened:
        """A session begins, or is put back after a loss of data. Raises StoreUnavailable: it may
        stand all the same, and is to be tried again or left. Raises TooManySessions where the user
        has `at_most` others; 0: any number.
        """
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
                at_most=at_most,
            )
        finally:
            self._arriving[user_id] -= 1
            if not self._arriving[user_id]:
                del self._arriving[user_id]
        self._announcer.announce(opened.untold)
        return opened

    def leave(self, session: Session, *, goodbye: bool) -> None:
        """A session ended. In the background, and repeated until the store takes it."""
        handed_seq = 0 if session.outbound.lags else session.order.position
        self._leave(
            session.user_id,
            session.session_id,
            goodbye=goodbye,
            handed_seq=handed_seq,
            epoch=session.epoch,
        )

    def disown(self, user_id: str, session_ids: Iterable[str]) -> None:
        """The store has sessions at this node that it knows nothing of: as if they had dropped."""
        for session_id in session_ids:
            self._leave(user_id, session_id, goodbye=False, handed_seq=0, epoch="")

    def drain(self) -> None:
        """Who leaves from now on was told when to come back, perhaps later than a grace: they are
        left to whoever takes over, who knows how long they may take (drop_lease.lua).
        """
        self._draining = True

    async def settle(self, *, timeout_seconds: float) -> None:
        """Wait, so long at most, for sessions that end and changes that are announced; not for
        graces.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                while self._leaving:
                    await asyncio.wait(list(self._leaving.values()))
                await self._announcer.settle()
        except TimeoutError:
            log.warning("left unsaid", leaving=len(self._leaving), announcing=len(self._announcer))

    async def stop(self) -> None:
        tasks = [*self._leaving.values(), *self._graces]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._announcer.stop()

    def _leave(
        self, user_id: str, session_id: str, *, goodbye: bool, handed_seq: int, epoch: str
    ) -> None:
        if session_id in self._leaving:
            return
        task = self._spawn(
            self._close(user_id, session_id, goodbye=goodbye, handed_seq=handed_seq, epoch=epoch)
        )
        self._leaving[session_id] = task
        task.add_done_callback(lambda _: self._leaving.pop(session_id))

    async def _close(
        self, user_id: str, session_id: str, *, goodbye: bool, handed_seq: int, epoch: str
    ) -> None:
        while True:
            try:
                closed = await self._sessions.close(
                    user_id, session_id, goodbye=goodbye, handed_seq=handed_seq, epoch=epoch
                )
                break
            except StoreUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
        self._announcer.announce(closed.untold)
        if closed.vacancy and self._draining:
            return
        if closed.vacancy:
            if self._trail.on:
                self._trail.note("grace begun", user_id, seconds=self._grace_seconds)
            grace = self._spawn(self._bury(user_id, closed.vacancy))
            self._graces.add(grace)
            grace.add_done_callback(self._graces.discard)
        else:
            await self._let_go(user_id)

    async def _bury(self, user_id: str, vacancy: int) -> None:
        await asyncio.sleep(self._grace_seconds)
        while True:
            try:
                untold = await self._sessions.bury_vacant(user_id, vacancy)
                break
            except StoreUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
        self._announcer.announce(untold)
        await self._let_go(user_id)

    async def _let_go(self, user_id: str) -> None:
        """The node no longer answers for the user, once all is said, unless a session stands or is
        just coming.
        """
        await self._announcer.announced(user_id)
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

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(_log_failure)
        return task


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("presence failed", exc_info=error)
