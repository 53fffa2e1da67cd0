"""Requests that do not end, in time or in bounds, and answers that nobody reads."""

import asyncio
from contextlib import suppress

import pytest

from gateways.server.http import BODY_SLACK_BYTES, MAX_PIPELINED, HttpProtocol
from tests.gateways.server.client import TEXT, masked, raw, tcp, upgrade
from tests.gateways.server.conftest import LARGE_BYTES, MAX_MESSAGE_BYTES, Gateway, until

POST = b"POST /reads HTTP/1.1\r\nHost: x\r\n"
HANGING = b"GET /hangs HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


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


# --- bodies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [b"", b"some of it"])
@pytest.mark.parametrize("head", [POST + b"Content-Length: 1000\r\n\r\n", CHUNKED + b"fff\r\n"])
async def test_an_unfinished_body_is_not_waited_for(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, head: bytes, start: bytes
) -> None:
    monkeypatch.setattr(HttpProtocol, "body_seconds", 0.2)
    async with tcp(gateway) as client:
        client.writer.write(head + start)
        assert await client.reader.read() == b""
        await gateway.gone()
        assert gateway.read_bytes == len(start)


async def test_a_trickling_body_is_not_waited_for(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HttpProtocol, "body_seconds", 0.3)
    async with tcp(gateway) as client:
        client.writer.write(CHUNKED)
        end = asyncio.create_task(client.reader.read())
        while not end.done():
            client.writer.write(b"1\r\nx\r\n")
            await asyncio.wait([end], timeout=0.02)
        assert isinstance(end.exception(), ConnectionResetError) or end.result() == b""
        await gateway.gone()
        assert gateway.read_bytes > 1


async def test_the_body_timer_spares_what_is_complete(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HttpProtocol, "body_seconds", 0.2)
    async with tcp(gateway) as client, tcp(gateway) as unfinished:
        for _ in range(2):
            client.writer.write(POST + b"Content-Length: 4\r\n\r\n")
            await asyncio.sleep(0.05)  # the head on its own, so that the timer begins
            client.writer.write(b"body")
            assert (await client.reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200 ")
        unfinished.writer.write(CHUNKED)
        assert await unfinished.reader.read() == b""  # whose timer started later
        client.writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_beyond_bounds_is_refused(gateway: Gateway, chunked: bool) -> None:
    async with tcp(gateway) as client:
        size = 10 * (MAX_MESSAGE_BYTES + BODY_SLACK_BYTES)
        if chunked:
            client.writer.write(
                CHUNKED + (b"1000\r\n" + b"x" * 0x1000 + b"\r\n") * (size // 0x1000)
            )
        else:
            client.writer.write(POST + b"Content-Length: %d\r\n\r\n" % size + b"x" * size)
        # The words after the number are Python's, and 3.13 has others than 3.11.
        assert (await client.reader.readline()).startswith(b"HTTP/1.1 413 ")
        await gateway.gone()
        assert gateway.read_bytes <= MAX_MESSAGE_BYTES + BODY_SLACK_BYTES


@pytest.mark.parametrize("data", [b"a:b\r\n" * 300_000, b"a:" + b"b" * 2_000_000])
async def test_trailers_beyond_bounds_are_refused(gateway: Gateway, data: bytes) -> None:
    async with tcp(gateway) as client:
        client.writer.write(CHUNKED + b"0\r\n" + data)
        with suppress(ConnectionResetError):  # what it has not read
            assert await client.reader.read() == b""
        await gateway.gone()


async def test_a_trailer_is_no_header(gateway: Gateway) -> None:
    async with tcp(gateway) as client:
        client.writer.write(CHUNKED + b"0\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n")
        assert (await client.reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200 ")
        await until(lambda: bool(gateway.headers))
        assert dict(gateway.headers) == {b"host": b"x", b"transfer-encoding": b"chunked"}


@pytest.mark.parametrize("data", [b"A: b\r\n" * 12_000, b"A: " + b"b" * 70_000])
async def test_a_head_behind_a_request_that_is_not_answered_has_the_same_bounds(
    gateway: Gateway, data: bytes
) -> None:
    """Neither is the one before it answered: its peer could have broken off anywhere."""
    async with tcp(gateway) as client:
        client.writer.write(HANGING + b"GET / HTTP/1.1\r\n")
        await until(lambda: gateway.requests == 1)
        client.writer.write(data)
        assert (await client.reader.readline()) == b"HTTP/1.1 400 Bad Request\r\n"
        await gateway.gone()


async def test_a_head_behind_a_request_that_is_not_answered_has_the_same_time(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HttpProtocol, "head_seconds", 0.3)
    async with tcp(gateway) as client:
        client.writer.write(HANGING + b"GET / HTTP/1.1\r\nA: ")
        assert await client.reader.read() == b""
        await gateway.gone()


async def test_an_upgrade_ahead_of_an_answer_is_refused(gateway: Gateway) -> None:
    async with tcp(gateway) as client:
        client.writer.write(HANGING + upgrade("/echo"))
        assert (await client.reader.read()).startswith(b"HTTP/1.1 400 ")
        await gateway.gone()
        assert not gateway.seen


# --- answers --------------------------------------------------------------------------------------

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("last", [False, True])
async def test_an_answer_that_is_not_read_is_not_kept(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, last: bool
) -> None:
    """Those that wait behind it are not begun, and nobody writes to who is gone."""
    monkeypatch.setattr(HttpProtocol, "read_seconds", 0.2)
    async with tcp(gateway) as client:
        client.writer.write(
            LARGE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") if last else LARGE * 5
        )
        await until(lambda: gateway.requests == 1)
        await gateway.gone()
        assert gateway.requests == 1
    assert "Traceback" not in caplog.text


async def test_a_slow_reader_gets_its_answer(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HttpProtocol, "read_seconds", 0.8)
    async with tcp(gateway) as client:
        client.writer.write(LARGE)
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        for _ in range(40):
            await asyncio.sleep(0.05)
            await client.reader.readexactly(LARGE_BYTES // 40)


async def test_requests_ahead_are_answered_in_order_up_to_a_bound(gateway: Gateway) -> None:
    async with tcp(gateway) as client:
        client.writer.write(GET * MAX_PIPELINED)
        for _ in range(MAX_PIPELINED):
            assert (await client.reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200 ")
    await gateway.gone()
    async with tcp(gateway) as client:
        client.writer.write(GET * 10_000)
        await until(lambda: gateway.requests > MAX_PIPELINED)  # it has come in
        await gateway.gone()
        assert gateway.requests <= 2 * MAX_PIPELINED + 1


async def test_who_goes_with_requests_ahead_leaves_no_trace(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    async with tcp(gateway) as client:
        client.writer.write(LARGE * 10)
        await until(lambda: gateway.requests == 1)
        client.reset()
    await gateway.gone()
    await until(lambda: not gateway.server.server_state.tasks)
    assert gateway.requests == 1
    assert "Traceback" not in caplog.text


async def test_who_asks_no_more_is_closed_without_a_word(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    async with tcp(gateway) as client:
        client.writer.write(GET)
        assert (await client.reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200 ")
        assert await client.reader.read() == b""
        await gateway.gone()
    assert not caplog.records
