"""Engine.IO spoken by hand, over either transport: one packet is one string."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

import websockets
from websockets.asyncio.client import ClientConnection

PATIENCE_SECONDS = 15.0
SEPARATOR = "\x1e"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Begun:
    """A request whose body is sent as a test likes. To leave its context is to give it up."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self) -> Answer:
        async with asyncio.timeout(PATIENCE_SECONDS):
            raw = await self._reader.read()
        head, _, content = raw.partition(b"\r\n\r\n")
        status, *fields = head.decode().split("\r\n")
        pairs = (field.partition(": ") for field in fields)
        named = {name.lower(): value for name, _, value in pairs}
        return Answer(int(status.split()[1]), named, content.decode())


@asynccontextmanager
async def begun(
    port: int,
    method: str,
    target: str,
    headers: Mapping[str, str] | None = None,
    *,
    body: bytes = b"",
    address: str = "127.0.0.1",
    trust: ssl.SSLContext | None = None,
) -> AsyncIterator[Begun]:
    """The head of an HTTP request and the beginning of its body, on a connection of its own; with
    `trust`, over TLS.
    """
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, local_addr=(address, 0), ssl=trust
    )
    try:
        lines = [
            f"{method} {target} HTTP/1.1",
            f"host: 127.0.0.1:{port}",
            "connection: close",
            *(f"{name}: {value}" for name, value in (headers or {}).items()),
        ]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        yield Begun(reader, writer)
    finally:
        writer.close()


async def request(
    port: int,
    method: str,
    target: str,
    body: str | bytes = "",
    *,
    headers: Mapping[str, str] | None = None,
    address: str = "127.0.0.1",
    trust: ssl.SSLContext | None = None,
) -> Answer:
    """One HTTP request on a connection of its own, from an address of this machine."""
    payload = body.encode() if isinstance(body, str) else body
    headers = {"content-length": str(len(payload)), **(headers or {})}
    async with begun(
        port, method, target, headers, body=payload, address=address, trust=trust
    ) as begun_:
        return await begun_.answer()


def target(transport: str, sid: str | None = None) -> str:
    return f"/socket.io/?EIO=4&transport={transport}" + (f"&sid={sid}" if sid else "")


class Raw(Protocol):
    """One Engine.IO connection. `receive` raises ConnectionError once it is closed."""

    sid: str
    handshake: dict[str, Any]
    #: What was received and passed over, to be looked at first.
    backlog: list[str]

    async def send(self, packet: str | bytes) -> None: ...

    async def receive(self) -> str: ...

    async def close(self) -> None: ...


class RawWebSocket:
    def __init__(self, socket: ClientConnection, handshake: dict[str, Any]) -> None:
        self.socket = socket
        self.handshake = handshake
        self.backlog: list[str] = []
        self.sid: str = handshake["sid"]

    async def send(self, packet: str | bytes) -> None:
        try:
            await self.socket.send(packet)
        except websockets.ConnectionClosed as error:
            raise ConnectionError(str(error)) from error

    async def receive(self) -> str:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                packet = await self.socket.recv()
        except websockets.ConnectionClosed as error:
            raise ConnectionError(str(error)) from error
        assert isinstance(packet, str)
        return packet

    async def close(self) -> None:
        await self.socket.close()


