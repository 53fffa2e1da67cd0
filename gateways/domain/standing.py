"""Where one user stands, as an operator asks for it: facts from what the store has of them."""

from collections.abc import Iterator, Mapping

from msgspec import Struct

from gateways.config import Config
from gateways.domain.limits import PORTIONS
from gateways.protocol.events import timestamp
from gateways.store.dossiers import Dossier
from gateways.store.limits import Rate
from gateways.store.records import StoredSession


class SessionFacts(Struct, frozen=True, rename="camel"):
    """`node_says`: whether its node lives, and what becomes of the session where it does not."""

    session_id: str
    node: str
    node_lives: bool
    node_says: str
    device_id: str | None
    connected_at: str
    last_activity: str
    idle_seconds: float


class PresenceFacts(Struct, frozen=True, rename="camel"):
    """`since`: of the last change; friends are told of it once `announced`."""

    online: bool
    since: str | None
    announced: bool
    last_seen: str | None
    in_directory: bool
    #: The node that was to end it after a grace, where there has ever been one.
    vacated_by: str | None
    friends: int
    friend_of: int


class InboxFacts(Struct, frozen=True, rename="camel"):
    epoch: str | None
    newest_seq: int
    handed_seq: int
    oldest_seq: int | None
    kept: int
    waiting: int
    lost: int
    oldest_waiting_seconds: float | None
    expires_in_seconds: float | None


class LimitFacts(Struct, frozen=True, rename="camel"):
    """What nodes may still draw for this user, and for how long they can't."""

    name: str
    left: int
    of: int
    refused_for_seconds: float


class Standing:
    """One user's. `alive`: whether a node that lives holds a session of theirs."""

    def __init__(self, dossier: Dossier, config: Config) -> None:
        self._dossier = dossier
        self._config = config
        stored = sorted(dossier.sessions, key=lambda session: session.record.connected_at_ms)
        self.sessions = [self._session(session) for session in stored]
        self.alive = any(session.node_lives for session in self.sessions)
        self.presence = self._presence()
        self.inbox = self._inbox()
        self.limits = list(self._limits())

    @property
    def nodes(self) -> list[str]:
        """Which a message to the user would nudge now."""
        return sorted({session.node for session in self.sessions})

    @property
    def grace_seconds(self) -> tuple[float, float]:
        """Since when the user is without a session, and how long yet until that counts."""
        since = self._seconds_since(self._dossier.state.last_seen_ms or 0)
        return since, self._config.offline_grace_seconds - since

    def _session(self, stored: StoredSession) -> SessionFacts:
        return SessionFacts(
            session_id=stored.session_id,
            node=stored.node_id,
            node_lives=self.lives(stored.node_id),
            node_says=self.fate(stored.node_id),
            device_id=stored.record.device_id,
            connected_at=timestamp(stored.record.connected_at_ms),
            last_activity=timestamp(stored.last_activity_ms),
            idle_seconds=max(0.0, self._seconds_since(stored.last_activity_ms)),
        )

    def lives(self, node_id: str) -> bool:
        dossier = self._dossier
        return dossier.leases.get(node_id, 0) > dossier.now_ms and node_id not in dossier.claims

    def fate(self, node_id: str) -> str:
        """Goes on from "node N"."""
        dossier = self._dossier
        if node_id in dossier.claims:
            return f"is dead, and being buried by node {dossier.claims[node_id]}"
        if node_id not in dossier.leases:
            interval = self._config.session_cleanup_interval_seconds
            return f"is gone; the sweep ends what it left, within {span(interval)}"
        left = -self._seconds_since(dossier.leases[node_id])
        if left > 0:
            return f"holds its lease; were it dead, it would be buried in {span(left)}"
        if not any(self.lives(other) for other in dossier.leases):
            return "is dead, and no other node lives to bury it"
        within = self._config.node_lease_seconds / 3
        return f"is dead since {span(-left)}, and will be buried within {span(within)}"

    def _presence(self) -> PresenceFacts:
        state, presence = self._dossier.state, self._dossier.presence
        return PresenceFacts(
            online=state.online,
            since=timestamp(state.generation) if state.generation else None,
            announced=state.announced >= state.generation,
            last_seen=timestamp(state.last_seen_ms) if state.last_seen_ms else None,
            in_directory=presence.in_directory,
            vacated_by=presence.vacated_by,
            friends=presence.friends,
            friend_of=presence.friend_of,
        )

    def _inbox(self) -> InboxFacts:
        state, inbox = self._dossier.state, self._dossier.inbox
        first = inbox.oldest_seq
        if first is not None:  # what is older may still be there, and counts as trimmed
            first = max(first, state.seq - self._config.inbox_max_messages + 1)
        waiting = max(0, state.seq - inbox.handed)
        lost = max(0, min((first or state.seq + 1) - 1, state.seq) - inbox.handed)
        expires = inbox.expires_in_ms
        return InboxFacts(
            epoch=state.epoch,
            newest_seq=state.seq,
            handed_seq=inbox.handed,
            oldest_seq=inbox.oldest_seq,
            kept=inbox.length,
            waiting=waiting - lost,
            lost=lost,
            oldest_waiting_seconds=None
            if inbox.waiting_ms is None
            else max(0.0, self._seconds_since(inbox.waiting_ms)),
            expires_in_seconds=None if expires is None else expires / 1000,
        )

    def _limits(self) -> Iterator[LimitFacts]:
        rates: Mapping[str, Rate | None] = {
            "messages": self._config.messages,
            "recipients": self._config.recipients,
        }
        for name, full_at_ms in self._dossier.full_at_ms.items():
            rate = rates[name]
            if rate is None:
                continue
            # As domain/limits.py draws from it: a portion at a time, or nothing.
            token_seconds = rate.seconds / rate.count
            filling = max(0.0, -self._seconds_since(full_at_ms))
            portion = max(1, rate.count // PORTIONS)
            wait = filling + portion * token_seconds - rate.seconds
            yield LimitFacts(
                name=name,
                left=max(0, int((rate.seconds - filling) / token_seconds)),
                of=rate.count,
                refused_for_seconds=wait if wait > 0.001 else 0.0,
            )

    def _seconds_since(self, ms: float) -> float:
        return (self._dossier.now_ms - ms) / 1000


def span(seconds: float) -> str:
    for unit, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
