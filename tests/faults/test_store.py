"""The store hangs, dies, forgets, refuses, or loses its answers, under load."""

import asyncio
import json
import shutil
import time
from pathlib import Path

from tests.e2e.client import Client, dial_as, eventually
from tests.faults.conftest import VARIABLES, Field
from tests.faults.load import load
from tests.faults.record import Record
from tests.valkey import stopped


async def test_it_hangs_for_twelve_seconds(field: Field) -> None:
    """Sockets stay, requests fail in time, and nobody is said to have gone."""
    field.deployment.befriend("watcher", "alice")
    watcher = await dial_as(field.urls[0], "watcher")
    alice = await dial_as(field.urls[1], "alice")
    await watcher.status_of("alice", "online")
    async with load(field.urls) as at_work:
        await at_work.progress(200)
        before = at_work.record.transitions
        async with stopped(field.valkey):
            resume_at, asked = time.monotonic() + 12, 0
            while time.monotonic() < resume_at:
                begun = time.monotonic()
                reply = await alice.message("watcher", "lost?", messageId=f"m{asked}")
                assert reply["code"] == "unavailable"
                assert time.monotonic() - begun < float(VARIABLES["REDIS_TIMEOUT"]) + 1
                assert (await alice.request("ping")).keys() == {"timestamp"}
                asked += 1
            status, _ = await asyncio.to_thread(field.gateways[0].get, "/readyz")
            assert status == 503
        for number in range(asked):
            await accepted(alice, "watcher", f"m{number}")
        await watcher.pushed("message", asked)
        assert {m["id"] for m in watcher.seen("message")} == {f"m{n}" for n in range(asked)}
        assert len(watcher.seen("message")) == asked
        await at_work.progress(400)
        record = await at_work.finish()
        assert record.refusals["unavailable"] > 0
        assert record.refusals["connection lost"] == 0
        assert record.transitions == before
        assert record.faults() == []
    assert watcher.statuses_of("alice") == ["online"]
    for client in (alice, watcher):
        assert client.close_code is None
        await client.socket.close()


async def accepted(client: Client, recipient_id: str, message_id: str) -> None:
    """Send until it is answered, as a client in the field does."""

    async def taken() -> bool:
        reply = await client.message(recipient_id, "lost?", messageId=message_id)
        return bool(reply["status"] == "sent")

    await eventually(taken, "the store")


async def test_it_is_killed_and_has_its_log(field: Field) -> None:
    async with load(field.urls) as at_work:
        await at_work.progress(200)
        await asyncio.to_thread(field.valkey.restart)
        await at_work.progress(400)
        record = await at_work.finish()
        assert record.faults() == []


async def test_it_is_killed_and_has_no_log(field: Field) -> None:
    """All is lost, and everybody is told."""
    async with load(field.urls) as at_work:
        await at_work.progress(200)
        field.valkey.kill()
        shutil.rmtree(Path(field.valkey.directory) / "appendonlydir")
        await asyncio.to_thread(field.valkey.start)
        await at_work.progress(400)
        record = await at_work.finish()
        assert record.faults(may_lose=True) == []
        assert_all_were_told(record)


def assert_all_were_told(record: Record) -> None:
    """That the store's data are gone, the last time they heard how they stand."""
    reasons = {user_id: arrivals[-1].reason for user_id, arrivals in record.arrivals.items()}
    assert set(reasons.values()) == {"epoch"}, reasons


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
        assert_all_were_told(record)


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


async def test_its_subscribers_buffers_overflow(field: Field) -> None:
    """A nudge that is larger than what may wait for a subscriber costs the subscription."""
    bob = await dial_as(field.urls[0], "bob")
    alice = await dial_as(field.urls[1], "alice")
    async with load(field.urls) as at_work:
        with field.valkey.client() as redis:

            async def both_listen() -> bool:
                return len(redis.client_list(_type="pubsub")) == 2

            redis.config_set("client-output-buffer-limit", "pubsub 16384 0 0")
            for number in range(5):
                await at_work.progress(50)
                # What is published before would overflow nobody.
                await eventually(both_listen, "the subscriptions")
                receipt = await alice.message("bob", "x" * 60_000, messageId=f"m{number}")
                assert receipt["recipients"]["sent"] == ["bob"]
            assert redis.info("stats")["client_output_buffer_limit_disconnections"] >= 5
        await at_work.progress(100)
        record = await at_work.finish()
        assert record.faults() == []
    await bob.pushed("message", 5)
    assert [message["id"] for message in bob.seen("message")] == [f"m{n}" for n in range(5)]
    for client in (alice, bob):
        await client.socket.close()


async def test_it_may_throw_messages_away(field: Field) -> None:
    """A load balancer is told to send nobody here, and an operator why."""

    async def answer() -> tuple[int, dict[str, str]]:
        status, body = await asyncio.to_thread(field.gateways[0].get, "/readyz")
        return status, json.loads(body)

    async with load(field.urls) as at_work:
        assert await answer() == (200, {"status": "ready", "durability": "process"})
        with field.valkey.client() as redis:
            redis.config_set("appendonly", "no")
            assert await answer() == (200, {"status": "ready", "durability": "memory"})
            redis.config_set("maxmemory-policy", "allkeys-lru")
        status, body = await answer()
        assert status == 503
        assert "allkeys-lru" in body["reason"]
        # Who is there already is served all the same: it throws nothing away yet.
        await at_work.progress(100)
        assert (await at_work.finish()).faults() == []


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
