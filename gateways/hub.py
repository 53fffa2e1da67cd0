"""User → sessions of this node. Hands each session what is for it: every message once, in order."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextvars import Context
from typing import Final

import structlog

from gateways import metrics
from gateways.fanout import NONE, Fanout, each
from gateways.nudges import BroadcastNudge, MessageNudge, StatusNudge
from gateways.ordering import Hole, Numbered, Order
from gateways.protocol.errors import CloseCode
from gateways.session import Session
from gateways.store.errors import StoreUnavailable
from gateways.store.inbox import InboxStore
from gateways.trail import PUSHED, READ, Trail, message_id

log = structlog.get_logger(__name__)

#: Nudges of one recipient come from several nodes and overtake each other; they settle within this
#: time, and a read of the inbox for each would cost more than the wait.
GAP_PATIENCE_SECONDS: Final = 0.02
#: Messages a read.
PAGE: Final = 50
#: After a failed read; Redis may be away for a while, and the sessions that are behind all ask.
RETRY_SECONDS: Final = 1.0
#: A nudge that comes later than this after its message was read from the inbox is another one's.
LATE_SECONDS: Final = 30.0
#: User and epoch → newest seq. Two sessions of a user may be of different epochs for a moment.
Handed = dict[tuple[str, str], int]


class Hub:
    def __init__(
        self, inbox: InboxStore, trail: Trail, *, on_other_epoch: Callable[[], None]
    ) -> None:
        """`on_other_epoch` is called where a message belongs to another epoch than its recipient's
        session, or should: one of the two knows less than the store.
        """
        self._inbox = inbox
        self._trail = trail
        self._on_other_epoch = on_other_epoch
        self._sessions: dict[str, dict[str, Session]] = {}
        self._fanout = Fanout(self._sessions, trail)
        self._readers: dict[str, asyncio.Task[None]] = {}
        #: Sessions that were handed messages of which the store has not been told.
        self._handed: set[Session] = set()
        #: What the store could not be told of them.
        self._untold: Handed = {}

    def __len__(self) -> int:
        return sum(map(len, self._sessions.values()))

    def __iter__(self) -> Iterator[Session]:
        return each(self._sessions)

    @property
    def user_ids(self) -> list[str]:
        return list(self._sessions)

    def of_user(self, user_id: str) -> list[Session]:
        return list(self._sessions.get(user_id, {}).values())

    def attach(self, session: Session) -> None:
        """From now on nudges reach the session. Call before the store tells its place, so that none
        is missed.
        """
        self._sessions.setdefault(session.user_id, {})[session.session_id] = session

    def detach(self, session: Session) -> bool:
        """Returns whether the user has no session left here. How far the session came is said with
        its end.
        """
        self._handed.discard(session)
        sessions = self._sessions.get(session.user_id)
        if sessions is not None:
            sessions.pop(session.session_id, None)
            if not sessions:
                del self._sessions[session.user_id]
        reader = self._readers.pop(session.session_id, None)
        if reader is not None:
            reader.cancel()
        return session.user_id not in self._sessions

    def place(
        self, session: Session, *, position: int, newest: int, epoch: str, opened_ms: int
    ) -> None:
        """The session's history begins after `position`; it follows, then what is new."""
        session.epoch = epoch
        session.went_back = False
        session.opened_ms = session.opened_ms or opened_ms
        session.read_to, session.read_at = position, time.monotonic()
        self._hand_over(session, session.order.place(position, newest), PUSHED)
        self._catch_up(session, patience_seconds=0)

    def displace(self, session: Session, order: Order) -> None:
        """The session's place is no longer true: it begins anew, with an order yet to be placed."""
        reader = self._readers.pop(session.session_id, None)
        if reader is not None:
            reader.cancel()
        session.order = order

    # --- what comes in ----------------------------------------------------------------------------

    def on_message(self, nudge: MessageNudge) -> None:
        for user_id, seq, epoch in nudge.recipients:
            self.deliver(user_id, seq, epoch, nudge.body)
        if nudge.accepted_us:  # one from a node of an earlier version does not say
            took_us = time.time_ns() // 1000 - nudge.accepted_us
            metrics.delivery_seconds.observe(max(took_us, 0) / 1e6)

    def deliver(self, user_id: str, seq: int, epoch: str, body: bytes) -> None:
        for session in self._sessions.get(user_id, NONE).values():
            if session.outbound.close_code is not None:
                continue
            if session.epoch != epoch and session.epoch:
                self._on_other_epoch()
                continue
            if session.order.take_next(seq):
                session.hand_over(seq, body)
                self._handed.add(session)
                metrics.messages_delivered.add()
                if self._trail.on:
                    self._trail.handed(session, seq, body, PUSHED)
                continue
            if self._trail.on and self._trail.watches(user_id):
                self._note_order(session, seq, body)
            if seq <= session.order.position and self._is_reused(session, seq):
                self._give_up(session)
                continue
            self._hand_over(session, session.order.offer(seq, body), PUSHED)
            if session.order.behind:
                self._catch_up(session, patience_seconds=GAP_PATIENCE_SECONDS)

    def _note_order(self, session: Session, seq: int, body: bytes) -> None:
        position = session.order.position
        self._trail.note(
            "repeated" if seq <= position else "out of order",
            session.user_id,
            message_id=message_id(body),
            seq=seq,
            position=position,
            session_id=session.session_id,
        )

    def _is_reused(self, session: Session, seq: int) -> bool:
        """Whether the seq is another message's than it was: each nudge comes once, and comes before
        its message is read, or soon after. The store went back in time, as after a fail-over.
        """
        return seq > session.read_to or time.monotonic() - session.read_at > LATE_SECONDS

    def _give_up(self, session: Session) -> None:
        """Hand it nothing more of this epoch: the node puts it into another one."""
        log.warning("store went back", user_id=session.user_id, session_id=session.session_id)
        session.went_back = True
        self.displace(session, Order(stored=session.order.stored))
        self._on_other_epoch()

    def on_status(self, nudge: StatusNudge) -> None:
        self._fanout.on_status(nudge)

    def on_broadcast(self, nudge: BroadcastNudge) -> None:
        self._fanout.on_broadcast(nudge)

    def reconcile(self, user_id: str, *, epoch: str | None, seq: int) -> None:
        """The store says where the user's log stands. Whoever is behind reads; whose count is gone
        starts anew.
        """
        for session in self._sessions.get(user_id, {}).values():
            if epoch != session.epoch:
                # Unplaced yet, or the store lost its data: the node puts the session back, which
                # places it.
                continue
            session.order.note(seq)
            if session.order.behind:
                self._catch_up(session, patience_seconds=GAP_PATIENCE_SECONDS)

    # --- what goes out ----------------------------------------------------------------------------

    def take_handed(self) -> Handed:
        """What sessions were handed of which the store is to be told. A reader that lags may lose
        what is on its way when it is closed for that: not yet.
        """
        sessions, self._handed = self._handed, set()
        handed, self._untold = self._untold, {}
        for session in sessions:
            if session.outbound.lags:
                self._handed.add(session)
                continue
            place = (session.user_id, session.epoch)
            handed[place] = max(handed.get(place, 0), session.order.position)
        return handed

    def give_back_handed(self, handed: Handed) -> None:
        """The store could not be told: it is to be, the next time."""
        self._untold = handed

    def _hand_over(self, session: Session, messages: list[Numbered], how: str) -> None:
        for seq, body in messages:
            session.hand_over(seq, body)
            self._handed.add(session)
            if self._trail.on:
                self._trail.handed(session, seq, body, how)
        metrics.messages_delivered.add(len(messages))

    def _catch_up(self, session: Session, *, patience_seconds: float) -> None:
        if not session.order.behind or session.session_id in self._readers:
            return
        # Whoever's message showed it to be behind: its reader is no part of that request.
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._read(session, patience_seconds), context=Context())
        self._readers[session.session_id] = task

    async def _read(self, session: Session, patience_seconds: float) -> None:
        order = session.order
        try:
            if patience_seconds:
                await asyncio.sleep(patience_seconds)
            gap = patience_seconds > 0 and order.behind
            await self._read_on(session)
            if gap and not order.behind:
                metrics.gaps.add()
        except Hole as hole:
            # It fell too far behind, and the inbox was trimmed: a resume tells its client so, with
            # the reason.
            log.warning(
                "hole",
                user_id=session.user_id,
                session_id=session.session_id,
                what=str(hole),
            )
            session.end(CloseCode.SLOW_CONSUMER, "The inbox went on without this session.")
        except Exception:
            log.exception("reader failed", user_id=session.user_id, session_id=session.session_id)
            session.end(CloseCode.INTERNAL_ERROR, "The gateway failed.")
        finally:
            # Not by a callback, which would run a turn later: a gap seen in between would find no
            # reader.
            order.reading = False
            if self._readers.get(session.session_id) is asyncio.current_task():
                del self._readers[session.session_id]

    async def _read_on(self, session: Session) -> None:
        """Read the inbox until the session has what there is, at the pace of its socket."""
        order = session.order
        if not order.stored:
            self._hand_over(session, order.pass_over(), PUSHED)
        while order.behind:
            order.reading = True
            try:
                page = await self._inbox.after(session.user_id, order.position, count=PAGE)
            except StoreUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if session.outbound.closed:
                return  # what it can't be sent is not handed over, and waits for the next session
            if not page and order.behind:
                raise Hole("the inbox has nothing where messages were announced")
            unsent = 0
            for entry in page:
                messages = order.read([(entry.seq, entry.body)])
                session.read_to, session.read_at = order.position, time.monotonic()
                metrics.messages_recovered.add(len(messages))
                self._hand_over(session, messages, READ)
                unsent += len(entry.body)
                if unsent > session.outbound.stretch_bytes or entry is page[-1]:
                    await session.outbound.drained()
                    unsent = 0
                    if session.outbound.closed:
                        return
