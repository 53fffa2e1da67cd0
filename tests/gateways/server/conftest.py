"""A real uvicorn on uvloop, in a thread, with an app that records what it saw."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
from uvicorn import Config, Server
from uvicorn.protocols.utils import ClientDisconnected

from gateways.server.http import HttpProtocol
from gateways.server.websocket import SOCKET_EXTENSION, WebSocketProtocol

MAX_MESSAGE_BYTES = 65536
# What a slow machine takes to read a flood of 20 MB, with its lines counted.
PATIENCE_SECONDS = 30.0
BACKLOG_FRAMES = 250
#: More than the kernel takes for a reader that takes nothing.
LARGE_BYTES = 32_000_000
T = TypeVar("T")


class Connection:
    """What the app saw of one connection."""

    def __init__(self, scope: dict[str, Any]) -> None:
        self.path: str = scope["path"]
        self.socket: WebSocketProtocol = scope["extensions"][SOCKET_EXTENSION]
        self.go_on = asyncio.Event()
        self.texts: list[str] = []
        self.disconnect: dict[str, Any] = {}
        self.repeated: dict[str, Any] = {}
        self.raised: BaseException | None = None
        self.finished = False


class Gateway:
    """One app: what it does depends on the path."""

    def __init__(self) -> None:
        self.seen: list[Connection] = []
        self.loop: asyncio.AbstractEventLoop
        self.port = 0
        self.server: Server
        #: Of HTTP.
        self.requests = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.read_bytes = 0

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.loop = asyncio.get_running_loop()
        if scope["type"] == "http":
            await self.answer(scope["path"], receive, send)
            self.headers = scope["headers"]
            return
        connection = Connection(scope)
        self.seen.append(connection)
        try:
            await self.converse(connection, receive, send)
        except ClientDisconnected as exc:
            connection.raised = exc
            connection.disconnect = await receive()
        finally:
            connection.finished = True

    async def answer(self, path: str, receive: Any, send: Any) -> None:
        """At /reads the body comes first, as Django has it everywhere; /large has much to say."""
        if path == "/fails":
            raise RuntimeError("as the test asked for")
        parts = [b"x" * (LARGE_BYTES // 2)] * 2 if path == "/large" else [b"ok"]
        self.requests += 1
        if path == "/hangs":
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        while path == "/reads":
            event = await receive()
            self.read_bytes += len(event.get("body", b""))
            if event["type"] == "http.disconnect":
                return
            if not event["more_body"]:
                break
        headers = [(b"content-length", b"%d" % sum(map(len, parts)))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for number, part in enumerate(parts, 1):
            more = number < len(parts)
            await send({"type": "http.response.body", "body": part, "more_body": more})

    async def converse(self, connection: Connection, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        if connection.path == "/waits-to-accept":
            await connection.go_on.wait()
        await send({"type": "websocket.accept"})
        if connection.path == "/deaf":
            await connection.go_on.wait()
        if connection.path == "/sends":
            while True:
                await send({"type": "websocket.send", "text": "x" * 65536})
        while (event := await receive())["type"] == "websocket.receive":
            connection.texts.append(event.get("text"))
            if event.get("text") == "close":
                await send({"type": "websocket.close", "code": 4000})
            elif connection.path == "/mirror":
                kept = {
                    kind: event[kind] for kind in ("text", "bytes") if event.get(kind) is not None
                }
                await send({"type": "websocket.send", **kept})
            elif connection.path == "/echo":
                connection.socket.write_text([event["text"].encode()])
        connection.disconnect = event
        connection.repeated = await receive()

    async def call(self, function: Callable[[], T]) -> T:
        """Run in the server's loop."""

        async def run() -> T:
            return function()

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(run(), self.loop))

    async def connection(self) -> Connection:
        await until(lambda: bool(self.seen))
        return self.seen[-1]

    async def ended(self) -> Connection:
        connection = await self.connection()
        await until(lambda: connection.finished)
        return connection

    async def gone(self) -> None:
        await until(lambda: not self.server.server_state.connections)


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.005)


@contextmanager
def serve(**options: Any) -> Iterator[Gateway]:
    gateway = Gateway()
    defaults = {"ws_ping_interval": None, "timeout_keep_alive": 1, "timeout_graceful_shutdown": 5}
    gateway.server = Server(
        Config(
            gateway,
            http=HttpProtocol,
            ws=WebSocketProtocol,
            loop="uvloop",
            lifespan="off",
            log_config=None,
            ws_max_size=MAX_MESSAGE_BYTES,
            ws_per_message_deflate=False,
            **defaults | options,
        )
    )
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        gateway.port = listener.getsockname()[1]
        thread = threading.Thread(target=gateway.server.run, args=([listener],))
        thread.start()
        try:
            while not gateway.server.started:
                assert thread.is_alive()
                time.sleep(0.001)
            yield gateway
        finally:
            gateway.server.should_exit = True
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive(), "the server does not stop"


@pytest.fixture(scope="module")
def running() -> Iterator[Gateway]:
    with serve() as gateway:
        yield gateway


@pytest.fixture
async def gateway(running: Gateway) -> AsyncIterator[Gateway]:
    running.seen.clear()
    running.requests = running.read_bytes = 0
    yield running
    for connection in running.seen:
        running.loop.call_soon_threadsafe(connection.go_on.set)
    await running.gone()
    # Requests whose peer has gone may still be answered, and would count for the next test.
    await until(lambda: not running.server.server_state.tasks)


async def fill(gateway: Gateway) -> Connection:
    """Leave much in the write buffer of a peer that does not read: more than the kernel takes."""
    connection = await gateway.connection()
    frames = [b"x" * 65000] * BACKLOG_FRAMES
    assert await gateway.call(lambda: connection.socket.write_text(frames)) > 65536
    return connection
