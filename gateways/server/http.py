"""uvicorn's HTTP protocol, made safe against peers that do not finish, or do not read, and for
browsers: each response has its headers of security.

A request comes whole, in time and in bounds, or its connection is closed: no application reads a
body to its end that has none. So is one whose reader takes next to nothing of an answer.
"""

import asyncio
import fcntl
import sys
import termios
from typing import Any, ClassVar, cast

from uvicorn._types import ASGI3Application, ASGISendEvent
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateways.server import headers
from gateways.server.handover import LONGEST_REQUEST_LINE, Handover

#: Above what is taken of a WebSocket's message. So an application refuses in its own words first.
BODY_SLACK_BYTES = 64 * 1024
#: What a body may be larger by for being chunked: a byte takes six in a chunk of its own.
MAX_FRAMING = 8
#: Requests that may wait for the answers to those before them: browsers send none ahead.
MAX_PIPELINED = 16
#: What a reader takes in `read_seconds` while there is as much.
READ_BYTES = 4096


class SecuredCycle(RequestResponseCycle):
    """One request and its response. Not around the app: the 500 that uvicorn makes of an exception
    would pass that by.
    """

    async def send(self, message: ASGISendEvent) -> None:
        if message["type"] == "http.response.start":
            given = list(message.get("headers", ()))
            secure = headers.is_secure(cast("dict[str, Any]", self.scope))
            message = {**message, "headers": given + headers.missing(given, secure=secure)}
        await super().send(message)


