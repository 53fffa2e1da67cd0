"""A WebSocket client of raw sockets, which may break every rule."""

import asyncio
import base64
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from websockets.frames import apply_mask  # type: ignore[attr-defined]

from tests.gateways.server.conftest import PATIENCE_SECONDS, Gateway

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


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


def masked(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes = bytes(4)
) -> bytes:
    head = bytes(((0x80 if fin else 0) | rsv << 4 | opcode,))
    size = len(payload)
    length = (
        bytes((0x80 | size,)) if size < 126
        else struct.pack("!BH", 0xFE, size) if size < 65536
        else struct.pack("!BQ", 0xFF, size)
    )  # fmt: skip
    return head + length + mask + (apply_mask(payload, mask) if any(mask) else payload)


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
