"""Sessions of the platform's services: those of this node, and all, as the store has them.

The store's list is for operators to see and to end sessions by; a session itself lives in its
process. So nothing is retried here: what a failing store missed, the next reconcile sets right.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

import structlog

from gateways.domain.registry import Registry
from gateways.mailbox import Mailbox
from gateways.nudges import CloseNudge
from gateways.protocol.errors import AuthenticationFailed, CloseCode, Forbidden, Unavailable
from gateways.protocol.events import now_ms
from gateways.session import ServiceIdentity, ServiceSession
from gateways.store.errors import StoreUnavailable
from gateways.store.nodes import NodeStore
from gateways.store.records import node_of
from gateways.store.service_sessions import ServiceSessionStore, StoredServiceSession

log = structlog.get_logger(__name__)

REVOKED = "The service was disabled, or its key changed."


@dataclass(frozen=True, slots=True)
class ServiceFinding:
    """A session that the sweep ended, or would end."""

    session: StoredServiceSession
    reason: str


class ServiceSessions:
    def __init__(
        self,
        *,
        node_id: str,
        store: ServiceSessionStore,
        nodes: NodeStore,
        registry: Registry,
        mailbox: Mailbox,
    ) -> None:
        self._node_id = node_id
        self._store = store
        self._nodes = nodes
        self._registry = registry
        self._mailbox = mailbox
        self._live: dict[str, ServiceSession] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._live)

    def __iter__(self) -> Iterator[ServiceSession]:
        return iter(list(self._live.values()))

    # --- a session's life -------------------------------------------------------------------------

    async def begin(self, session: ServiceSession) -> None:
        """Raises AuthenticationFailed where the service was disabled meanwhile; StoreUnavailable,
        Unavailable.
        """
        # From here on notices reach it: a change is seen by them, or by the look that follows.
        self._live[session.session_id] = session
        try:
            session.life = await self._store.open(_stored(session))
            await self._hold(session.service)
        except BaseException:
            self.leave(session)
            raise

    async def renew(self, session: ServiceSession, service: ServiceIdentity) -> None:
        """The service authenticated again, perhaps with its new key. Raises as `begin`."""
        session.service = service
        await self._hold(service)

    async def _hold(self, service: ServiceIdentity) -> None:
        if await self._registry.current(service) is None:
            raise AuthenticationFailed(REVOKED, code=Forbidden.code, close_code=CloseCode.REVOKED)
        self._spawn(self._registry.note_authentication(service.name))

    def leave(self, session: ServiceSession) -> None:
        """The session ended; in the background the store learns of it."""
        if self._live.pop(session.session_id, None) is not None:
            self._spawn(self._forget(session.session_id))

    async def _forget(self, session_id: str) -> None:
        try:
            await self._store.close([session_id])
        except StoreUnavailable as error:
            log.warning("service session left in the store", error=str(error))

    async def stop(self) -> None:
        """Wait for what is under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    # --- what operators decide --------------------------------------------------------------------

    def on_changed(self, service_name: str) -> None:
        """The registry says that a service changed: do its sessions go on, and as what?"""
        if any(session.service.name == service_name for session in self):
            self._spawn(self._check(service_name))

    async def _check(self, service_name: str | None = None) -> None:
        """Of one service, or of all."""
        asked: defaultdict[tuple[str, str], list[ServiceSession]] = defaultdict(list)
        for session in self:
            if service_name in (None, session.service.name):
                asked[session.service.name, session.service.key_hash].append(session)
        for (_, key_hash), sessions in asked.items():
            try:
                current = await self._registry.current(sessions[0].service)
            except Unavailable as error:
                log.warning("services not checked", error=str(error))
                return  # the next reconcile looks again
            for session in sessions:
                if session.service.key_hash != key_hash:
                    continue  # it authenticated again meanwhile, with another key
                if current is None:
                    session.end(CloseCode.REVOKED, REVOKED)
                else:
                    session.service = current

    async def disconnect(self, session_id: str, reason: str) -> bool:
        """End a session wherever it is. Returns whether there was one."""
        return await self._end(session_id, reason, CloseCode.REVOKED)

    async def _end(self, session_id: str, reason: str, code: CloseCode) -> bool:
        """Out of the store first: should the nudge get lost, the session's node misses it at its
        next reconcile.
        """
        closed = await self._store.close([session_id])
        self._mailbox.send(node_of(session_id), CloseNudge(session_id, code, reason))
        return closed == 1

    async def all(self) -> list[StoredServiceSession]:
        """The oldest first."""
        return sorted(await self._store.all(), key=lambda session: session.connected_at_ms)

    async def counts(self) -> dict[str, int]:
        """How many sessions each service has, of those that have any."""
        return Counter(session.service_name for session in await self._store.all())

    # --- the node's duties ------------------------------------------------------------------------

    async def tell_activity(self) -> None:
        """Requests touch nothing but memory; the store learns of it now and then."""
        touched = [session for session in self if session.touched]
        for session in touched:
            session.touched = False
        await self._store.touch({session.session_id: session.active_ms for session in touched})

    async def reconcile(self) -> None:
        """Hold this node's sessions against the store and the registry.

        A session that is gone from a store of another life was lost with its data, and is put back;
        from the same one, somebody ended it.
        """
        placed = [session for session in self if session.life]
        ids, life = await self._store.ids()
        mine = {session_id for session_id in ids if node_of(session_id) == self._node_id}
        await self._store.close(sorted(mine - self._live.keys()))
        for session in placed:
            if session.session_id in mine:
                session.life = life
            elif session.life == life:
                session.end(CloseCode.REVOKED, "The session was ended.")
            elif session.session_id in self._live:
                session.life = await self._store.open(_stored(session))
        await self._check()

    async def bury(self, dead_node_id: str) -> int:
        """Take a dead node's sessions out of the store. Returns how many there were."""
        ids, _ = await self._store.ids()
        return await self._store.close([each for each in ids if node_of(each) == dead_node_id])

    async def sweep(
        self, *, idle_seconds: float | None = None, dry_run: bool = False
    ) -> list[ServiceFinding]:
        """End, or only find, sessions whose node has no lease, and, where `idle_seconds` is given,
        those idle for longer.
        """
        stored = await self.all()
        # After the sessions: a node that has just come took its lease before it took them.
        live = set(await self._nodes.all())
        findings = []
        for session in stored:
            idle = (now_ms() - session.last_activity_ms) / 1000
            if session.node_id not in live:
                reason = "its node is gone"
                if not dry_run:
                    await self._store.close([session.session_id])
            elif idle_seconds is not None and idle > idle_seconds:
                reason = f"idle for {idle:.0f} s"
                if not dry_run:
                    await self._end(session.session_id, "Idle.", CloseCode.EXPIRED)
            else:
                continue
            findings.append(ServiceFinding(session, reason))
        return findings

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _stored(session: ServiceSession) -> StoredServiceSession:
    return StoredServiceSession(
        session_id=session.session_id,
        service_name=session.service.name,
        address=session.address,
        connected_at_ms=session.connected_at_ms,
        last_activity_ms=session.active_ms,
    )
