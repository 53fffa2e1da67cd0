"""uvicorn's HTTP protocol, made safe against peers that do not finish a request's head, and for
browsers: each response has its headers of security.
"""

import asyncio
from typing import Any, ClassVar, cast

from uvicorn._types import ASGI3Application, ASGISendEvent
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateways.server import headers
from gateways.server.handover import LONGEST_REQUEST_LINE, Handover


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
    """Closes a connection whose next request head does not come whole, in time and in bounds."""

    head_seconds = 10.0
    max_head_bytes = 64 * 1024
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
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if self.head_timer is None and (cycle is None or cycle.response_complete):
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
        super().data_received(data)
        if self.head_timer is not None and self.head_bytes > self.max_head_bytes:
            self.send_400_response("Request head too large.")

    def on_headers_complete(self) -> None:
        self._stop_head_timer()
        head_bytes = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if head_bytes > self.max_head_bytes:
            raise ValueError("request head too large")  # uvicorn answers 400
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        cycle.__class__ = SecuredCycle
        super()._start_asgi_task(cycle, app)

    def handle_websocket_upgrade(self) -> None:
        super().handle_websocket_upgrade()
        self._let_go()

    def send_400_response(self, msg: str) -> None:
        """A request that can't be read."""
        given, secure = self.server_state.default_headers, self.scheme == "https"
        self.transport.write(headers.bad_request(msg, given, secure=secure))
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        super().connection_lost(exc)
        self._let_go()

    def _let_go(self) -> None:
        """The parser holds this and this the parser: else only the collector would find them, which
        comes to what has lived for long once in hours.
        """
        self.parser = None  # type: ignore[assignment]  # nothing comes any more
