"""Before a connection is a WebSocket."""

import pytest

from tests.gateways.server.client import PING, masked, tcp, upgrade
from tests.gateways.server.conftest import Gateway


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


async def test_no_frames_before_the_answer(gateway: Gateway) -> None:
    async with tcp(gateway) as client:
        client.writer.write(upgrade("/waits-to-accept"))
        connection = await gateway.connection()
        client.writer.write(masked(PING))
        assert await client.reader.read() == b""
        gateway.loop.call_soon_threadsafe(connection.go_on.set)
    assert (await gateway.ended()).disconnect["code"] == 1006
