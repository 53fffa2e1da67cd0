"""The life of one gateway process among others: its lease, its ear, and what it does for the dead.

A node renews its lease with Redis three times within it. One that could not is dead to the others:
the first that notices buries its sessions. Should it wake after that, its sockets are closed with
4508, and their clients resume elsewhere; it serves on as soon as its burial is over.
"""

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import structlog

from gateways import metrics
from gateways.config import Config
from gateways.connections import Connections
from gateways.domain.announcer import Announcer
from gateways.domain.presence import Presence
from gateways.domain.service_sessions import ServiceSessions
from gateways.hub import Hub
from gateways.mailbox import Mailbox
from gateways.protocol.errors import CloseCode
from gateways.reconciler import Reconciler
from gateways.store.errors import StoreUnavailable
from gateways.store.nodes import NodeStore
from gateways.store.sessions import SessionStore
from gateways.trail import Trail

log = structlog.get_logger(__name__)

#: How often the store is told what was handed over: what a client without `resume` might get again
#: after a crash.
HANDED_SECONDS: Final = 0.2


class Node:
    def __init__(
        self,
        config: Config,
        *,
        node_id: str,
        connections: Connections,
        hub: Hub,
        mailbox: Mailbox,
        presence: Presence,
        announcer: Announcer,
        service_sessions: ServiceSessions,
        reconciler: Reconciler,
        trail: Trail,
        sweep: Callable[[], AsyncIterator[Any]],
        nodes: NodeStore,
        sessions: SessionStore,
    ) -> None:
        self.node_id = node_id
        self._config = config
        self._connections = connections
        self._hub = hub
        self._mailbox = mailbox
        self._presence = presence
        self._announcer = announcer
        self._reconciler = reconciler
        self._trail = trail
        self._service_sessions = service_sessions
        self._sweep = sweep
        self._nodes = nodes
        self._sessions = sessions
        self._life = self._term = ""
        self._renewed_at = time.monotonic()
        self._stepped_down = False
        self._tasks: list[asyncio.Task[None]] = []
        self._burials: set[asyncio.Task[None]] = set()
        self._reconcile_wanted = asyncio.Event()
        self._statuses_wanted = False

    @property
    def serving(self) -> bool:
        """Whether new sessions may begin here."""
        return not self._stepped_down and not self._connections.draining

    @property
    def lease_age_seconds(self) -> float:
        """Since it was renewed, or since the start."""
        return time.monotonic() - self._renewed_at

    async def count(self) -> int:
        """How many nodes have a lease. Raises StoreUnavailable."""
        return len(await self._nodes.all())

    async def start(self) -> None:
        await self._nodes.ping()
        await self._mailbox.start()
        await self._renew()
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._forever(work, name))
            for work, name in (
                (self._keep_lease, "lease"),
                (self._keep_reconciled, "reconcile"),
                (self._keep_told, "handed"),
                (self._keep_swept, "sweep"),
            )
        ]

    async def stop(self) -> None:
        for task in (*self._tasks, *self._burials):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._burials, return_exceptions=True)
        await self._presence.stop()
        if self._tasks:
            try:
                await self._tell_handed()
                await self._nodes.drop_lease(
                    self.node_id,
                    grace_seconds=self._config.offline_grace_seconds
                    + self._connections.farewell_seconds,
                )
            except StoreUnavailable as error:
                log.warning("lease left to run out", error=str(error))
        await self._mailbox.stop()

    async def ready_reason(self) -> str | None:
        if self._connections.draining:
            return "shutting down"
        try:
            await self._nodes.ping()
        except StoreUnavailable as error:
            return str(error)
        if self._stepped_down:
            return "this node was given up by the others and is being buried"
        if self._mailbox.deaf:
            return "the channel layer does not answer"
        return None

    def reconcile_now(self, *, after_silence: bool = False) -> None:
        """`after_silence`: nudges may have been missed."""
        self._statuses_wanted |= after_silence
        self._reconcile_wanted.set()

    # --- duties -----------------------------------------------------------------------------------

    async def _forever(self, work: Callable[[], Any], name: str) -> None:
        while True:
            try:
                await work()
            except StoreUnavailable as error:
                metrics.duty_failures.add(name)
                log.warning("duty waits for Redis", duty=name, error=str(error))
                await asyncio.sleep(1)
            except Exception:
                metrics.duty_failures.add(name)
                log.exception("duty failed", duty=name)
                await asyncio.sleep(1)

    async def _keep_lease(self) -> None:
        await self._renew()
        await self._tell_activity()
        await asyncio.sleep(self._config.node_lease_seconds / 3)

    async def _renew(self) -> None:
        lease = await self._nodes.renew(self.node_id, new_name=secrets.token_hex(8))
        self._renewed_at = time.monotonic()
        first = not self._life
        lost_data = not first and lease.life != self._life
        buried = not first and lease.term != self._term
        self._life, self._term = lease.life, lease.term
        if lost_data:
            metrics.data_losses.add()
            log.error("store lost its data", life=lease.life)
            self.reconcile_now()
        elif lease.claimed or buried:
            self._step_down()
        self._stepped_down = lease.claimed
        for dead_node_id in lease.expired:
            if dead_node_id != self.node_id:
                # On its own: a long burial must not keep this node from its lease.
                task = asyncio.get_running_loop().create_task(self._bury(dead_node_id))
                self._burials.add(task)
                task.add_done_callback(self._burials.discard)

    def _step_down(self) -> None:
        """Others took this node for dead: they bury its sessions, and its clients resume."""
        metrics.leases_lost.add()
        if len(self._hub):
            log.error("lease lost", node=self.node_id, sessions=len(self._hub))
        for session in (*self._hub, *self._service_sessions):
            session.end(CloseCode.SLOW_CONSUMER, "The gateway was away too long; resume.")

    async def _bury(self, dead_node_id: str) -> None:
        try:
            if not await self._nodes.claim(dead_node_id, self.node_id):
                return
            buried = 0
            async for user_ids in self._nodes.users(dead_node_id):
                removed, untold = await self._sessions.reap(user_ids, dead_node_id)
                buried += removed
                if self._trail.on:
                    for user_id in user_ids:
                        self._trail.note("buried", user_id, dead_node=dead_node_id)
                for transition in untold:
                    self._announcer.announce(transition)
                # Should this node die over it, another finds them where it found them.
                for transition in untold:
                    await self._announcer.announced(transition.user_id)
            buried += await self._service_sessions.bury(dead_node_id)
            await self._nodes.forget(dead_node_id)
            metrics.burials.add()
        except StoreUnavailable as error:
            # The claim runs out like a lease, and whoever then sees the dead goes on.
            log.warning("burial broken off", node=dead_node_id, error=str(error))
        else:
            log.info("buried a node", node=dead_node_id, sessions=buried)

    async def _keep_reconciled(self) -> None:
        interval = self._config.reconcile_interval_seconds * random.uniform(0.8, 1.2)  # noqa: S311  # jitter
        try:
            async with asyncio.timeout(interval):
                await self._reconcile_wanted.wait()
        except TimeoutError:
            pass
        self._reconcile_wanted.clear()
        # First of all, whether the others gave this node up: sessions that they buried may resume,
        # and must not be taken for revoked ones.
        await self._renew()
        try:
            await self._reconciler.reconcile()
            if self._statuses_wanted:
                await self._reconciler.tell_statuses()
                self._statuses_wanted = False
            await self._service_sessions.reconcile()
        except StoreUnavailable:
            # What was wanted is wanted still; the time to the next try is _forever's.
            self._reconcile_wanted.set()
            raise

    async def _keep_told(self) -> None:
        await asyncio.sleep(HANDED_SECONDS)
        await self._tell_handed()

    async def _tell_handed(self) -> None:
        if handed := self._hub.take_handed():
            try:
                await self._sessions.mark_handed(handed)
            except StoreUnavailable:
                self._hub.give_back_handed(handed)
                raise

    async def _tell_activity(self) -> None:
        activity: dict[str, dict[str, int]] = {}
        for session in self._hub:
            if session.touched:
                session.touched = False
                activity.setdefault(session.user_id, {})[session.session_id] = session.active_ms
        await self._sessions.touch(activity)
        await self._service_sessions.tell_activity()

    async def _keep_swept(self) -> None:
        """One process of a deployment sweeps, whichever takes the duty first."""
        interval = self._config.session_cleanup_interval_seconds
        await asyncio.sleep(interval * random.uniform(0.9, 1.1))  # noqa: S311  # jitter
        if await self._nodes.take_duty("sweep", self.node_id, seconds=interval * 0.8):
            ended = [finding async for finding in self._sweep()]
            ended += await self._service_sessions.sweep()
            log.info("swept", ended=len(ended))
