"""The consumer under both gateways: receive loop, dispatch by table, one error boundary.

A Channels consumer, with a receive loop of its own. Channels' own waits on two queues with fresh
tasks and looks for stale database connections at every message, which costs five times the echo
itself; what comes from the channel layer reaches a socket through the hub, so one queue is enough.
"""

import asyncio
import secrets
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import structlog
from channels.consumer import AsyncConsumer
from structlog.contextvars import bind_contextvars, clear_contextvars

from gateways import metrics
from gateways.consumers.handshake import Handshake
from gateways.consumers.lifetime import Lifetime
from gateways.consumers.notes import note_end, note_refusal
from gateways.consumers.request_id import RequestId
from gateways.domain.limits import PACE_EXTENSION, Pace, frame_size
from gateways.gateway import Gateway
from gateways.outbound import AsgiSocket, Outbound, Send
from gateways.protocol.codec import Codec, Inbound
from gateways.protocol.errors import (
    AuthenticationFailed,
    CloseCode,
    GatewayError,
    InternalError,
    InvalidFrame,
    Unauthenticated,
    Unavailable,
    UnknownEvent,
)
from gateways.protocol.events import (
    AuthenticationError,
    Failure,
    Payload,
    Request,
    ServerShutdown,
    parse,
    timestamp,
)
from gateways.session import ServiceSession, Session
from gateways.store.errors import StoreUnavailable
from gateways.trail import MAX_TEXT

log = structlog.get_logger(__name__)

#: 1005 is a close frame without a code, as a browser's `close()` sends (RFC 6455, section 7.1.5).
GOODBYES: Final = (1000, 1005)

