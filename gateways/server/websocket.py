"""uvicorn's WebSocket protocol, made safe against peers that do not read, finish or stop.

What is held for a peer is bounded in bytes and seconds, the app hears of a connection's end once
and with the true code, and a consumer can write frames that it has built itself.
"""

import struct
from asyncio import BaseTransport
from collections.abc import Iterable, Sequence
from typing import Any, cast

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import DATA_OPCODES, CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State

from gateways.server import headers
from gateways.server.events import Events
from gateways.server.strict import StrictProtocol
from gateways.server.texts import take_texts

SOCKET_EXTENSION = "scarfall.socket"
PROTOCOL_ABUSE = 4400
LINGER_SECONDS = 2.0  # after our last word to a peer that may not read: one slow round trip
CLOSE_SECONDS = 10.0  # an orderly close; as long as uvicorn waits for the peer's close frame
PARSE_BYTES = 4096  # in one go: at most 680 frames, 3 ms; uvloop reads 256 KiB, 43,000 frames
HELD_MESSAGES = 8  # for the app, before reading stops: to stop at each costs two system calls
HELD_BYTES = 65536
CONTROL_FRAMES = 1000  # pings, pongs and fragments in one window; a client needs a handful
CONTROL_WINDOW_SECONDS = 10.0
HIGH_WATER_BYTES = 65536  # unsent, from which on a reader lags; asyncio's own, but over TLS
REASON_BYTES = 123  # RFC 6455 section 5.5: a control frame holds 125, two are the close code's
PONG_HEADER = bytes((0x80 | Opcode.PONG,))


def text_header(length: int) -> bytes:
    """The header of a final, unmasked text frame (RFC 6455 section 5.2)."""
    if length < 126:
        return bytes((0x81, length))
    if length < 65536:
        return b"\x81\x7e" + length.to_bytes(2)
    return struct.pack("!BBQ", 0x81, 127, length)


