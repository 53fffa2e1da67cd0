"""A user's own sessions, and the sweep over everybody's."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from gateways.domain.announcer import Announcer
from gateways.mailbox import Mailbox
from gateways.nudges import CloseNudge
from gateways.protocol.errors import CloseCode, InvalidPayload
from gateways.protocol.events import SessionInfo, now_ms, timestamp
from gateways.session import Session
from gateways.store.directory import DirectoryStore
from gateways.store.keys import DIRECTORY_SHARDS
from gateways.store.nodes import NodeStore
from gateways.store.records import StoredSession
from gateways.store.sessions import SessionStore

PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Finding:
    """A session that the sweep ended, or would end. `session_id` '': online without any session."""

    user_id: str
    session_id: str
    reason: str
    last_activity_ms: int | None


@dataclass(frozen=True, slots=True)
class UserSessions:
    user_id: str
    sessions: Sequence[StoredSession]


class Sessions:
    def __init__(
        self,
        *,
        sessions: SessionStore,
        nodes: NodeStore,
        directory: DirectoryStore,
        announcer: Announcer,
        mailbox: Mailbox,
    ) -> None:
        self._sessions = sessions
        self._nodes = nodes
        self._directory = directory
        self._announcer = announcer
        self._mailbox = mailbox

    async def of(self, session: Session) -> list[SessionInfo]:
        """All sessions of this session's user, oldest first."""
        stored = await self.of_user(session.user_id)
        infos = []
        for other in stored:
            current = other.session_id == session.session_id
            active_ms = session.active_ms if current else other.last_activity_ms
            # Its machine's clock said the one, the store's may have said the other.
            connected_ms = other.record.connected_at_ms
            infos.append(
                SessionInfo(
                    session_id=other.session_id,
                    device_id=other.record.device_id,
                    device_info=other.record.device_info,
                    connected_at=timestamp(connected_ms),
                    last_activity=timestamp(max(active_ms, connected_ms)),
                    current=current,
                )
            )
        return infos

    async def of_user(self, user_id: str) -> list[StoredSession]:
        """The same of any user, as the store has them."""
        stored = await self._sessions.of_user(user_id)
        return sorted(stored, key=lambda session: session.record.connected_at_ms)

    async def close_other(self, session: Session, session_id: str) -> None:
        """End another session of the same user. Raises InvalidPayload where there is none of this
        id.
        """
        if session_id == session.session_id:
            raise InvalidPayload("sessionId: expected another session than this one")
        if not await self.disconnect(session.user_id, session_id, "Closed from another session."):
            raise InvalidPayload("sessionId: expected one of your sessions")

    async def disconnect(
        self, user_id: str, session_id: str | None = None, reason: str = "Disconnected."
    ) -> int:
        """End a user's sessions, or one of them, wherever they are. Returns how many there were."""
        ended = [
            await self._end(user_id, session, reason, CloseCode.REVOKED)
            for session in await self._sessions.of_user(user_id)
            if session_id in (None, session.session_id)
        ]
        return sum(ended)

    async def everybody(self) -> AsyncIterator[UserSessions]:
        """All sessions there are, by user. A user who comes or goes meanwhile may be missed or come
        twice.
        """
        async for user_ids in self._user_ids():
            stored = await self._sessions.of_users(user_ids)
            for user_id, sessions in zip(user_ids, stored, strict=True):
                yield UserSessions(user_id, sessions)

    async def sweep(
        self, *, idle_seconds: float | None = None, dry_run: bool = False
    ) -> AsyncIterator[Finding]:
        """End what should not be there: sessions of nodes without a lease, and, where
        `idle_seconds` is given, those idle for longer; presence that no session holds up. The
        directory is set right on the way.
        """
        async for user_ids in self._user_ids():
            if not dry_run:
                await self._announcer.index(user_ids)
                for transition in await self._sessions.untold(user_ids):
                    self._announcer.announce(transition)
            stored = await self._sessions.of_users(user_ids)
            # After the sessions: a node that has just come took its lease before it took them.
            live = set(await self._nodes.all())
            for user_id, sessions in zip(user_ids, stored, strict=True):
                for finding in await self._sweep_user(
                    user_id, sessions, live, idle_seconds, dry_run=dry_run
                ):
                    yield finding

    async def _sweep_user(
        self,
        user_id: str,
        sessions: Sequence[StoredSession],
        live: set[str],
        idle_seconds: float | None,
        *,
        dry_run: bool,
    ) -> list[Finding]:
        findings = []
        dead_nodes = {session.node_id for session in sessions} - live
        for session in sessions:
            idle = (now_ms() - session.last_activity_ms) / 1000
            if session.node_id in dead_nodes:
                reason = "its node is gone"
            elif idle_seconds is not None and idle > idle_seconds:
                reason = f"idle for {idle:.0f} s"
                if not dry_run:
                    await self._end(user_id, session, "Idle.", CloseCode.EXPIRED)
            else:
                continue
            findings.append(Finding(user_id, session.session_id, reason, session.last_activity_ms))
        if not sessions:
            vacated_by = await self._sessions.vacated_by(user_id)
            if vacated_by is not None and vacated_by not in live:
                dead_nodes = {vacated_by}
                findings.append(Finding(user_id, "", "online without a session", None))
        if not dry_run:
            for node_id in dead_nodes:
                _, untold = await self._sessions.reap([user_id], node_id)
                for transition in untold:
                    self._announcer.announce(transition)
        return findings

    async def _end(
        self, user_id: str, session: StoredSession, reason: str, code: CloseCode
    ) -> bool:
        """Out of the store first: should the nudge get lost, the session's node misses it at its
        reconcile. Returns whether it was still there.
        """
        closed = await self._sessions.close(user_id, session.session_id, goodbye=True)
        self._announcer.announce(closed.untold)
        self._mailbox.send(session.node_id, CloseNudge(session.session_id, code, reason))
        return closed.existed

    async def _user_ids(self) -> AsyncIterator[list[str]]:
        """Those of the directory, then those that the nodes hold: each in pages."""
        for shard in range(DIRECTORY_SHARDS):
            after = ""
            while page := list(await self._directory.page(shard, after, PAGE)):
                yield page
                after = page[-1]
        for node_id in await self._nodes.all():
            async for user_ids in self._nodes.users(node_id):
                indexed = await self._directory.contains(user_ids)
                missing = [u for u, known in zip(user_ids, indexed, strict=True) if not known]
                if missing:
                    yield missing
