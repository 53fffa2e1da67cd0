"""However a connection ends, the app hears of it once, with the true code, in bounded time."""

import struct

import pytest

from gateways.server import websocket
from tests.gateways.server.client import CLOSE, PING, TEXT, close, masked, raw, tcp, upgrade
from tests.gateways.server.conftest import MAX_MESSAGE_BYTES, Gateway, fill, serve, until


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
    monkeypatch.setattr(websocket, "LINGER_SECONDS", 0.1)
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
    monkeypatch.setattr(websocket, "LINGER_SECONDS", 0.1)
    monkeypatch.setattr(websocket, "CLOSE_SECONDS", 0.1)
    async with raw(gateway) as client:
        await fill(gateway)
        client.writer.write(last_words)
        client.writer.write_eof()
        assert (await gateway.ended()).disconnect["code"] == code
        await gateway.gone()


async def test_a_close_of_the_app_that_is_not_read_is_bounded(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "CLOSE_SECONDS", 0.1)
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


async def test_shutdown_says_so_to_both_sides(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "LINGER_SECONDS", 0.1)
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
