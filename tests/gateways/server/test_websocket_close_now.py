"""A slow consumer is closed at once, whatever still waits for it."""

import struct

import pytest
from uvicorn.protocols.utils import ClientDisconnected

from gateways.server import websocket
from tests.gateways.server.client import CLOSE, raw, tcp, upgrade
from tests.gateways.server.conftest import BACKLOG_FRAMES, Gateway, fill, until


async def test_close_now_drops_what_is_not_read(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "LINGER_SECONDS", 0.2)
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
