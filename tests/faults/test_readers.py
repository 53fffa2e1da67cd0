"""Clients that do not read, or whose network swallows all, under load."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import ClientConnection
from websockets.sync.client import connect as connect_in_thread

from tests.e2e.client import dial, dial_as, eventually, token
from tests.faults.conftest import VARIABLES, Field
from tests.faults.load import Load, load
from tests.faults.proxy import proxied

LARGE = "x" * 60_000
MEBIBYTE = 1 << 20
#: Far more than what a few readers may hold up, and far less than what is sent to them.
MAX_GROWTH_BYTES = 40 * MEBIBYTE


def narrow(port: int) -> dict[str, Any]:
    """How to connect so that little waits on this side, the kernel's included, for a reader that
    does not read.
    """
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    sock.connect(("127.0.0.1", port))
    return {
        "uri": f"ws://127.0.0.1:{port}/ws",
        "sock": sock,
        "compression": None,
        "max_queue": 1,
        "ping_interval": None,
        "close_timeout": 0.1,
    }


@asynccontextmanager
async def deaf(port: int, user_id: str) -> AsyncIterator[tuple[ClientConnection, dict[str, Any]]]:
    """Connected and authenticated, and reads nothing after that. Comes with its `connected`."""
    async with websockets.connect(**narrow(port)) as reader:
        await reader.send(json.dumps({"event": "authenticate", "data": {"token": token(user_id)}}))
        yield reader, json.loads(await reader.recv())["data"]


async def close_of(reader: ClientConnection) -> None:
    with suppress(websockets.ConnectionClosed):
        while True:
            async with asyncio.timeout(10):
                await reader.recv()


async def in_step(at_work: Load, since: float) -> tuple[float, float]:
    """Seconds within which half, and nearly all, of what was sent since was delivered."""
    waits = at_work.record.delivery_seconds(since, time.monotonic() - 0.2)
    assert len(waits) > 100
    return waits[len(waits) // 2], waits[len(waits) * 95 // 100]


async def comes_back(url: str, user_id: str, connected: dict[str, Any], count: int) -> None:
    """It resumes, and gets all that it did not read, in order."""
    resume = {"epoch": connected["epoch"], "seq": connected["seq"]}
    client = await dial_as(url, user_id, resume=resume)
    await client.pushed("message", count)
    assert client.seen("connected")[0]["recovered"]
    assert [m["seq"] - connected["seq"] for m in client.seen("message")] == [*range(1, count + 1)]
    await client.socket.close()


async def test_some_do_not_read(field: Field) -> None:
    """They are closed; nobody else waits for them, and their node does not grow."""
    count, users = 100, [f"slow{n}" for n in range(5)]
    alice = await dial_as(field.urls[1], "alice")
    async with load(field.urls) as at_work:
        begun = time.monotonic()
        await at_work.progress(400)
        half, nearly_all = await in_step(at_work, begun)
        readers = [deaf(field.gateways[0].port, user_id) for user_id in users]
        entered = [await reader.__aenter__() for reader in readers]
        before = field.memory_bytes(0)
        begun, largest = time.monotonic(), 0
        for _ in range(count):  # 30 MB in all
            assert (await alice.message(users, LARGE))["status"] == "sent"
            largest = max(largest, field.memory_bytes(0))
            await asyncio.sleep(0.02)
        await at_work.progress(100)
        slow_half, slow_nearly_all = await in_step(at_work, begun)
        assert largest - before < MAX_GROWTH_BYTES / 2
        assert slow_half < 2 * half + 0.02
        assert slow_nearly_all < 2 * nearly_all + 0.1
        for (reader, connected), user_id in zip(entered, users, strict=True):
            # What its socket held comes first, then 4508, or a connection that was cut.
            await close_of(reader)
            assert reader.close_code in (4508, 1006)
            await comes_back(field.urls[1], user_id, connected, count)
        for reader_context in readers:
            await reader_context.__aexit__(None, None, None)
        assert (await at_work.finish()).faults() == []
    await alice.socket.close()


def ask_without_reading(port: int) -> None:
    """Until the gateway has enough of it. In a thread, so that the load's own clients go on."""
    with connect_in_thread(**narrow(port)) as reader:
        reader.send(json.dumps({"event": "authenticate", "data": {"token": token("flood")}}))
        assert json.loads(reader.recv())["event"] == "connected"
        # Each comes back to itself, and an answer with it.
        data = {"recipientIds": ["flood"], "message": LARGE}
        request = json.dumps({"event": "send_message", "id": 1, "data": data})
        with suppress(websockets.ConnectionClosed):
            while True:
                reader.send(request)


async def test_one_asks_and_asks_and_never_reads(field: Field) -> None:
    async with load(field.urls) as at_work:
        await at_work.progress(100)
        before, largest = field.memory_bytes(0), 0
        flood = asyncio.create_task(asyncio.to_thread(ask_without_reading, field.gateways[0].port))
        while not flood.done():
            largest = max(largest, field.memory_bytes(0))
            await asyncio.sleep(0.01)
        await flood
        assert largest - before < MAX_GROWTH_BYTES
        await at_work.progress(200)
        assert (await at_work.finish()).faults() == []


@pytest.mark.parametrize(
    "variables", [{"MAX_OUTBOUND_BYTES": str(64 * MEBIBYTE)}], ids=["and its node stops"]
)
async def test_one_does_not_read(field: Field) -> None:
    """The node says goodbye, waits a moment, and ends all the same."""
    count = 200
    alice = await dial_as(field.urls[1], "alice")
    async with load(field.urls) as at_work:
        async with deaf(field.gateways[0].port, "slow") as (_, connected):
            for _ in range(count):  # 12 MB: no socket of the kernel's takes that
                await alice.message("slow", LARGE)
            begun = time.monotonic()
            await asyncio.to_thread(field.gateways[0].stop)
            assert time.monotonic() - begun < 12
        await at_work.progress(200)
        await comes_back(field.urls[1], "slow", connected, count)
        assert (await at_work.finish()).faults() == []
    await alice.socket.close()


@pytest.mark.parametrize(
    "variables",
    [{"WS_PING_INTERVAL": "1000", "WS_PING_TIMEOUT": "2000"}],
    ids=["until it is taken for dead"],
)
async def test_one_falls_into_a_black_hole(field: Field) -> None:
    """Its friends hear that it went, once; it comes back to all that was sent to it."""
    field.deployment.befriend("watcher", "alice")
    watcher = await dial_as(field.urls[1], "watcher")
    async with proxied(field.gateways[0].port) as network, load(field.urls) as at_work:
        alice = await dial(f"ws://127.0.0.1:{network.port}/ws", ping_interval=None)
        connected = await alice.authenticate("alice")
        await watcher.status_of("alice", "online")
        network.stall()
        begun = time.monotonic()
        sent = 0

        async def is_queued() -> bool:
            nonlocal sent
            sent += 1
            receipt = await watcher.message("alice", f"{sent}")
            assert receipt["status"] == "sent"
            await asyncio.sleep(0.1)
            return bool(receipt["recipients"]["queued"] == ["alice"])

        await eventually(is_queued, "the node to notice")
        await watcher.status_of("alice", "offline")
        assert time.monotonic() - begun < 3 + float(VARIABLES["OFFLINE_GRACE"]) + 3
        alice.drop()
        await comes_back(field.urls[1], "alice", connected, sent)
        assert watcher.statuses_of("alice")[:2] == ["online", "offline"]
        await at_work.progress(100)
        assert (await at_work.finish()).faults() == []
    await watcher.socket.close()
