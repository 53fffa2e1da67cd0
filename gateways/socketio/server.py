"""Engine.IO at one path: which connection a request is for, and what is refused.

A connection's id begins with the number of the process that has it, where several share a port:
gateways/server/handover.py brings each request to the right one.
"""

import asyncio
import math
import secrets
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Final
from urllib.parse import parse_qs

from gateways.domain.limits import Door, Pace
from gateways.outbound import AsgiSocket, Send
from gateways.protocol import engineio
from gateways.protocol.engineio import InvalidPacket, Refusal
from gateways.protocol.errors import CloseCode
from gateways.socketio.connection import Connection, Consumer, Scope, Settings
from gateways.socketio.cors import allows, cors_headers, origin_of, preflight_headers
from gateways.socketio.wires import PollingWire, Receive, WebSocketWire

VERSION: Final = "4"
TEXT: Final = (b"content-type", b"text/plain; charset=UTF-8")
JSON: Final = (b"content-type", b"application/json")
NOT_CACHED: Final = (b"cache-control", b"no-store")

#: For those who poll to hear that the server goes, and that they are to come back.
FAREWELL_SECONDS: Final = 1.0

Headers = list[tuple[bytes, bytes]]


class Refused(Exception):
    def __init__(self, refusal: Refusal, retry_after_ms: int | None = None) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal
        self.headers: Headers = []
        if retry_after_ms is not None:
            self.headers.append((b"retry-after", b"%d" % math.ceil(retry_after_ms / 1000)))