class RawPolling:
    def __init__(
        self,
        port: int,
        handshake: dict[str, Any],
        address: str,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self.port = port
        self.address = address
        self.trust = trust
        self.handshake = handshake
        self.backlog: list[str] = []
        self.sid: str = handshake["sid"]
        self._received: list[str] = []

    async def post(self, payload: str | bytes) -> Answer:
        return await self._request("POST", payload)

    async def poll(self) -> Answer:
        return await self._request("GET")

    async def send(self, packet: str | bytes) -> None:
        if isinstance(packet, bytes):
            packet = "b" + base64.b64encode(packet).decode()
        answer = await self.post(packet)
        if answer.status != 200:
            raise ConnectionError(answer.body)
        assert answer.body == "ok"

    async def receive(self) -> str:
        while not self._received:
            answer = await self.poll()
            if answer.status != 200:
                raise ConnectionError(answer.body)
            self._received = answer.body.split(SEPARATOR)
        packet = self._received.pop(0)
        if packet == "1":
            raise ConnectionError("closed by the server")
        return packet

    async def close(self) -> None:
        await self.post("1")

    async def _request(self, method: str, payload: str | bytes = "") -> Answer:
        sid = target("polling", self.sid)
        return await request(
            self.port, method, sid, payload, address=self.address, trust=self.trust
        )


async def open_websocket(port: int, **options: Any) -> RawWebSocket:
    socket = await websockets.connect(
        f"ws://127.0.0.1:{port}{target('websocket')}", compression=None, **options
    )
    packet = await socket.recv()
    assert isinstance(packet, str)
    assert packet.startswith("0")
    return RawWebSocket(socket, json.loads(packet[1:]))


async def open_polling(
    port: int, *, address: str = "127.0.0.1", trust: ssl.SSLContext | None = None
) -> RawPolling:
    answer = await request(port, "GET", target("polling"), address=address, trust=trust)
    assert answer.status == 200, answer
    assert answer.body.startswith("0")
    return RawPolling(port, json.loads(answer.body[1:]), address, trust)


@asynccontextmanager
async def probing(raw: RawPolling) -> AsyncIterator[RawWebSocket]:
    """A WebSocket that names a polling session; its probe was answered, `5` is still to come."""
    url = f"ws://127.0.0.1:{raw.port}{target('websocket', raw.sid)}"
    async with websockets.connect(url, compression=None) as socket:
        probed = RawWebSocket(socket, raw.handshake)
        await probed.send("2probe")
        assert await probed.receive() == "3probe"
        yield probed


async def is_known(raw: Raw, port: int) -> bool:
    """Whether the gateway has the session. An attempt to upgrade it harms none."""
    url = f"ws://127.0.0.1:{port}{target('websocket', raw.sid)}"
    try:
        async with websockets.connect(url):
            return True
    except websockets.InvalidStatus as refused:
        return bool(json.loads(refused.response.body or b"")["code"] != 1)


@asynccontextmanager
async def opened(transport: str, port: int, **options: Any) -> AsyncIterator[Raw]:
    """A connection without a Socket.IO handshake."""
    raw: Raw
    open_ = open_polling if transport == "polling" else open_websocket
    raw = await open_(port, **options)
    try:
        yield raw
    finally:
        with suppress(ConnectionError):
            await raw.close()


@asynccontextmanager
async def connected(
    transport: str, port: int, auth: Any = None, **options: Any
) -> AsyncIterator[Raw]:
    """One whose CONNECT packet was taken."""
    async with opened(transport, port, **options) as raw:
        await raw.send("40" + (json.dumps(auth) if auth is not None else ""))
        packet = await raw.receive()
        assert packet.startswith('40{"sid":'), packet
        yield raw


async def next_packet(raw: Raw, prefix: str) -> str:
    """The next one that begins so; the others are kept for those who look for them."""
    for index, packet in enumerate(raw.backlog):
        if packet.startswith(prefix):
            return raw.backlog.pop(index)
    while not (packet := await raw.receive()).startswith(prefix):
        raw.backlog.append(packet)
    return packet


async def event(raw: Raw, name: str) -> Any:
    """The data of the next event of this name."""
    return json.loads((await next_packet(raw, f'42["{name}"'))[2:])[1]


async def ask(raw: Raw, name: str, data: Any = None, *, ack: int = 1) -> Any:
    """An event's acknowledgement."""
    arguments = [name] if data is None else [name, data]
    await raw.send(f"42{ack}{json.dumps(arguments)}")
    packet = await next_packet(raw, f"43{ack}[")
    (answer,) = json.loads(packet[2 + len(str(ack)) :])
    return answer


async def is_closed(raw: Raw) -> bool:
    """Whether the server ends the connection; what it says before that is passed over."""
    with suppress(ConnectionError):
        while True:
            await raw.receive()
    if isinstance(raw, RawPolling):
        return (await raw.poll()).status == 400
    return True
