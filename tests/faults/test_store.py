"""The store hangs, dies, forgets, refuses, or loses its answers, under load."""

import asyncio
import json
import os
import shutil
import signal
import time
from pathlib import Path

from tests.e2e.client import dial_as, eventually
from tests.e2e.gateways import restart
from tests.faults.conftest import VARIABLES, Field
from tests.faults.load import load


async def test_it_hangs(field: Field) -> None:
    async with load(field.urls) as at_work:
        await at_work.progress(200)
        os.kill(field.valkey.process.pid, signal.SIGSTOP)
        await asyncio.sleep(6)
        os.kill(field.valkey.process.pid, signal.SIGCONT)
        await at_work.progress(400)
        record = await at_work.finish()
        assert record.refusals["unavailable"] > 0
        assert record.faults() == []


async def test_the_store_hangs_for_twelve_seconds(field: Field) -> None:
    """Sockets stay, requests fail in time, and nobody is said to have gone."""
    field.deployment.befriend("watcher", "alice")
    watcher = await dial_as(field.urls[0], "watcher")
    alice = await dial_as(field.urls[1], "alice")
    await watcher.status_of("alice", "online")
    os.kill(field.valkey.process.pid, signal.SIGSTOP)
    try:
        resume_at = time.monotonic() + 12
        answers = 0
        while time.monotonic() < resume_at:
            begun = time.monotonic()
            reply = await alice.message("watcher", "lost?", messageId=f"m{answers}")
            assert reply["code"] == "unavailable"
            assert time.monotonic() - begun < 2 * float(VARIABLES["REDIS_TIMEOUT"])
            assert (await alice.request("ping")).keys() == {"timestamp"}
            answers += 1
        status, _ = await asyncio.to_thread(field.gateways[0].get, "/readyz")
        assert status == 503
    finally:
        os.kill(field.valkey.process.pid, signal.SIGCONT)
    for number in range(answers):

        async def taken(number: int = number) -> bool:
            reply = await alice.message("watcher", "lost?", messageId=f"m{number}")
            return bool(reply["status"] == "sent")

        await eventually(taken, "the store")
    await watcher.pushed("message", answers)
    assert sorted(m["id"] for m in watcher.seen("message")) == sorted(
        f"m{number}" for number in range(answers)
    )
    assert watcher.statuses_of("alice") == ["online"]
    for client in (alice, watcher):
        assert client.close_code is None
        await client.socket.close()


async def test_it_is_killed_and_has_its_log(field: Field) -> None:
    async with load(field.urls) as at_work:
        await at_work.progress(200)
        await asyncio.to_thread(restart, field.valkey)
        await at_work.progress(400)
        record = await at_work.finish()
        assert record.faults() == []


async def test_it_is_killed_and_has_no_log(field: Field) -> None:
    """All is lost, and everybody is told."""
    async with load(field.urls) as at_work:
        await at_work.progress(200)
        field.valkey.process.kill()
        field.valkey.process.wait()
        shutil.rmtree(Path(field.valkey.directory) / "appendonlydir")
        await asyncio.to_thread(restart, field.valkey)
        await at_work.progress(400)
        record = await at_work.finish()
        assert record.faults(may_lose=True) == []
        for member in at_work.recipients:
            arrivals = record.arrivals[member.user_id]
            assert arrivals[-1].reason == "epoch", arrivals


async def test_its_scripts_are_forgotten(field: Field) -> None:
    async with load(field.urls) as at_work:
        await at_work.progress(200)
        with field.valkey.client() as redis:
            redis.script_flush()
        await at_work.progress(200)
        record = await at_work.finish()
        assert record.refusals == {}
        assert record.faults() == []


async def test_its_data_are_lost(field: Field) -> None:
    async with load(field.urls) as at_work:
        await at_work.progress(200)
        with field.valkey.client() as redis:
            redis.flushall()
        await at_work.progress(400)
        record = await at_work.finish()
        assert record.faults(may_lose=True) == []
        for member in at_work.recipients:
            arrivals = record.arrivals[member.user_id]
            assert arrivals[-1].reason == "epoch", arrivals


async def test_replies_to_writes_are_lost(field: Field) -> None:
    async with load(field.urls) as at_work:
        for _ in range(5):
            await at_work.progress(50)
            for proxy in field.proxies:
                proxy.lose_replies(1, to=b"EVALSHA")
        await at_work.progress(200)
        record = await at_work.finish()
        assert sum(proxy.lost for proxy in field.proxies) >= 5
        assert record.faults() == []


async def test_all_its_connections_are_reset(field: Field) -> None:
    async with load(field.urls) as at_work:
        for _ in range(5):
            await at_work.progress(50)
            for proxy in field.proxies:
                proxy.cut()
        await at_work.progress(200)
        record = await at_work.finish()
        assert record.faults() == []


async def test_one_gateway_is_cut_off(field: Field) -> None:
    """A black hole, past the gateway's lease."""
    async with load(field.urls) as at_work:
        await at_work.progress(200)
        field.proxies[0].stall()
        await asyncio.sleep(6)
        field.proxies[0].flow()
        await at_work.progress(400)
        record = await at_work.finish()
        assert record.faults() == []


async def test_its_subscribers_are_killed(field: Field) -> None:
    async with load(field.urls) as at_work:
        for _ in range(3):
            await at_work.progress(100)
            with field.valkey.client() as redis:
                redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await at_work.progress(200)
        record = await at_work.finish()
        assert record.faults() == []


async def test_it_may_throw_messages_away(field: Field) -> None:
    """A load balancer is told to send nobody here, and an operator why."""

    async def answer() -> tuple[int, dict[str, str]]:
        status, body = await asyncio.to_thread(field.gateways[0].get, "/readyz")
        return status, json.loads(body)

    assert await answer() == (200, {"status": "ready", "durability": "process"})
    with field.valkey.client() as redis:
        redis.config_set("appendonly", "no")
        assert await answer() == (200, {"status": "ready", "durability": "memory"})
        redis.config_set("maxmemory-policy", "allkeys-lru")
    status, body = await answer()
    assert status == 503
    assert "allkeys-lru" in body["reason"]


async def test_it_is_full(field: Field) -> None:
    """Writes are refused as unavailable, and nothing breaks."""
    async with load(field.urls) as at_work:
        await at_work.progress(200)
        with field.valkey.client() as redis:
            redis.config_set("maxmemory-policy", "noeviction")
            redis.config_set("maxmemory", 1)
            await asyncio.sleep(3)
            redis.config_set("maxmemory", 0)
        await at_work.progress(400)
        record = await at_work.finish()
        assert record.refusals["unavailable"] > 0
        assert record.faults() == []
