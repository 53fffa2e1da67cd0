"""Before a connection is a WebSocket."""

import asyncio
import socket

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from gateways.server import websocket
from gateways.server.websocket import WebSocketProtocol
from tests.gateways.server.client import PING, masked, tcp, upgrade
from tests.gateways.server.conftest import LARGE_BYTES, Gateway


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


@pytest.mark.parametrize(
    "head",
    [upgrade("/" + "a" * 9000), upgrade("/echo").replace(b"Sec-WebSocket-Key", b"X-Key")],
    ids=["by its parser", "by its handshake"],
)
async def test_who_is_refused_and_does_not_read_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    monkeypatch.setattr(websocket, "LINGER_SECONDS", 0.2)
    config = Config(lambda: None, ws=WebSocketProtocol, log_config=None)
    config.load()
    state, lost = ServerState(), asyncio.Event()

    class Protocol(WebSocketProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.transport.write(bytes(LARGE_BYTES))  # answers to what it asked before
            self.data_received(head)

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            lost.set()

    server = await asyncio.get_running_loop().create_server(
        lambda: Protocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    async with server:
        with socket.create_connection(server.sockets[0].getsockname()):
            async with asyncio.timeout(5):
                await lost.wait()
    assert not state.connections


async def test_no_frames_before_the_answer(gateway: Gateway) -> None:
    async with tcp(gateway) as client:
        client.writer.write(upgrade("/waits-to-accept"))
        connection = await gateway.connection()
        client.writer.write(masked(PING))
        assert await client.reader.read() == b""
        gateway.loop.call_soon_threadsafe(connection.go_on.set)
    assert (await gateway.ended()).disconnect["code"] == 1006
