"""Strangers, who do what nobody should, each from one of a few addresses of this machine."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

from tests.e2e.client import token
from tests.gateways.server.client import BINARY, CLOSE, PING, TEXT, masked, upgrade
from tests.soak.record import Record
from tests.socketio.raw import target

ADDRESSES: Final = [f"127.0.1.{number}" for number in range(1, 11)]
#: What a stranger waits for the gateway to have enough: a request's body has the longest time.
PATIENCE_SECONDS: Final = 45.0

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def _connection(port: int, address: str) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def _say(port: int, address: str, *words: bytes, path: str = "/ws") -> None:
    """Open a WebSocket, say this, and read until the gateway has enough of it."""
    async with _connection(port, address) as (reader, writer):
        for word in (upgrade(path), *words):
            writer.write(word)
            await writer.drain()
        await _read_all(reader)


async def _read_all(reader: asyncio.StreamReader) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await reader.read(65536):
            pass


def _request(event: str, data: object = None) -> bytes:
    return masked(TEXT, json.dumps({"event": event, "id": 1, "data": data}).encode())


async def wrong_tokens(port: int, address: str) -> None:
    wrong = random.choice(
        ["", "x", "a.b.c", token("player-0", lifetime_seconds=-60), token("player-0")[:-4] + "AAAA"]
    )
    await _say(port, address, _request("authenticate", {"token": wrong}))


async def wrong_token_in_the_handshake(port: int, address: str) -> None:
    async with _connection(port, address) as (reader, writer):
        writer.write(upgrade("/ws", "Authorization: Bearer none"))
        await _read_all(reader)


async def oversized_frame(port: int, address: str) -> None:
    await _say(port, address, b"\x81\xff" + (1 << 40).to_bytes(8) + bytes(4))


async def oversized_message(port: int, address: str) -> None:
    """The largest there may be, in a hundred fragments, and no end."""
    part = bytes(65536)
    await _say(port, address, masked(BINARY, part, fin=False), *[masked(0, part, fin=False)] * 100)


async def malformed_frames(port: int, address: str) -> None:
    await _say(
        port, address, random.choice([b"\xff" * 6, b"\x81\x05hello", b"\x83\x80" + bytes(4)])
    )


async def invalid_text(port: int, address: str) -> None:
    await _say(port, address, masked(TEXT, b"\xff\xfe"))


async def no_requests(port: int, address: str) -> None:
    nonsense = random.choice([b"{", b"[]", b'{"event":1}', b"null", b"[" * 5000])
    await _say(port, address, *[masked(TEXT, nonsense)] * 12)


async def too_many_frames(port: int, address: str) -> None:
    await _say(port, address, masked(TEXT, b'{"event":"ping","id":1}') * 900)


async def too_many_pings(port: int, address: str) -> None:
    await _say(port, address, masked(PING, b"x" * 100) * 1500)


async def nothing_after_the_handshake(port: int, address: str) -> None:
    await _say(port, address)


async def half_a_handshake(port: int, address: str) -> None:
    async with _connection(port, address) as (reader, writer):
        writer.write(upgrade("/ws")[:-2])
        await _read_all(reader)


async def half_a_body(port: int, address: str) -> None:
    async with _connection(port, address) as (reader, writer):
        writer.write(b"POST /healthz HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nhalf")
        await _read_all(reader)


async def a_body_without_an_end(port: int, address: str) -> None:
    chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
    async with _connection(port, address) as (reader, writer):
        head = b"POST /healthz HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
        for word in (head, *[chunk] * 50):
            writer.write(word)
            await writer.drain()
        await _read_all(reader)


async def nothing_at_all(port: int, address: str) -> None:
    async with _connection(port, address) as (reader, _):
        await _read_all(reader)


async def a_head_too_large(port: int, address: str) -> None:
    async with _connection(port, address) as (reader, writer):
        writer.write(upgrade("/ws", f"X-Much: {'x' * 100_000}"))
        await _read_all(reader)


async def no_http(port: int, address: str) -> None:
    async with _connection(port, address) as (reader, writer):
        writer.write(random.randbytes(400) + b"\r\n\r\n")
        await _read_all(reader)


async def no_such_page(port: int, address: str) -> None:
    async with _connection(port, address) as (reader, writer):
        path = f"/{random.getrandbits(64):x}"
        writer.write(
            f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode()
        )
        await _read_all(reader)


async def a_poll_and_no_more(port: int, address: str) -> None:
    async with _connection(port, address) as (reader, writer):
        head = f"GET {target('polling')} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        writer.write(head.encode())
        await _read_all(reader)


async def no_socketio(port: int, address: str) -> None:
    packet = random.choice([b"40{", b"9", b"", b"4", b"451-[]", b"5", b'40{"token":1}'])
    await _say(port, address, masked(TEXT, packet), path=target("websocket"))


async def goes_at_once(port: int, address: str) -> None:
    async with _connection(port, address) as (_, writer):
        writer.write(upgrade("/ws"))
        await writer.drain()


async def closes_oddly(port: int, address: str) -> None:
    await _say(
        port, address, masked(CLOSE, random.choice([b"", b"\x03", b"\x03\xed", b"\x0b\xb8"]))
    )


WAYS: Final[tuple[Callable[[int, str], Awaitable[None]], ...]] = (
    wrong_tokens,
    wrong_token_in_the_handshake,
    oversized_frame,
    oversized_message,
    malformed_frames,
    invalid_text,
    no_requests,
    too_many_frames,
    too_many_pings,
    nothing_after_the_handshake,
    half_a_handshake,
    half_a_body,
    a_body_without_an_end,
    nothing_at_all,
    a_head_too_large,
    no_http,
    no_such_page,
    a_poll_and_no_more,
    no_socketio,
    goes_at_once,
    closes_oddly,
)
#: Some of them wait for the gateway to lose its patience, and others meanwhile do the same.
AT_ONCE: Final = 80


async def trouble(record: Record, port: int, going: Callable[[], bool]) -> None:
    """Whatever becomes of it; that it becomes something, and in time, is looked at."""
    while going():
        way = random.choice(WAYS)
        try:
            await way(port, random.choice(ADDRESSES))
        except TimeoutError:
            record.fault(f"{way.__name__} is still open after {PATIENCE_SECONDS} s")
        except OSError:
            pass  # a reset is an answer too
        record.counts["strangers"] += 1
        await asyncio.sleep(random.uniform(0, 1))


async def read_slowly(record: Record, port: int, user_id: str, going: Callable[[], bool]) -> None:
    """Come in, read nothing, and be sent away for it; again and again."""
    while going():
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        try:
            writer.write(upgrade("/ws"))
            await reader.readuntil(b"\r\n\r\n")
            writer.write(_request("authenticate", {"token": token(user_id)}))
            with suppress(OSError):
                await asyncio.sleep(random.uniform(5, 15))
            record.counts["slow readers"] += 1
        finally:
            writer.transport.abort()