Receive = Callable[[], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Handler:
    """What an event takes, who serves it, and whether it is served before authentication."""

    struct: type[Request]
    serve: Callable[[Any, Any], Awaitable[Payload]]
    public: bool = False


class GatewayConsumer(AsyncConsumer):  # type: ignore[misc]  # Channels has no types
    handlers: ClassVar[Mapping[str, Handler]]
    #: Whether its peers are strangers, with limits on what each socket and address may take.
    limited: ClassVar[bool]

    gateway: Gateway
    outbound: Outbound
    lifetime: Lifetime
    socket_id: str
    #: The peer's address; '' where the server does not know it.
    address: str
    #: Whose it is, once a token said so.
    user_id: str | None = None
    #: With which code the peer closed it.
    left_with: int | None = None
    #: Set once the socket has authenticated.
    session: Session | ServiceSession | None = None

    def __init__(self, start: Callable[[], Awaitable[Gateway]], codec: Codec) -> None:
        """`start` gives the running gateway of this process; it starts it where nobody has."""
        self._start = start
        self.codec = codec
        self._pace = Pace(None, None)
        self._invalid_frames = 0
        #: As Lifetime wants to know it.
        self.unavailable = False

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        handshake = Handshake.of(scope)
        try:
            self.gateway = await self._start()
        except StoreUnavailable as error:
            log.warning("store unavailable", error=str(error))
            await send({"type": "websocket.accept", "subprotocol": handshake.subprotocol})
            # Not the error's own words: they name the store, and may be longer than a close frame.
            reason = "The gateway has not started yet."
            await send({"type": "websocket.close", "code": CloseCode.UNAVAILABLE, "reason": reason})
            return
        if not handshake.origin_allowed(self.gateway.config.cors_origins):
            await send({"type": "websocket.close", "code": CloseCode.REVOKED})
            return
        await send({"type": "websocket.accept", "subprotocol": handshake.subprotocol})
        self.outbound = self._make_outbound(scope, send)
        self.socket_id = f"{self.gateway.node_id}.{secrets.token_hex(8)}"
        self.address = (scope.get("client") or ("",))[0]
        # Over polling this task began with a request of its own, and may serve several sockets.
        clear_contextvars()
        self._request_id = RequestId(self.socket_id)
        bind_contextvars(request=self._request_id, session=self.socket_id)
        pace = scope.get("extensions", {}).get(PACE_EXTENSION)
        if pace is not None:  # a Socket.IO connection's, which is in since its first request
            self._pace = pace
        if not self.limited or pace is not None:
            await self._serve(handshake, receive)
            return
        config, door = self.gateway.config, self.gateway.door
        try:
            if (refusal := door.enter(self.address)) is not None:
                self.greet()
                self._fail(refusal, None)
                await self.outbound.closed_down()
                return
            self._pace = Pace(config.frames, config.frame_bytes)
            await self._serve(handshake, receive)
        finally:
            door.leave(self.address)

    async def _serve(self, handshake: Handshake, receive: Receive) -> None:
        self.gateway.connections.join(self.socket_id, self)
        goodbye = False
        try:
            self.lifetime = Lifetime(
                self, auth_timeout_seconds=self.gateway.config.auth_timeout_seconds
            )
            await self.guarded(lambda _: self.opened(handshake), None)
            # In a task of its own: each message would be woken through all that is around this.
            goodbye = await asyncio.create_task(self._receive_frames(receive))
        finally:
            # Whatever ended the socket: this runs once, and waits for nobody.
            self.gateway.connections.leave(self.socket_id)
            self.lifetime.stop()
            del self.lifetime  # they hold each other
            if self.user_id is not None:
                bind_contextvars(user=self.user_id)
            note_end(self)
            self.gone(goodbye=goodbye and not self.outbound.closed)

    # --- for the gateways -------------------------------------------------------------------------

    @abstractmethod
    async def opened(self, handshake: Handshake) -> Payload | None:
        """The socket is open: greet it; its handshake may authenticate it."""

    @abstractmethod
    def gone(self, *, goodbye: bool) -> None:
        """The socket is closed; `goodbye` where the client said so itself, with 1000."""

    # --- the receive loop -------------------------------------------------------------------------

    async def _receive_frames(self, receive: Receive) -> bool:
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                self.left_with = message.get("code")
                return self.left_with in GOODBYES
            self._request_id.number += 1
            if not self.outbound.closed:
                frame = message.get("text")
                refusal = self._pace.take(frame_size(frame or message.get("bytes") or ""))
                if refusal is not None and self._pace.abused:
                    self.outbound.close(CloseCode.TOO_MANY_CONNECTIONS, str(refusal))
                elif (inbound := self._decode(frame)) is not None:
                    if refusal is not None:
                        self._fail(refusal, inbound)
                    else:
                        await self.guarded(self._dispatch, inbound)

    def _decode(self, frame: str | None) -> Inbound | None:
        """None where it was refused."""
        if frame is None:
            self._refuse_frame(InvalidFrame("The frame is binary; text was expected."))
            return None
        try:
            inbound = self.codec.decode(frame)
        except InvalidFrame as error:
            self._refuse_frame(error)
            return None
        self._invalid_frames = 0
        if self.session is not None:
            self.session.touch()
        return inbound

    def _refuse_frame(self, error: InvalidFrame) -> None:
        self._invalid_frames += 1
        self._fail(error, None)
        if self._invalid_frames >= self.codec.max_invalid_frames:
            self.outbound.close(CloseCode.PROTOCOL_ABUSE, "Too many invalid frames in a row.")

    def _dispatch(self, inbound: Inbound) -> Awaitable[Payload]:
        if inbound.refusal is not None:
            raise inbound.refusal
        if self.gateway.trail.logs:
            log.debug("request", event_name=inbound.event[:MAX_TEXT])
        handler = self.handlers.get(inbound.event)
        if handler is None:
            raise UnknownEvent(f"{inbound.event!r} is no event of this gateway.")
        if not handler.public and self.session is None:
            raise Unauthenticated("Authenticate first.")
        request = parse(inbound.data, handler.struct)
        metrics.requests.add(inbound.event)
        return handler.serve(self, request)

    # --- the error boundary -----------------------------------------------------------------------

    async def guarded(
        self, work: Callable[[Any], Awaitable[Payload | None]], inbound: Inbound | None
    ) -> None:
        """Do the work and reply with its result. Every exception ends here, as an answer or a
        close.
        """
        try:
            payload = await work(inbound)
        except GatewayError as error:
            self.unavailable |= isinstance(error, Unavailable)
            self._fail(error, inbound)
        except AuthenticationFailed as error:
            self._refuse(error, inbound)
        except StoreUnavailable as error:
            log.warning("store unavailable", socket_id=self.socket_id, error=str(error))
            self.unavailable = True
            self._fail(Unavailable("The gateway's store does not answer now."), inbound)
        except Exception:
            ref = secrets.token_hex(6)
            event = inbound.event if inbound else None
            log.exception("internal error", ref=ref, socket_id=self.socket_id, event_name=event)
            self._fail(InternalError(ref), inbound)
        else:
            if payload is not None and inbound is not None and inbound.request_id is not None:
                self.outbound.write(self.codec.reply(inbound.event, inbound.request_id, payload))

    def _fail(self, error: GatewayError, inbound: Inbound | None) -> None:
        metrics.failures.add(error.code)
        note_refusal(self, error.code, inbound, error.retry_after_ms)
        failure = Failure.of(error)
        if inbound is not None and inbound.request_id is not None:
            self.outbound.write(self.codec.reply(inbound.event, inbound.request_id, failure))
        else:
            self.push("error", failure)
        if error.close_code is not None:
            self.outbound.close(error.close_code, str(error))

    def _refuse(self, error: AuthenticationFailed, inbound: Inbound | None) -> None:
        note_refusal(self, error.code, inbound)
        payload = AuthenticationError(error.code, str(error))
        self.push("authentication_error", payload)
        if inbound is not None and inbound.request_id is not None:
            failure = Failure(code=error.code, error=str(error), timestamp=timestamp())
            self.outbound.write(self.codec.reply(inbound.event, inbound.request_id, failure))
        self.outbound.close(error.close_code, str(error))

    def push(self, event: str, payload: Payload) -> None:
        self.outbound.write(self.codec.push(event, payload))

    def greet(self, recovery_id: str | None = None) -> None:
        """The first frame, where the format has one."""
        if greeting := self.codec.greeting(self.socket_id, recovery_id):
            self.outbound.write(greeting)

    # --- for the node -----------------------------------------------------------------------------

    @property
    def waiting_bytes(self) -> int:
        return self.outbound.waiting_bytes

    def end(self, code: int, reason: str) -> None:
        self.outbound.close(code, reason)

    def shut_down(self, farewell: ServerShutdown) -> None:
        self.push("server_shutdown", farewell)
        self.outbound.close(CloseCode.SERVICE_RESTART, "The server restarts.")

    def _make_outbound(self, scope: dict[str, Any], send: Send) -> Outbound:
        socket = scope.get("extensions", {}).get("scarfall.socket") or AsgiSocket(send)
        gateway = self.gateway
        return Outbound(
            socket, send, max_bytes=gateway.config.max_outbound_bytes, turn=gateway.turn
        )