class EngineServer:
    """The ASGI application of `/socket.io/`, over HTTP and WebSocket."""

    def __init__(
        self,
        *,
        consumer: Callable[[bool], Consumer],
        settings: Settings,
        cors_origins: Collection[str],
        door: Callable[[], Door | None] = lambda: None,
        pace: Callable[[], Pace] = lambda: Pace(None, None),
    ) -> None:
        """`consumer` gives the application that serves one socket, with connection state recovery
        or without; `door` what strangers come in by, where there are any, and there is one already;
        `pace` how fast one of them may send.
        """
        #: What the ids of this process's connections begin with.
        self.prefix = ""
        self._consumer = consumer
        self._settings = settings
        self._cors_origins = cors_origins
        self._door = door
        self._pace = pace
        self._connections: dict[str, Connection] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        websocket = scope["type"] == "websocket"
        try:
            await (self._websocket if websocket else self._http)(scope, receive, send)
        except Refused as refused:
            headers = [*refused.headers, *self._cors(scope)]
            await _refuse(scope, send, refused.refusal, headers)

    async def stop(self) -> None:
        """End what no consumer ends: connections that wait for their CONNECT packet, or whose
        clients are not done with fetching the last ones.
        """
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=FAREWELL_SECONDS)
        for connection in list(self._connections.values()):
            connection.close_now(CloseCode.SERVICE_RESTART, "The server restarts.")
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- WebSocket --------------------------------------------------------------------------------

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        sid = self._asked(scope, "websocket")
        connection = self._known(sid) if sid is not None else None
        if connection is not None and not isinstance(connection.wire, PollingWire):
            raise Refused(engineio.BAD_REQUEST)
        with self._entered(scope) if connection is None else nullcontext():
            await receive()  # websocket.connect
            await send({"type": "websocket.accept"})
            socket = scope.get("extensions", {}).get("scarfall.socket") or AsgiSocket(send)
            wire = WebSocketWire(socket, receive, send)
            if connection is None:
                await self._run(self._make(wire, scope))
                return
            try:
                await connection.upgrade(wire)
            except InvalidPacket:
                await wire.close(CloseCode.NORMAL, "")

    # --- HTTP -------------------------------------------------------------------------------------

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "OPTIONS":
            headers = [*self._cors(scope), *preflight_headers(scope)]
            await _respond(send, 204, headers, b"")
            return
        sid = self._asked(scope, "polling")
        method = scope["method"]
        if sid is None and method != "GET":
            raise Refused(engineio.BAD_METHOD)
        if method not in {"GET", "POST"}:
            raise Refused(engineio.BAD_REQUEST)
        connection = self._known(sid) if sid is not None else self._open(scope)
        wire = connection.wire
        if not isinstance(wire, PollingWire):
            raise Refused(engineio.BAD_REQUEST)
        try:
            if method == "GET":
                body = await _poll(wire, receive)
            else:
                with wire.posting():
                    await wire.post(engineio.split(await self._body(receive)))
                body = b"ok"
        except (InvalidPacket, Refused, ConnectionError) as error:
            connection.close_now(CloseCode.NORMAL, str(error))
            refusal = error.refusal if isinstance(error, Refused) else engineio.BAD_REQUEST
            raise Refused(refusal) from None
        await _respond(send, 200, [TEXT, NOT_CACHED, *self._cors(scope)], body)

    def _open(self, scope: Scope) -> Connection:
        """A new connection that lives on while requests come and go. Raises Refused."""
        entered = ExitStack()
        entered.enter_context(self._entered(scope))
        connection = self._make(PollingWire(), scope)
        task = asyncio.get_running_loop().create_task(self._run_within(entered, connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return connection

    async def _body(self, receive: Receive) -> bytes:
        """Raises Refused where it is too large, ConnectionError where the client goes."""
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError("the client went")
            body += bytes(message.get("body", b""))
            if len(body) > self._settings.max_payload_bytes:
                raise Refused(engineio.TOO_LARGE)
            if not message.get("more_body", False):
                return body

    # --- which connection -------------------------------------------------------------------------

    def _asked(self, scope: Scope, transport: str) -> str | None:
        """The connection id that a request names. Raises Refused."""
        query = parse_qs(scope["query_string"].decode("latin-1"))
        if query.get("transport") != [transport]:
            raise Refused(engineio.UNKNOWN_TRANSPORT)
        if query.get("EIO") != [VERSION]:
            raise Refused(engineio.UNKNOWN_VERSION)
        origin = origin_of(scope)
        if origin is not None and not allows(self._cors_origins, origin):
            raise Refused(engineio.FORBIDDEN)
        return query["sid"][0] if "sid" in query else None

    def _known(self, sid: str) -> Connection:
        connection = self._connections.get(sid)
        if connection is None or connection.closed:
            raise Refused(engineio.UNKNOWN_SESSION)
        return connection

    def _make(self, wire: PollingWire | WebSocketWire, scope: Scope) -> Connection:
        sid = self.prefix + secrets.token_urlsafe(15)
        connection = Connection(
            sid, wire, scope, consumer=self._consumer, settings=self._settings, pace=self._pace()
        )
        self._connections[sid] = connection
        return connection

    async def _run(self, connection: Connection) -> None:
        try:
            await connection.run()
        finally:
            del self._connections[connection.sid]

    async def _run_within(self, entered: ExitStack, connection: Connection) -> None:
        with entered:
            await self._run(connection)

    @contextmanager
    def _entered(self, scope: Scope) -> Iterator[None]:
        """One connection more of its address, whether it says CONNECT or nothing at all. Raises
        Refused where that is one too many.
        """
        door = self._door()
        if door is None:
            yield
            return
        address = (scope.get("client") or ("",))[0]
        try:
            if (refusal := door.enter(address)) is not None:
                raise Refused(engineio.come_back(str(refusal)), refusal.retry_after_ms)
            yield
        finally:
            door.leave(address)

    def _cors(self, scope: Scope) -> Headers:
        origin = origin_of(scope)
        if origin is None or not allows(self._cors_origins, origin):
            return []
        return cors_headers(origin)


async def _poll(wire: PollingWire, receive: Receive) -> bytes:
    """Raises InvalidPacket where another poll waits, ConnectionError where the client goes."""
    loop = asyncio.get_running_loop()
    polling = loop.create_task(wire.poll())
    leaving = loop.create_task(_left(receive))
    try:
        await asyncio.wait([polling, leaving], return_when=asyncio.FIRST_COMPLETED)
        if not polling.done():
            raise ConnectionError("the client went")
        return polling.result()
    finally:
        polling.cancel()
        leaving.cancel()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _refuse(scope: Scope, send: Send, refusal: Refusal, headers: Headers) -> None:
    headers = [JSON, NOT_CACHED, *headers]
    if scope["type"] == "http":
        await _respond(send, refusal.status, headers, refusal.body)
    elif "websocket.http.response" in scope.get("extensions", {}):
        await _respond(send, refusal.status, headers, refusal.body, of="websocket.http")
    else:
        await send({"type": "websocket.close"})


async def _respond(
    send: Send, status: int, headers: Headers, body: bytes, *, of: str = "http"
) -> None:
    length = (b"content-length", b"%d" % len(body))
    start = {"type": f"{of}.response.start", "status": status, "headers": [*headers, length]}
    await send(start)
    await send({"type": f"{of}.response.body", "body": body})
