"""Request heads that do not end, in time or in bounds."""

import asyncio

import pytest

from gateways.server.http import HttpProtocol
from tests.gateways.server.client import TEXT, masked, raw, tcp, upgrade
from tests.gateways.server.conftest import Gateway


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


async def test_an_error_of_the_app_has_the_headers_of_every_response(gateway: Gateway) -> None:
    async with tcp(gateway) as client:
        client.writer.write(b"GET /fails HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await client.reader.read()
        assert answer.startswith(b"HTTP/1.1 500 ")
        assert answer.count(b"content-security-policy: default-src 'none'") == 1
        assert b"x-content-type-options: nosniff\r\n" in answer


async def test_pipelined_requests_have_them_each(gateway: Gateway) -> None:
    async with tcp(gateway) as client:
        client.writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        for _ in range(3):
            answer = await client.reader.readuntil(b"\r\n\r\nok")
            assert answer.count(b"content-security-policy: ") == 1
