"""Peers that send more than anybody needs."""

import struct

import pytest

from gateways.server import websocket
from tests.gateways.server.client import PING, PONG, TEXT, close, masked, raw
from tests.gateways.server.conftest import BACKLOG_FRAMES, Gateway, fill, until


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
    monkeypatch.setattr(websocket, "LINGER_SECONDS", 0.3)
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
    monkeypatch.setattr(websocket, "CONTROL_FRAMES", 1 << 30)
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
        assert connection.socket.queue.qsize() <= websocket.HELD_MESSAGES
        gateway.loop.call_soon_threadsafe(connection.go_on.set)
        await gateway.ended()
        assert connection.texts == [str(n) for n in range(50_000)]
        assert connection.disconnect["code"] == 1000
