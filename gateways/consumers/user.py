"""The user gateway: players' clients."""

import time
from collections.abc import Awaitable, Mapping
from typing import ClassVar, Final

from msgspec import UNSET, structs
from structlog.contextvars import bind_contextvars

from gateways import metrics
from gateways.consumers.authentications import counted_authentication
from gateways.consumers.base import GatewayConsumer, Handler
from gateways.consumers.handshake import Handshake
from gateways.consumers.notes import note_beginning
from gateways.consumers.recovery import Recovery
from gateways.domain.delivery import Sender, new_epoch
from gateways.domain.limits import BUSY_SECONDS, LATER, Bucket, too_much
from gateways.ordering import Order
from gateways.protocol.errors import (
    TERMINAL_CODES,
    AuthenticationFailed,
    CloseCode,
    Forbidden,
    RateLimited,
    Unavailable,
)
from gateways.protocol.events import (
    Authenticate,
    CloseSession,
    Connected,
    ConnectedUser,
    DetailedUsers,
    Done,
    Nothing,
    OnlineFriends,
    OnlineUsers,
    Page,
    Payload,
    Pong,
    Receipt,
    SendMessage,
    Sessions,
    TokenExpiring,
    now_ms,
    timestamp,
)
from gateways.session import Identity, Session
from gateways.store.errors import StoreUnavailable, TooManySessions
from gateways.store.records import Opened, SessionRecord

#: How long before a token's end its client is told.
TOKEN_WARNING_SECONDS: Final = 60.0