class WebSocketProtocol(WebSocketsSansIOProtocol):
    conn: StrictProtocol
    #: The connection ended before all was sent that was written.
    unsent = False
    unparsed = b""
    held_bytes = 0
    held_pong = b""
    #: At the time when a pong was due.
    was_paused = False
    control_frames = 0
    control_window_end = 0.0
    disconnect_event: ASGIReceiveEvent | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.queue = Events(self.loop)  # type: ignore[assignment]  # all that is asked of it here
        # uvicorn's, made without extensions (worker.py): compression would let a few bytes become
        # many.
        self.conn.__class__ = StrictProtocol

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self.conn.scope = {"scheme": self.scheme}
        if self.scheme == "wss":
            # uvloop lets eight times as much wait for a reader over TLS before it says so.
            self.transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)

    @property
    def waiting_bytes(self) -> int:
        return self.transport.get_write_buffer_size()

    @property
    def held(self) -> bool:
        return self.read_paused or self.queue.qsize() > 0

    def write_text(self, frames: Sequence[bytes]) -> int:
        """Write each payload (UTF-8) as a text frame; return how many bytes now wait to be sent.

        One write for all. Nothing and 0 before the handshake is complete or once a side closes.
        """
        if self.conn.state is not State.OPEN or self.transport.is_closing():
            self.unsent = True
            return 0
        if len(frames) == 1:
            self.transport.write(text_header(len(frames[0])) + frames[0])
        else:
            parts = [part for frame in frames for part in (text_header(len(frame)), frame)]
            self.transport.write(b"".join(parts))
        return self.waiting_bytes

    def close_now(self, code: int, reason: str = "") -> None:
        """Send a close frame, and drop the connection with all that it holds in `LINGER_SECONDS`.

        `receive()` yields the disconnect with `code` at once, `send()` raises. A no-op once gone.
        """
        self._fail(code, reason.encode()[:REASON_BYTES].decode(errors="ignore"))

    async def run_asgi(self) -> None:
        cast("dict[str, Any]", self.scope["extensions"])[SOCKET_EXTENSION] = self
        self.conn.scope = self.scope  # in which a trusted proxy's word replaces the scheme
        await super().run_asgi()
        del cast("dict[str, Any]", self.scope["extensions"])[SOCKET_EXTENSION]
        self._parse()  # the peer's close frame may wait behind messages that the app left
        if not self.disconnected:
            self._abort_after(CLOSE_SECONDS)

    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and self.close_sent:
            self.handshake_complete = (
                True  # refused; uvicorn takes it for forgotten, and logs an error
            )

    async def receive(self) -> ASGIReceiveEvent:
        """As uvicorn's, but the first disconnect is the last event: asking again repeats it."""
        if self.disconnect_event is not None:
            return self.disconnect_event
        event = await self.queue.get()
        if event["type"] == "websocket.disconnect":
            self.disconnect_event = event
        elif self.held_bytes and not self.queue.qsize():
            self.held_bytes = 0
            if self.read_paused:
                self.read_paused = False
                self._parse()
                if not self.read_paused:
                    self.transport.resume_reading()
        return event

    def data_received(self, data: bytes) -> None:
        if self.handshake_initiated and not self.handshake_complete:
            self.transport.abort()  # RFC 6455 section 4.1: the client must wait for our response
            return
        self.unparsed += data
        self._parse()

    def _parse(self) -> None:
        """Parse in pieces until enough waits for the app, so that a flood's rest stays bytes."""
        while self.unparsed and not self.read_paused and not self.conn.eof_sent:
            if self._between_messages() and self._take_texts():
                continue
            piece, self.unparsed = self.unparsed[:PARSE_BYTES], self.unparsed[PARSE_BYTES:]
            self.conn.receive_data(piece)
            self._count(self.conn.events)
            self.handle_events()
            if self.conn.parser_exc is not None and self.conn.close_sent is not None:
                self._fail(self.conn.close_sent.code, self.conn.close_sent.reason)
            elif self.conn.eof_sent and not self.handshake_initiated:
                # A head that websockets refuses to read: uvicorn neither answers nor closes.
                answer = b"".join(self.conn.data_to_send())
                secure = headers.is_secure(self.conn.scope)
                self.transport.write(answer or headers.refusal(400, "", [], secure=secure))
                self.transport.close()
        if self.conn.eof_sent:
            self.unparsed = b""
            if not self.handshake_initiated:
                self._abort_after(LINGER_SECONDS)

    def _between_messages(self) -> bool:
        """Whether the next byte begins a message. websockets' parser does not say so, but it waits
        for a frame's first byte in a generator of its own.
        """
        if self.conn.state is not State.OPEN or self.conn.current_size is not None:
            return False
        handshake: Any = self.conn.parser
        parser = handshake.gi_yieldfrom
        return parser is not None and parser.gi_yieldfrom.__name__ == "at_eof"

    def _take_texts(self) -> bool:
        """Returns whether there were any."""
        texts, taken = take_texts(
            self.unparsed,
            max_bytes=self.config.ws_max_size,
            at_most=HELD_MESSAGES - self.queue.qsize(),
        )
        self.unparsed = self.unparsed[taken:]
        for text in texts:
            self._hold({"type": "websocket.receive", "text": text}, len(text))
        return taken > 0

    def _hold(self, event: ASGIReceiveEvent, size: int) -> None:
        """For the app, which takes its time; a peer that goes on waits meanwhile."""
        if self.close_sent:
            return
        self.held_bytes += size + 1
        self.queue.put_nowait(event)
        if not self.read_paused and (
            self.held_bytes > HELD_BYTES or self.queue.qsize() >= HELD_MESSAGES
        ):
            self.read_paused = True
            self.transport.pause_reading()

    def _count(self, events: Iterable[object]) -> None:
        """Close on a peer that keeps us busy with frames that bring the app nothing."""
        for event in events:
            if isinstance(event, Frame) and not (event.fin and event.opcode in DATA_OPCODES):
                if (now := self.loop.time()) >= self.control_window_end:
                    self.control_window_end = now + CONTROL_WINDOW_SECONDS
                    self.control_frames = 0
                self.control_frames += 1
        if self.control_frames > CONTROL_FRAMES:
            self._fail(PROTOCOL_ABUSE, "too many control frames")
            self.transport.pause_reading()  # to throw away what follows costs a core, too

    def send_receive_event_to_app(self) -> None:
        data, self.frames = b"".join(self.frames), []
        if self.curr_msg_data_type == "bytes":
            self._hold({"type": "websocket.receive", "bytes": data}, len(data))
            return
        try:
            self._hold({"type": "websocket.receive", "text": data.decode()}, len(data))
        except UnicodeDecodeError:  # uvicorn logs a trace, and raises if a close frame follows
            self._fail(CloseCode.INVALID_DATA, "invalid UTF-8")

    def handle_ping(self) -> None:
        """While the peer does not read, answer its latest ping only, later (RFC 6455 5.5.3)."""
        output = self.conn.data_to_send()
        if self.close_sent or not self.writable.is_set():
            self.held_pong = next((f for f in output[::-1] if f[:1] == PONG_HEADER), self.held_pong)
            output = [frame for frame in output if frame[:1] != PONG_HEADER]
        if output:
            self.transport.write(b"".join(output))

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.held_pong and self.conn.state is State.OPEN and not self.transport.is_closing():
            self.transport.write(self.held_pong)
        self.held_pong = b""

    def _fail(self, code: int, reason: str = "", *, app_code: int | None = None) -> None:
        """Say the last word and half-close, so that unread input can't turn it into a TCP reset."""
        if self.disconnected:
            return
        if self.conn.state is State.CONNECTING:
            self.transport.abort()
        else:
            self.conn.fail(code, reason)
        self._tell_app(app_code or code, reason)
        self.stop_keepalive()
        self.close_sent = self.disconnected = True  # send() raises ClientDisconnected
        self.unsent |= not self.writable.is_set()
        self.writable.set()
        self._abort_after(LINGER_SECONDS)
        if not self.transport.is_closing():
            self.transport.write(b"".join(self.conn.data_to_send()))
            if self.transport.can_write_eof():
                self.transport.write_eof()
            self.transport.resume_reading()

    def _tell_app(self, code: int, reason: str = "") -> None:
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})

    def _abort_after(self, seconds: float) -> None:
        """Bound a close: transport.close() alone waits for ever on a peer that does not read."""
        if self.close_timer is not None:
            self.close_timer.cancel()
        if self in self.connections:
            self.close_timer = self.loop.call_later(seconds, self.transport.abort)

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.close_sent:  # refused, and who does not read that would be waited for
            self._abort_after(LINGER_SECONDS)

    def handle_close(self, event: Frame) -> None:
        super().handle_close(event)
        self._abort_after(CLOSE_SECONDS)

    def eof_received(self) -> None:
        self._tell_app(CloseCode.ABNORMAL_CLOSURE)
        self._abort_after(LINGER_SECONDS)

    def keepalive_timeout(self) -> None:
        # The pong may be here, or in the kernel: what came before it waits for the app.
        if self.read_paused or self.was_paused:
            assert self.ping_timeout is not None
            self.was_paused = self.read_paused
            self.pong_timer = self.loop.call_later(self.ping_timeout, self.keepalive_timeout)
            return
        self._fail(1011, "keepalive ping timeout", app_code=CloseCode.ABNORMAL_CLOSURE)

    def shutdown(self) -> None:
        if self.conn.state is State.CONNECTING:
            super().shutdown()  # answers 500
        elif self.conn.state is State.OPEN:
            self._fail(CloseCode.SERVICE_RESTART)
        else:
            self._abort_after(LINGER_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._tell_app(CloseCode.ABNORMAL_CLOSURE)
        self.unsent |= not self.writable.is_set()
        super().connection_lost(exc)
        # What the app has not asked for it does not hear any more. The parser's frame holds the
        # connection: without this only the collector would find it, hours later.
        self.unparsed = b""
        self.conn.parser.close()