class HttpProtocol(HttpToolsProtocol):
    head_seconds = 10.0
    body_seconds = 30.0
    read_seconds = 20.0
    max_head_bytes = 64 * 1024
    #: Of a request whose head is there, and of an answer that is not read.
    body_timer: asyncio.TimerHandle | None = None
    read_timer: asyncio.TimerHandle | None = None
    body_bytes = 0
    in_body = False
    in_head = False
    #: Bytes that came since the body began, framing and trailers with them.
    body_raw_bytes = 0
    #: The request that is answered now; others may have been read since.
    answered: RequestResponseCycle | None = None
    head_timer: asyncio.TimerHandle | None = None
    head_bytes = 0
    #: Where several processes share a port: how each request comes to the right one.
    handover: ClassVar[Handover | None] = None
    #: What another process read of this connection before it handed it over; None: it came here.
    inherited: bytes | None = None
    #: A request line that is not whole yet.
    request_line = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if (
            self.handover is not None
            and self.inherited is None
            and self.handover.pass_on(transport)
        ):
            return
        self._expect_head()
        if self.inherited:
            self.data_received(self.inherited)

    def _expect_head(self) -> None:
        self.head_timer = self.loop.call_later(self.head_seconds, self.transport.abort)
        self.head_bytes = 0

    def _stop_head_timer(self) -> None:
        if self.head_timer is not None:
            self.head_timer.cancel()
            self.head_timer = None

    def data_received(self, data: bytes) -> None:
        if self.head_timer is None and not self.in_body and self._all_answered():
            self._expect_head()
        if self.handover is not None and not self.head_bytes:
            data = self.request_line + data
            self.request_line = b""
            if b"\n" not in data and len(data) < LONGEST_REQUEST_LINE:
                self.request_line = data
                return
            owner = self.handover.owner(data)
            if owner is not None and self.handover.give(owner, self.transport, data):
                return
        self.head_bytes += len(data)
        self.body_raw_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self.in_head and self.head_bytes > self.max_head_bytes:
            self.send_400_response("Request head too large.")
        elif self.in_body and self.body_timer is None:
            self.body_timer = self.loop.call_later(self.body_seconds, self.transport.abort)
        elif self.in_body and self.body_raw_bytes > MAX_FRAMING * self._max_body_bytes:
            self._give_up()
            self.transport.close()

    @property
    def _max_body_bytes(self) -> int:
        return self.config.ws_max_size + BODY_SLACK_BYTES

    def _all_answered(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is None or cycle.response_complete

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.in_head = True
        if self.head_timer is None:  # behind a request that has no answer yet
            self._expect_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.in_head:  # else a trailer, which would pass for a header that a proxy has set
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._stop_head_timer()
        self.in_head = False
        if not self._all_answered() and self.parser.should_upgrade() and self._should_upgrade():
            raise ValueError("an upgrade ahead of an answer")  # which would come in between frames
        head_bytes = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if head_bytes > self.max_head_bytes:
            raise ValueError("request head too large")  # uvicorn answers 400
        if len(self.pipeline) >= MAX_PIPELINED:
            raise ValueError("too many requests ahead")
        super().on_headers_complete()
        self.in_body, self.body_bytes, self.body_raw_bytes = True, 0, 0

    def on_body(self, body: bytes) -> None:
        self.body_bytes += len(body)
        if self.transport.is_closing():
            return
        if self.body_bytes <= self._max_body_bytes:
            super().on_body(body)
            return
        if self.answered is not None and not self.answered.response_started:
            self._refuse(413, "Request body too large.")
        self._give_up()
        self.transport.close()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.in_body = False
        self._stop_body_timer()

    def _stop_body_timer(self) -> None:
        if self.body_timer is not None:
            self.body_timer.cancel()
            self.body_timer = None

    def handle_websocket_upgrade(self) -> None:
        self.in_body = False
        self._stop_timers()
        super().handle_websocket_upgrade()
        self._let_go()

    # --- answers ----------------------------------------------------------------------------------

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        cycle.__class__ = SecuredCycle
        self.answered = cycle
        super()._start_asgi_task(cycle, app)

    def send_400_response(self, msg: str) -> None:
        """A request that can't be read."""
        self._give_up()
        self._refuse(400, msg)
        self.transport.close()
        self._expect_reader()

    def _refuse(self, status: int, text: str) -> None:
        given, secure = self.server_state.default_headers, self.scheme == "https"
        self.transport.write(headers.refusal(status, text, given, secure=secure))

    def _give_up(self) -> None:
        """Whatever is answered now finds its peer gone, and nothing that waits is begun. uvicorn
        says so only to what it read last; the others would write to nobody, with a trace for each.
        """
        self.pipeline.clear()
        if self.answered is not None and not self.answered.response_complete:
            self.answered.disconnected = True
            self.answered.message_event.set()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._expect_reader()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._expect_reader()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect_reader()

    def _expect_reader(self) -> None:
        """What is written is read, if slowly: closing alone would wait for ever for that."""
        if self.read_timer is None and self in self.connections:
            self.read_timer = self.loop.call_later(
                self.read_seconds, self._look_at_reader, self._unread()
            )

    def _look_at_reader(self, before: int) -> None:
        self.read_timer = None
        if not (self.flow.write_paused or self.transport.is_closing()):
            return
        # More than before: so little was left that the answer went on.
        if 0 <= before - self._unread() < READ_BYTES:
            self.transport.abort()
        else:
            self._expect_reader()

    def _unread(self) -> int:
        """Bytes that wait here, and in the kernel, which takes from us a megabyte at a time."""
        descriptor = self.transport.get_extra_info("socket").fileno()
        if descriptor < 0:  # closed, with nothing left to send
            return 0
        in_kernel = fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4))  # tcp(7), SIOCOUTQ
        return self.transport.get_write_buffer_size() + int.from_bytes(in_kernel, sys.byteorder)

    def _stop_timers(self) -> None:
        self._stop_head_timer()
        self._stop_body_timer()
        if self.read_timer is not None:
            self.read_timer.cancel()
            self.read_timer = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timers()
        self._give_up()
        super().connection_lost(exc)
        self._let_go()

    def _let_go(self) -> None:
        """The parser holds this and this the parser: else only the collector would find them, which
        comes to what has lived for long once in hours.
        """
        self.parser = None  # type: ignore[assignment]  # nothing comes any more
