"""One Engine.IO connection: its heartbeat, its wire, and the consumer that speaks through it.

To the consumer it is a WebSocket of ASGI's, whose frames are Socket.IO packets. It begins with the
client's CONNECT packet and ends with its DISCONNECT, which is a goodbye; then another may begin.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import structlog

from gateways.domain.limits import PACE_EXTENSION, Pace, frame_size
from gateways.outbound import Send
from gateways.protocol import engineio, socketio
from gateways.protocol.engineio import InvalidPacket, Packet
from gateways.protocol.errors import TERMINAL_CODES, CloseCode, InvalidFrame, InvalidPayload
from gateways.protocol.events import Failure, parse
from gateways.protocol.socketio import Auth
from gateways.socketio.upgrade import UPGRADE_SECONDS, negotiate
from gateways.socketio.wires import PollingWire, Receive, WebSocketWire, Wire

log = structlog.get_logger(__name__)

Scope = dict[str, Any]
Consumer = Callable[[Scope, Receive, Send], Awaitable[None]]

LOST: Final = {"type": "websocket.disconnect", "code": 1006}
GOODBYE: Final = {"type": "websocket.disconnect", "code": 1000}
EVENTS: Final = (socketio.EVENT, socketio.BINARY_EVENT)
#: What is passed over where too much comes. Binary packets are counted on, and pongs cost nothing.
UNSERVED: Final = (socketio.CONNECT, socketio.ACK)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the gateway's configuration says of Socket.IO."""

    ping_interval_ms: int
    ping_timeout_ms: int
    max_payload_bytes: int
    connect_timeout_seconds: float
    max_outbound_bytes: int
    #: Connection state recovery for everybody, asked for or not.
    recovery: bool


