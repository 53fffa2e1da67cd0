"""A real uvicorn on uvloop, in a thread; clients are raw sockets and `websockets`."""

import asyncio
import base64
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import pytest
from uvicorn import Server
from uvicorn.protocols.utils import ClientDisconnected
from websockets.asyncio.client import connect

from gateways.server import protocol
from gateways.server.protocol import SOCKET_EXTENSION, HttpProtocol, WebSocketProtocol, config

pytestmark = pytest.mark.asyncio

MAX_MESSAGE_BYTES = 65536
PATIENCE_SECONDS = 10.0
BACKLOG_FRAMES = 250
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

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.loop = asyncio.get_running_loop()
        if scope["type"] == "http":
            headers = [(b"content-length", b"2")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"ok"})
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
        config(
            gateway,
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
    yield running
    for connection in running.seen:
        running.loop.call_soon_threadsafe(connection.go_on.set)
    await running.gone()


class Raw:
    """A client that does exactly what it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def frame(self) -> tuple[int, bytes]:
        head, length = await self.reader.readexactly(2)
        assert head & 0x80
        assert length < 128, "a server does not mask"
        if length == 126:
            (length,) = struct.unpack("!H", await self.reader.readexactly(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", await self.reader.readexactly(8))
        return head & 0x0F, await self.reader.readexactly(length)

    async def frames(self) -> list[tuple[int, bytes]]:
        """All until the end."""
        found = []
        while True:
            try:
                found.append(await self.frame())
            except (asyncio.IncompleteReadError, ConnectionResetError):
                return found

    def reset(self) -> None:
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


def masked(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    head = bytes(((0x80 if fin else 0) | opcode,))
    size = len(payload)
    length = (
        bytes((0x80 | size,)) if size < 126
        else struct.pack("!BH", 0xFE, size) if size < 65536
        else struct.pack("!BQ", 0xFF, size)
    )  # fmt: skip
    return head + length + bytes(4) + payload


TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def close(code: int) -> bytes:
    return masked(CLOSE, struct.pack("!H", code))


def upgrade(path: str, *extra: str, version: int = 13) -> bytes:
    lines = (
        f"GET {path} HTTP/1.1",
        "Host: localhost",
        "Connection: Upgrade",
        "Upgrade: websocket",
        f"Sec-WebSocket-Version: {version}",
        f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}",
        *extra,
        "\r\n",
    )
    return "\r\n".join(lines).encode()


@asynccontextmanager
async def tcp(gateway: Gateway) -> AsyncIterator[Raw]:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            yield Raw(reader, writer)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def raw(gateway: Gateway, path: str = "/echo") -> AsyncIterator[Raw]:
    async with tcp(gateway) as client:
        client.writer.write(upgrade(path))
        assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        yield client


async def fill(gateway: Gateway) -> Connection:
    """Leave much in the write buffer of a peer that does not read: more than the kernel takes."""
    connection = await gateway.connection()
    frames = [b"x" * 65000] * BACKLOG_FRAMES
    assert await gateway.call(lambda: connection.socket.write_text(frames)) > 65536
    return connection


# Frames of our own


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 200_000])
async def test_write_text_frames_every_length(gateway: Gateway, size: int) -> None:
    async with connect(f"ws://127.0.0.1:{gateway.port}/echo", max_size=None) as client:
        connection = await gateway.connection()
        text = "é" * (size // 2) + "x" * (size % 2)
        frames = [text.encode(), b"next"]
        await gateway.call(lambda: connection.socket.write_text(frame for frame in frames))
        assert await client.recv() == text
        assert await client.recv() == "next"


async def test_write_text_returns_what_waits(gateway: Gateway) -> None:
    async with raw(gateway):
        connection = await fill(gateway)
        waiting = await gateway.call(lambda: connection.socket.write_text([]))
        assert await gateway.call(lambda: connection.socket.write_text([b"x" * 998])) in range(
            waiting - 65536, waiting + 1003
        )


async def test_write_text_is_silent_before_the_handshake(gateway: Gateway) -> None:
    async with tcp(gateway) as client:
        client.writer.write(upgrade("/waits-to-accept"))
        connection = await gateway.connection()
        assert await gateway.call(lambda: connection.socket.write_text([b"early"])) == 0
        gateway.loop.call_soon_threadsafe(connection.go_on.set)
        await client.reader.readuntil(b"\r\n\r\n")
        client.writer.write(close(1000))
        assert await client.frames() == [(CLOSE, b"\x03\xe8")]


async def test_write_text_is_silent_after_either_close(gateway: Gateway) -> None:
    async with raw(gateway) as client:
        client.writer.write(masked(TEXT, b"close"))
        connection = await gateway.connection()
        assert await client.frame() == (CLOSE, struct.pack("!H", 4000))
        assert await gateway.call(lambda: connection.socket.write_text([b"late"])) == 0
        client.writer.write(masked(PING, b"late") + close(4000))
        assert await client.frames() == []
    async with raw(gateway) as client:
        client.writer.write(close(1000))
        await until(lambda: len(gateway.seen) == 2)
        connection = await gateway.ended()
        assert await gateway.call(lambda: connection.socket.write_text([b"late"])) == 0
        assert await client.frames() == [(CLOSE, b"\x03\xe8")]


# How it ended


@pytest.mark.parametrize(
    ("last_words", "code", "answer"),
    [
        (close(1000), 1000, 1000),
        (close(1001), 1001, 1001),
        (close(4999), 4999, 4999),
        (masked(CLOSE), 1005, None),
        (b"\xff" + bytes(5), 1002, 1002),
        (b"\x81\x05hello", 1002, 1002),
        (masked(CLOSE, b"\x03"), 1002, 1002),
        (masked(0), 1002, 1002),
        (masked(TEXT, b"\xff"), 1007, 1007),
        (masked(TEXT, b"\xc3", fin=False) + masked(0, b"x"), 1007, 1007),
        (masked(TEXT, b"\xff") + close(1000), 1007, None),
        (masked(TEXT, b"\xff") + masked(TEXT, b"x") + masked(PING), 1007, 1007),
        (masked(CLOSE, b"\x03\xe8\xff"), 1007, 1007),
        (b"\x81\xff" + (MAX_MESSAGE_BYTES + 1).to_bytes(8) + bytes(4), 1009, 1009),
    ],
)
async def test_frames_that_end_it(
    gateway: Gateway,
    caplog: pytest.LogCaptureFixture,
    last_words: bytes,
    code: int,
    answer: int | None,
) -> None:
    async with raw(gateway, "/listens") as client:
        client.writer.write(masked(TEXT, b"before") + last_words)
        connection = await gateway.ended()
        assert connection.texts == ["before"]
        assert connection.disconnect["code"] == code
        assert connection.repeated == connection.disconnect
        opcode, payload = (await client.frames())[-1]
        assert opcode == CLOSE
        assert answer is None or payload[:2] == struct.pack("!H", answer)
    await gateway.gone()
    assert "Traceback" not in caplog.text
    assert [r for r in caplog.records if r.levelname in ("WARNING", "ERROR")] == []


@pytest.mark.parametrize("path", ["/echo", "/waits-to-accept"])
@pytest.mark.parametrize("how", ["reset", "fin"])
async def test_lost_without_a_close_frame(gateway: Gateway, how: str, path: str) -> None:
    async with tcp(gateway) as client:
        client.writer.write(upgrade(path))
        connection = await gateway.connection()
        if path == "/echo":
            await client.reader.readuntil(b"\r\n\r\n")
        client.reset() if how == "reset" else client.writer.write_eof()
        await gateway.gone()
        gateway.loop.call_soon_threadsafe(connection.go_on.set)
    connection = await gateway.ended()
    assert connection.disconnect["code"] == 1006


async def test_silent_peer(caplog: pytest.LogCaptureFixture) -> None:
    with serve(ws_ping_interval=0.05, ws_ping_timeout=0.05) as gateway:
        async with raw(gateway) as client:
            connection = await gateway.ended()
            assert connection.disconnect["code"] == 1006
            assert connection.repeated == connection.disconnect
            assert [opcode for opcode, _ in await client.frames()] == [PING, CLOSE]
        await gateway.gone()
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("path", ["/deaf", "/sends"])
async def test_silent_peer_with_a_full_buffer(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "LINGER_SECONDS", 0.1)
    with serve(ws_ping_interval=0.05, ws_ping_timeout=0.05) as gateway:
        async with raw(gateway, path):
            connection = await fill(gateway)
            gateway.loop.call_soon_threadsafe(connection.go_on.set)
            await gateway.gone()
        assert (await gateway.ended()).disconnect["code"] == 1006


@pytest.mark.parametrize(("last_words", "code"), [(b"", 1006), (close(1000), 1000)])
async def test_a_peer_that_leaves_without_reading_is_not_waited_for(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, last_words: bytes, code: int
) -> None:
    monkeypatch.setattr(protocol, "LINGER_SECONDS", 0.1)
    monkeypatch.setattr(protocol, "CLOSE_SECONDS", 0.1)
    async with raw(gateway) as client:
        await fill(gateway)
        client.writer.write(last_words)
        client.writer.write_eof()
        assert (await gateway.ended()).disconnect["code"] == code
        await gateway.gone()


async def test_a_close_of_the_app_that_is_not_read_is_bounded(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "CLOSE_SECONDS", 0.1)
    async with raw(gateway) as client:
        connection = await gateway.connection()
        transport = connection.socket.transport
        # Asked in a turn of its own: uvloop writes when the turn of write_text ends.
        while not await gateway.call(transport.get_write_buffer_size):
            await gateway.call(lambda: connection.socket.write_text([b"x" * 32_000]))
        client.writer.write(masked(TEXT, b"close"))
        assert (await gateway.ended()).disconnect["code"] == 4000
        await gateway.gone()


async def test_the_close_frame_survives_input_in_flight(gateway: Gateway) -> None:
    async with raw(gateway) as client:
        client.writer.write(masked(TEXT, b"x" * 30_000_000))
        opcode, payload = await client.frame()
        assert opcode == CLOSE
        assert payload.startswith(struct.pack("!H", 1009))
    assert (await gateway.ended()).disconnect["code"] == 1009


# A slow consumer


async def test_close_now_drops_what_is_not_read(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "LINGER_SECONDS", 0.2)
    async with raw(gateway):
        connection = await fill(gateway)
        await gateway.call(lambda: connection.socket.close_now(4508, "slow consumer"))
        await gateway.call(lambda: connection.socket.close_now(4508, "again"))
        assert (await gateway.ended()).disconnect == {
            "type": "websocket.disconnect",
            "code": 4508,
            "reason": "slow consumer",
        }
        await gateway.gone()
        assert connection.repeated == connection.disconnect
        assert connection.socket.transport.get_write_buffer_size() == 0
        await gateway.call(lambda: connection.socket.close_now(4508, "once more"))


async def test_close_now_reaches_a_peer_that_reads(gateway: Gateway) -> None:
    async with raw(gateway) as client:
        connection = await fill(gateway)
        await gateway.call(lambda: connection.socket.close_now(4508, "é" * 100))
        assert await gateway.call(lambda: connection.socket.write_text([b"late"])) == 0
        frames = await client.frames()
        assert len(frames) == BACKLOG_FRAMES + 1
        assert frames[-1] == (CLOSE, struct.pack("!H", 4508) + ("é" * 61).encode())
    await gateway.gone()


async def test_close_now_frees_a_send_that_waits(gateway: Gateway) -> None:
    async with raw(gateway, "/sends"):
        connection = await gateway.connection()
        await until(lambda: not connection.socket.writable.is_set())
        await gateway.call(lambda: connection.socket.close_now(4508))
        await gateway.ended()
        assert isinstance(connection.raised, ClientDisconnected)
        assert connection.disconnect["code"] == 4508


async def test_close_now_before_the_handshake(gateway: Gateway) -> None:
    async with tcp(gateway) as client:
        client.writer.write(upgrade("/waits-to-accept"))
        connection = await gateway.connection()
        await gateway.call(lambda: connection.socket.close_now(4508))
        assert await client.reader.read() == b""
        gateway.loop.call_soon_threadsafe(connection.go_on.set)
    assert (await gateway.ended()).disconnect["code"] == 4508


# Floods


async def test_pings_are_answered(gateway: Gateway) -> None:
    async with raw(gateway) as client:
        pings = [str(n).encode() for n in range(20)]
        client.writer.write(b"".join(masked(PING, ping) for ping in pings))
        assert [await client.frame() for _ in pings] == [(PONG, ping) for ping in pings]


async def test_only_the_latest_ping_is_answered_after_a_backlog(gateway: Gateway) -> None:
    async with raw(gateway) as client:
        connection = await fill(gateway)
        for n in range(50):
            client.writer.write(masked(PING, b"%d" % n))
        await until(lambda: connection.socket.held_pong.endswith(b"49"))
        frames = [await client.frame() for _ in range(BACKLOG_FRAMES + 1)]
        assert [opcode for opcode, _ in frames[:-1]] == [TEXT] * BACKLOG_FRAMES
        assert frames[-1] == (PONG, b"49")


@pytest.mark.parametrize("frame", [masked(PING, bytes(125)), masked(PONG), masked(0, fin=False)])
async def test_a_flood_without_messages_is_cut_off(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, frame: bytes
) -> None:
    monkeypatch.setattr(protocol, "LINGER_SECONDS", 0.3)
    async with raw(gateway) as client:
        connection = await gateway.connection()
        start = masked(TEXT, fin=False) if frame[0] == 0 else b""
        client.writer.write(start + frame * 20_000)
        assert (await gateway.ended()).disconnect["code"] == 4400
        assert connection.socket.transport.get_write_buffer_size() < 200_000
        assert (await client.frames())[-1][1].startswith(struct.pack("!H", 4400))


async def test_ping_flood_does_not_fill_the_write_buffer(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "CONTROL_FRAMES", 1 << 30)
    async with raw(gateway) as client:
        connection = await gateway.connection()
        for _ in range(20):
            client.writer.write(masked(PING, bytes(125)) * 8000)
            await client.writer.drain()
        client.writer.write(masked(TEXT, b"end"))
        await until(lambda: connection.texts == ["end"])
        assert connection.socket.transport.get_write_buffer_size() < 400_000


async def test_a_flood_of_messages_waits_as_bytes(gateway: Gateway) -> None:
    async with raw(gateway, "/deaf") as client:
        connection = await gateway.connection()
        client.writer.write(b"".join(masked(TEXT, b"%d" % n) for n in range(50_000)) + close(1000))
        await until(lambda: connection.socket.read_paused)
        assert connection.socket.queue.qsize() <= protocol.PARSE_BYTES // 6
        gateway.loop.call_soon_threadsafe(connection.go_on.set)
        await gateway.ended()
        assert connection.texts == [str(n) for n in range(50_000)]
        assert connection.disconnect["code"] == 1000


async def test_no_frames_before_the_answer(gateway: Gateway) -> None:
    async with tcp(gateway) as client:
        client.writer.write(upgrade("/waits-to-accept"))
        connection = await gateway.connection()
        client.writer.write(masked(PING))
        assert await client.reader.read() == b""
        gateway.loop.call_soon_threadsafe(connection.go_on.set)
    assert (await gateway.ended()).disconnect["code"] == 1006


# Shutdown


async def test_shutdown_says_so_to_both_sides(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "LINGER_SECONDS", 0.1)
    with serve() as gateway:
        async with raw(gateway) as client, raw(gateway) as stuck:
            await until(lambda: len(gateway.seen) == 2)
            await fill(gateway)
            stuck.writer.write(close(1000))
            await until(lambda: gateway.seen[1].finished)
            gateway.server.should_exit = True
            assert await client.frames() == [(CLOSE, struct.pack("!H", 1012))]
            await until(lambda: gateway.seen[0].finished)
            assert [seen.disconnect["code"] for seen in gateway.seen] == [1012, 1000]
    assert "Traceback" not in caplog.text


# Request heads


@pytest.mark.parametrize("start", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ", b"\r\n"])
@pytest.mark.parametrize("keep_alive", [False, True])
async def test_an_unfinished_head_is_not_waited_for(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, start: bytes, *, keep_alive: bool
) -> None:
    monkeypatch.setattr(HttpProtocol, "head_seconds", 0.2)
    async with tcp(gateway) as client:
        if keep_alive:
            client.writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await client.reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200 ")
        client.writer.write(start)
        assert await client.reader.read() == b""
        await gateway.gone()


async def test_a_trickling_head_is_not_waited_for(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HttpProtocol, "head_seconds", 0.2)
    async with tcp(gateway) as client:
        client.writer.write(b"GET / HTTP/1.1\r\nX-A: ")
        end = asyncio.create_task(client.reader.read())
        while not end.done():
            client.writer.write(b"a")
            await asyncio.wait([end], timeout=0.02)
        assert isinstance(end.exception(), ConnectionResetError) or end.result() == b""
        await gateway.gone()


async def test_the_head_timer_spares_what_is_complete(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HttpProtocol, "head_seconds", 0.2)
    async with raw(gateway) as client, tcp(gateway) as unfinished:
        assert await unfinished.reader.read() == b""  # whose timer started later
        client.writer.write(masked(TEXT, b"still here"))
        assert await client.frame() == (TEXT, b"still here")


@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\r\nX-A: ", b"GET /", upgrade("/echo")[:-2]])
async def test_a_head_beyond_bounds_is_refused(gateway: Gateway, head: bytes, end: bytes) -> None:
    async with tcp(gateway) as client:
        client.writer.write(head + b"a" * 70_000 + end)
        assert (await client.reader.readline()) == b"HTTP/1.1 400 Bad Request\r\n"
        await gateway.gone()
        assert not gateway.seen


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (upgrade("/echo", "X-A: " + "a" * 9000), 431),
        (upgrade("/echo", *["X-A: a"] * 200), 431),
        (upgrade("/" + "a" * 9000), 414),
        (upgrade("/echo", "Content-Length: 5"), 400),
        (upgrade("/echo", version=12), 400),
        (upgrade("/echo").replace(b"Sec-WebSocket-Key", b"X-Key"), 400),
    ],
)
async def test_a_handshake_that_cannot_be_is_answered(
    gateway: Gateway, head: bytes, status: int
) -> None:
    async with tcp(gateway) as client:
        client.writer.write(head)
        answer = await client.reader.read()
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert answer.count(b"HTTP/1.1 ") == 1
        await gateway.gone()
