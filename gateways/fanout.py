"""One thing for many sessions of this node: a change of presence, a broadcast."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from contextvars import Context
from typing import Final

import structlog

from gateways.nudges import BroadcastNudge, StatusNudge
from gateways.protocol.codec import Codec
from gateways.protocol.events import StatusUpdate, timestamp
from gateways.session import Session
from gateways.trail import Trail

log = structlog.get_logger(__name__)

#: Sessions that a broadcast is written to in one go: about a millisecond.
BROADCAST_STRETCH: Final = 250
#: Users whose newest change of presence is remembered, so that an older one can't undo it.
MAX_TOLD: Final = 100_000
#: Broadcasts that wait for their turn. They are kept for nobody, and more come too fast to be read.
MAX_BROADCASTS: Final = 1_000

#: User → sessions, by their ids.
Sessions = Mapping[str, Mapping[str, Session]]
#: The sessions of a user who has none here.
NONE: Final[Mapping[str, Session]] = {}


def each(sessions: Sessions) -> Iterator[Session]:
    """Whoever comes or goes meanwhile."""
    for of_user in list(sessions.values()):
        yield from list(of_user.values())


class Fanout:
    def __init__(self, sessions: Sessions, trail: Trail) -> None:
        self._sessions = sessions
        self._trail = trail
        #: User → generation and status of the newest change that was told here.
        self._told: OrderedDict[str, tuple[int, bool]] = OrderedDict()
        self._broadcasts: deque[bytes] = deque()
        self._broadcaster: asyncio.Task[None] | None = None

    def on_status(self, nudge: StatusNudge) -> None:
        """Tell the watchers, unless they know. A session hears of changes since it was opened: its
        own questions told it what was before. And where the change between was lost or overtaken,
        it does not hear the same status twice.
        """
        generation, online = self._told.get(nudge.user_id, (0, False))
        if nudge.generation <= generation:
            return
        self._told[nudge.user_id] = (nudge.generation, nudge.online)
        self._told.move_to_end(nudge.user_id)
        if len(self._told) > MAX_TOLD:
            self._told.popitem(last=False)
        update = StatusUpdate(
            user_id=nudge.user_id,
            status="online" if nudge.online else "offline",
            email=nudge.email,
            last_seen=timestamp(nudge.last_seen_ms),
        )
        frames: dict[Codec, bytes] = {}  # the same for all who speak a format
        for watcher in nudge.watchers:
            for session in self._sessions.get(watcher, NONE).values():
                if not session.epoch or session.opened_ms >= nudge.generation:
                    continue
                if online == nudge.online and session.opened_ms < generation:
                    continue
                frame = frames.get(session.codec)
                if frame is None:
                    frame = session.codec.push("user_status_update", update)
                    frames[session.codec] = frame
                session.outbound.write_latest(nudge.user_id, frame)
                if self._trail.on:
                    self._trail.note(
                        "told",
                        watcher,
                        friend_id=nudge.user_id,
                        status=update.status,
                        session_id=session.session_id,
                    )

    def on_broadcast(self, nudge: BroadcastNudge) -> None:
        if len(self._broadcasts) >= MAX_BROADCASTS:
            log.warning("broadcast dropped", waiting=len(self._broadcasts))
            return
        self._broadcasts.append(nudge.body)
        if self._broadcaster is None or self._broadcaster.done():
            loop = asyncio.get_running_loop()
            self._broadcaster = loop.create_task(self._broadcast(), context=Context())

    async def _broadcast(self) -> None:
        """To everybody here, in order, and with a pause for everything else now and then."""
        while self._broadcasts:
            body = self._broadcasts.popleft()
            everybody = (
                session for of in list(self._sessions.values()) for session in list(of.values())
            )
            for count, session in enumerate(everybody, start=1):
                if session.epoch:  # `connected` comes first
                    session.outbound.write(session.codec.broadcast(session.user_id, body))
                if count % BROADCAST_STRETCH == 0:
                    await asyncio.sleep(0)