class Connection:
    def __init__(
        self,
        sid: str,
        wire: Wire,
        scope: Scope,
        *,
        consumer: Callable[[bool], Consumer],
        settings: Settings,
        pace: Pace,
    ) -> None:
        """`scope` is that of the first request. `consumer` gives a new one, with connection state
        recovery or without. `pace` is the whole connection's: whoever serves it takes events from
        it, and this all else.
        """
        self.sid = sid
        self.wire = wire
        self._scope = scope
        self._consumer = consumer
        self._settings = settings
        self._pace = pace
        self._loop = asyncio.get_running_loop()
        #: This side has closed it, and takes no more packets.
        self._closing = False
        self._closed = asyncio.Event()
        #: What the consumer hears at the end, unless the client said goodbye.
        self._lost = LOST
        self._timer = self._loop.call_later(settings.ping_interval_ms / 1000, self._ping)
        #: Whether the next consumer is still to hear that its socket is there.
        self._begun = False
        #: However often a client begins anew: unauthenticated it may not stay.
        self._connect_by = self._loop.time() + settings.connect_timeout_seconds
        #: Binary packets that are still to come, and the one that they belong to.
        self._attachments = 0
        self._binary_frame = ""

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    # --- its life ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until either side ends it."""
        upgrades = ["websocket"] if isinstance(self.wire, PollingWire) else []
        self.wire.write(
            [
                engineio.open_packet(
                    self.sid,
                    upgrades=upgrades,
                    ping_interval_ms=self._settings.ping_interval_ms,
                    ping_timeout_ms=self._settings.ping_timeout_ms,
                    max_payload_bytes=self._settings.max_payload_bytes,
                )
            ]
        )
        try:
            while (auth := await self._connect()) is not None:
                await self._serve(auth)
            if not self._closing:
                await self._close(CloseCode.NORMAL, "")
            await self.wire.farewell()
        except Exception:
            # Requests wait for what nobody does any more.
            self.wire.close_now(CloseCode.INTERNAL_ERROR, "")
            raise
        finally:
            self._end()

    async def _connect(self) -> Auth | None:
        """Wait for a CONNECT packet to the namespace there is; None where the connection ends."""
        if self._loop.time() >= self._connect_by:  # one that waits already would be taken
            return None
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._connect_by):
                while (packet := await self._next_message()) is not None:
                    try:
                        if (auth := self._greeted(packet)) is not None:
                            return auth
                    except InvalidFrame:
                        return None
        return None

    def _greeted(self, packet: Packet) -> Auth | None:
        """The auth of a CONNECT packet; None where it was refused. Raises InvalidFrame."""
        if not isinstance(packet, str) or not packet.startswith(socketio.CONNECT):
            raise InvalidFrame("A CONNECT packet comes first.")
        asked = socketio.connect(packet)
        if asked.namespace != "/":
            self._refuse(socketio.connect_error(asked.namespace, "Invalid namespace"))
            return None
        try:
            return parse(asked.auth, Auth)
        except InvalidPayload as error:
            self._refuse(socketio.connect_error("/", f"auth: {error}", Failure.of(error)))
            return None

    def _refuse(self, connect_error: bytes) -> None:
        """No consumer bounds what is written so."""
        if self.wire.write([connect_error]) > self._settings.max_outbound_bytes:
            self.close_now(CloseCode.SLOW_CONSUMER, "The reader does not keep up.")

    async def _serve(self, auth: Auth) -> None:
        recovery = auth.recovery or self._settings.recovery
        scope = {
            **self._scope,
            "type": "websocket",
            "subprotocols": [],
            "auth": auth,
            "extensions": {"scarfall.socket": self, PACE_EXTENSION: self._pace},
        }
        self._begun = True
        await self._consumer(recovery)(scope, self.receive, self.send)

    def _end(self) -> None:
        self._timer.cancel()
        self._closed.set()

    # --- what the consumer sees -------------------------------------------------------------------

    async def receive(self) -> dict[str, Any]:
        if self._begun:
            self._begun = False
            return {"type": "websocket.connect"}
        while True:
            packet = await self._next_message()
            if packet is None:
                return GOODBYE if self.wire.goodbye and not self._closing else self._lost
            if (
                isinstance(packet, str)
                and packet.startswith(socketio.EVENT)
                and not self._attachments
            ):
                return {"type": "websocket.receive", "text": packet}
            try:
                message = self._other(packet)
            except InvalidFrame:
                # As Socket.IO's own server: a client that breaks the protocol is not argued with.
                await self._send_away(CloseCode.PROTOCOL_ABUSE, "")
                return self._lost
            if message is not None:
                return message

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.close":
            code, reason = message["code"], message.get("reason", "")
            close = self._send_away if code in TERMINAL_CODES else self._close
            await close(code, reason)

    @property
    def writable(self) -> asyncio.Event:
        return self.wire.writable

    @property
    def unsent(self) -> bool:
        return self.wire.unsent

    @property
    def waiting_bytes(self) -> int:
        return self.wire.waiting_bytes

    def write_text(self, frames: Sequence[bytes]) -> int:
        return self.wire.write(frames)

    def close_now(self, code: int, reason: str) -> None:
        self._closing = True
        self.wire.close_now(code, reason)
        self._end()

    async def _send_away(self, code: int, reason: str) -> None:
        # Without this packet the client would come back by itself.
        self.wire.write([socketio.DISCONNECT.encode()])
        self._lost = {**LOST, "code": code}
        await self._close(code, reason)

    async def _close(self, code: int, reason: str) -> None:
        self._closing = True
        await self.wire.close(code, reason)

    # --- packets ----------------------------------------------------------------------------------

    async def _next_message(self) -> Packet | None:
        """The next packet that is Socket.IO's; Engine.IO's own are dealt with. None at the end."""
        while not self._closing:
            wire = self.wire
            packet = await wire.receive()
            if packet is None:
                if wire is self.wire:
                    return None
                continue  # it was upgraded
            in_time = self._takes(packet)
            if self._pace.abused:
                await self._send_away(CloseCode.TOO_MANY_CONNECTIONS, "This socket sends too much.")
            elif isinstance(packet, bytes) or packet.startswith(engineio.MESSAGE):
                if in_time or isinstance(packet, bytes) or not packet.startswith(UNSERVED):
                    return packet
            elif packet.startswith(engineio.PONG):
                self._timer.cancel()
                self._timer = self._loop.call_later(
                    self._settings.ping_interval_ms / 1000, self._ping
                )
            elif packet == engineio.CLOSE:
                self.close_now(CloseCode.NORMAL, "")
            elif packet != engineio.NOOP:  # one that only a server sends, or none at all
                await self._close(CloseCode.NORMAL, "")
        return None

    def _takes(self, packet: Packet) -> bool:
        """Whether it came in time. Events are counted by whoever serves and answers them."""
        if isinstance(packet, str) and packet.startswith(EVENTS):
            return True
        return self._pace.take(frame_size(packet)) is None

    def _other(self, packet: Packet) -> dict[str, Any] | None:
        """What the consumer is to hear of a packet that is no plain event. Raises InvalidFrame."""
        if isinstance(packet, bytes):
            if not self._attachments:
                raise InvalidFrame("A binary packet that nothing announced.")
            self._attachments -= 1
            if self._attachments or not self._binary_frame.startswith(socketio.BINARY_EVENT):
                return None
            return {"type": "websocket.receive", "text": self._binary_frame}
        if self._attachments:
            raise InvalidFrame("Binary packets were announced.")
        match packet[:2]:
            case socketio.DISCONNECT if packet in socketio.GOODBYES:
                return GOODBYE
            case socketio.CONNECT if (asked := socketio.connect(packet)).namespace != "/":
                # One more namespace over the connection that the stock client has already.
                self._refuse(socketio.connect_error(asked.namespace, "Invalid namespace"))
                return None
            case socketio.ACK:
                socketio.check_ack(packet)
                return None
            case socketio.BINARY_EVENT | socketio.BINARY_ACK:
                self._attachments = socketio.attachments(packet)
                self._binary_frame = packet
                is_whole_event = not self._attachments and packet.startswith(socketio.BINARY_EVENT)
                return {"type": "websocket.receive", "text": packet} if is_whole_event else None
        raise InvalidFrame("No packet that a connected client sends.")

    # --- heartbeat --------------------------------------------------------------------------------

    def _ping(self) -> None:
        self.wire.write([engineio.PING.encode()])
        self._timer = self._loop.call_later(self._settings.ping_timeout_ms / 1000, self._overdue)

    def _overdue(self, *, was_held: bool = False) -> None:
        # The pong may be here: what came before it waits for the consumer. Or, by polling, still to
        # come: it is a request of its own, after that.
        held = self.wire.held
        if held or was_held:
            again = partial(self._overdue, was_held=held)
            self._timer = self._loop.call_later(self._settings.ping_timeout_ms / 1000, again)
            return
        self.close_now(CloseCode.NORMAL, "ping timeout")

    # --- the upgrade ------------------------------------------------------------------------------

    async def upgrade(self, new: WebSocketWire) -> None:
        """Try a WebSocket that names this connection; where it passes the probe it takes over.

        Returns when the connection, or the attempt, is over. Raises InvalidPacket where it can't be
        upgraded.
        """
        old = self.wire
        if not isinstance(old, PollingWire) or self.closed:
            raise InvalidPacket("nothing to upgrade")
        await negotiate(old, new)
        if not await old.rested(UPGRADE_SECONDS) or self.wire is not old:
            raise InvalidPacket("upgraded already, or with a request under way")
        ended = old.down
        new.write(old.hand_over())
        if ended:
            await new.close(CloseCode.NORMAL, "")
        else:
            self.wire = new
            await self._closed.wait()