class UserConsumer(GatewayConsumer):
    limited = True
    session: Session | None = None
    #: The store was asked to open it, and has not said whether it did.
    _asked: Session | None = None
    _record: SessionRecord
    _sender: Sender
    #: Where a Socket.IO client asked for it.
    _recovery: Recovery | None = None
    _queries: Bucket | None = None

    @property
    def _me(self) -> Session:
        assert self.session is not None  # the dispatch table lets nobody in before
        return self.session

    async def opened(self, handshake: Handshake) -> Payload | None:
        recovery_id = None
        if self.codec.recovery:
            self._recovery = Recovery(self.gateway.recoveries, self.gateway.tokens)
            try:
                if await self._recover(self._recovery, handshake):
                    return None
            except (StoreUnavailable, Unavailable, RateLimited):
                self.end(CloseCode.UNAVAILABLE, "The gateway could not take the session.")
                return None
            recovery_id = self._recovery.id
        self.greet(recovery_id)
        if handshake.query_token is not None and not self.gateway.config.allow_query_token:
            raise AuthenticationFailed("A token in the address ends up in logs: send it otherwise.")
        token = handshake.token or handshake.query_token
        if not token:
            return None
        return await self.authenticate(Authenticate(token, handshake.device_id, handshake.resume))

    async def _recover(self, recovery: Recovery, handshake: Handshake) -> bool:
        """Go on where the client's last connection ended, authenticated as that was. Returns
        whether it was known; whether it missed something, its greeting and `connected` say.
        """
        was = await recovery.find(handshake)
        if was is None:
            return False
        session, opened = await self._open(was.identity, was.device_id, (was.epoch, was.seq))
        metrics.authentications.add("recovered")
        if opened.reason is None:
            recovery.id = handshake.recovery_id
        self.greet(recovery.id)
        await recovery.keep(session, was.device_id, opened)
        self._welcome(session, opened, recovered=opened.reason is None)
        return True

    def gone(self, *, goodbye: bool) -> None:
        session = self.session or self._asked
        if session is not None:
            self.gateway.hub.detach(session)
            self.gateway.presence.leave(session, goodbye=goodbye)
        # They hold each other.
        self.session = self._asked = None
        # The latter where a Socket.IO client broke that protocol.
        if (
            goodbye
            or self.outbound.close_code in TERMINAL_CODES
            or self.left_with in TERMINAL_CODES
        ):
            self._no_way_back()

    def end(self, code: int, reason: str) -> None:
        # Before its client hears of it, and may be back at once.
        if code in TERMINAL_CODES:
            self._no_way_back()
        super().end(code, reason)

    def _no_way_back(self) -> None:
        if self._recovery is not None:
            self._recovery.give_up()

    async def _put_back(self) -> None:
        """The store lost the session. The client learns of the new epoch by another `connected`."""
        session = self.session
        if session is None:  # it left while the store was asked
            return
        # As if it came back by itself: all there is in the new epoch is new to it.
        was = (session.epoch, session.order.position)
        self.gateway.hub.displace(session, self._new_order())
        opened = await self.gateway.presence.arrive(
            session, self._record, new_epoch=new_epoch(), resume=was
        )
        if session in self.gateway.hub.of_user(session.user_id):
            await self._keep_recoverable(session, opened)
            self._welcome(session, opened, recovered=opened.reason is None)
        else:  # its socket closed meanwhile, and said so when there was nothing to take away
            self.gateway.presence.leave(session, goodbye=False)

    # --- requests -------------------------------------------------------------------------------

    async def authenticate(self, request: Authenticate) -> Connected:
        with counted_authentication():
            return await self._authenticate(request)

    async def _authenticate(self, request: Authenticate) -> Connected:
        try:
            identity = await self.gateway.tokens.verify(request.token)
        except AuthenticationFailed:
            self.gateway.door.note_failure(self.address)
            raise
        if self.session is not None:
            return await self._extend(self.session, identity)
        resume = (request.resume.epoch, request.resume.seq) if request.resume else None
        session, opened = await self._open(identity, request.device_id, resume)
        await self._keep_recoverable(session, opened)
        recovered = resume is not None and opened.reason is None
        return self._welcome(session, opened, recovered=recovered)

    async def _open(
        self, identity: Identity, device_id: str | None, resume: tuple[str, int] | None
    ) -> tuple[Session, Opened]:
        self.user_id = identity.user_id
        bind_contextvars(user=self.user_id)
        if not self.gateway.node.serving:
            raise Unavailable("This gateway process takes no new sessions now.")
        self.gateway.door.admit()
        session = Session(
            user_id=identity.user_id,
            session_id=self.socket_id,
            codec=self.codec,
            outbound=self.outbound,
            identity=identity,
            order=self._new_order(),
            put_back=self._put_back,
        )
        self._record = SessionRecord(device_id, identity.device_info, now_ms())
        self._sender = Sender.user(identity.user_id)
        self._asked = session
        self.gateway.hub.attach(session)
        try:
            opened = await self.gateway.presence.arrive(
                session,
                self._record,
                new_epoch=new_epoch(),
                resume=resume,
                at_most=self.gateway.config.sessions_of_a_user,
            )
        except TooManySessions:
            self.gateway.hub.detach(session)
            raise too_much(
                "sessions", "The user has too many sessions.", BUSY_SECONDS, LATER
            ) from None
        except Exception:
            self.gateway.hub.detach(session)
            raise
        self.session = session
        self.lifetime.stop_waiting_for_authentication()
        self._set_deadlines(session)
        note_beginning(self, device_id, opened, resume)
        return session, opened

    async def _keep_recoverable(self, session: Session, opened: Opened) -> None:
        if self._recovery is not None:
            await self._recovery.keep(session, self._record.device_id, opened)

    async def ping(self, _: Nothing) -> Pong:
        return Pong(timestamp())

    def send_message(self, request: SendMessage) -> Awaitable[Receipt]:
        return self.gateway.delivery.send(self._sender, request)

    async def get_online_friends(self, _: Nothing) -> OnlineFriends:
        self._look_around()
        return OnlineFriends(await self.gateway.friends.online(self._me.user_id))

    async def get_all_online_users(self, request: Page) -> OnlineUsers:
        self._look_around()
        return await self.gateway.directory.online(request)

    async def get_detailed_online_users(self, request: Page) -> DetailedUsers:
        self._look_around()
        return await self.gateway.directory.detailed(self._me.identity, request)

    def _look_around(self) -> None:
        """Raises RateLimited: each of these questions may be about everybody."""
        rate = self.gateway.config.presence_queries
        if self._queries is None and rate is not None:
            self._queries = Bucket(rate)
        if self._queries is not None and (wait := self._queries.take()):
            raise too_much("presence_queries", "Too many questions about who is online.", wait)

    async def get_sessions(self, _: Nothing) -> Sessions:
        return Sessions(await self.gateway.sessions.of(self._me))

    async def close_session(self, request: CloseSession) -> Done:
        await self.gateway.sessions.close_other(self._me, request.session_id)
        return Done(timestamp())

    handlers: ClassVar[Mapping[str, Handler]] = {
        "authenticate": Handler(Authenticate, authenticate, public=True),
        "ping": Handler(Nothing, ping, public=True),
        "send_message": Handler(SendMessage, send_message),
        "get_online_users": Handler(Nothing, get_online_friends),
        "get_online_friends_only": Handler(Nothing, get_online_friends),
        "get_all_online_users": Handler(Page, get_all_online_users),
        "get_detailed_online_users": Handler(Page, get_detailed_online_users),
        "get_sessions": Handler(Nothing, get_sessions),
        "close_session": Handler(CloseSession, close_session),
    }

    # --- how a session begins, goes on and ends ---------------------------------------------------

    def _new_order(self) -> Order:
        return Order(stored=self.gateway.config.inbox_ttl_seconds > 0)

    def _welcome(self, session: Session, opened: Opened, *, recovered: bool) -> Connected:
        """`connected` first, then the reply, then the history, then what is new."""
        connected = self._connected(session, opened.epoch, opened.seq)
        connected = structs.replace(
            connected, recovered=recovered, missed=opened.missed, reason=opened.reason or UNSET
        )
        session.push("connected", connected)
        self.gateway.hub.place(
            session,
            position=opened.position,
            newest=opened.seq,
            epoch=opened.epoch,
            opened_ms=opened.at_ms,
        )
        return connected

    def _connected(self, session: Session, epoch: str, seq: int) -> Connected:
        return Connected(
            user=ConnectedUser(session.user_id, session.identity.email, self.socket_id),
            session_id=session.session_id,
            epoch=epoch,
            seq=seq,
            recovered=False,
            missed=0,
            timestamp=timestamp(),
        )

    async def _extend(self, session: Session, identity: Identity) -> Connected:
        if identity.user_id != session.user_id:
            raise Forbidden("This socket is another user's: open a new one.")
        session.identity = identity
        self._set_deadlines(session)
        if self._recovery is not None:
            await self._recovery.renew(identity)
        order = session.order
        connected = self._connected(session, session.epoch, order.newest)
        # What it was not handed yet comes after this, as after the first.
        connected = structs.replace(connected, missed=order.newest - order.position)
        session.push("connected", connected)
        return connected

    def _set_deadlines(self, session: Session) -> None:
        config, now = self.gateway.config, time.monotonic()
        token_ends = now + session.identity.expires_at - time.time()
        set_ = self.lifetime.deadlines.set
        set_("warning", token_ends - TOKEN_WARNING_SECONDS, self._token_expiring)
        set_("token", token_ends, self._token_expired)
        self.lifetime.limit_session(
            expiry_seconds=config.session_expiry_seconds, idle_seconds=config.idle_timeout_seconds
        )

    def _token_expiring(self) -> None:
        expires_ms = int(self._me.identity.expires_at * 1000)
        self.push("token_expiring", TokenExpiring(timestamp(expires_ms)))

    def _token_expired(self) -> None:
        self.lifetime.expire("token", CloseCode.UNAUTHENTICATED)
