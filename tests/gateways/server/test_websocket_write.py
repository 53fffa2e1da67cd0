"""Frames that a consumer has built itself."""

import struct

import pytest
from websockets.asyncio.client import connect

from tests.gateways.server.client import CLOSE, PING, TEXT, close, masked, raw, tcp, upgrade
from tests.gateways.server.conftest import Gateway, fill, until


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 200_000])
async def test_write_text_frames_every_length(gateway: Gateway, size: int) -> None:
    async with connect(f"ws://127.0.0.1:{gateway.port}/echo", max_size=None) as client:
        connection = await gateway.connection()
        text = "é" * (size // 2) + "x" * (size % 2)
        frames = [text.encode(), b"next"]
        await gateway.call(lambda: connection.socket.write_text(frames))
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
