"""The batcher: one pipeline a turn, every call answered in time, nothing carried out twice."""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha1
from typing import Any

import pytest
from redis.asyncio import Redis

from gateways.store import batcher as batching, scripts
from gateways.store.batcher import Batcher
from gateways.store.connection import connect
from gateways.store.errors import StoreUnavailable
from gateways.store.keys import Keys
from gateways.store.link import Refusal
from gateways.store.place import Place
from gateways.store.resp import pack_arguments
from tests.gateways.consumers.client import until
from tests.valkey import Valkey, stopped

SHORT_SECONDS = 0.4


class CountingBatcher(Batcher):
    """Keeps the size of each pipeline that it sends."""

    def __init__(self, redis: "Redis", *, timeout_seconds: float) -> None:
        super().__init__(redis, timeout_seconds=timeout_seconds)
        self.pipelines: list[int] = []

    def _send(self, lane: Any, batch: Any, repeated_by: float | None = None) -> None:
        self.pipelines.append(sum(pending.count for pending in batch))
        super()._send(lane, batch, repeated_by)

    @property
    def under_way(self) -> int:
        return sum(bool(lane.batch) for lane in self._lanes)


@asynccontextmanager
async def on(
    valkey: Valkey, timeout_seconds: float = SHORT_SECONDS
) -> AsyncIterator[CountingBatcher]:
    redis = connect(Place.of(valkey.url), timeout_seconds=timeout_seconds)
    batcher = CountingBatcher(redis, timeout_seconds=timeout_seconds)
    try:
        yield batcher
    finally:
        await batcher.close()


async def answers(batcher: Batcher) -> bool:
    try:
        await batcher.call("PING")
    except StoreUnavailable:
        return False
    return True


async def test_keys_packed_beforehand_are_the_same_command(batcher: Batcher) -> None:
    echo = scripts.Script("echo", b"return {#KEYS, KEYS[1], KEYS[3], ARGV[1], ARGV[2]}", "")
    echo = dataclasses.replace(echo, sha=sha1(echo.text).hexdigest())
    packed = [pack_arguments("one", "two"), pack_arguments("\u00fc")]
    as_packed = await batcher.run_packed(echo, 3, packed, b"\0\r\n", 7)
    assert as_packed == await batcher.run(echo, ["one", "two", "\u00fc"], b"\0\r\n", 7)
    assert as_packed == [3, b"one", "\u00fc".encode(), b"\0\r\n", b"7"]


async def test_calls_of_one_turn_leave_as_one_pipeline(valkey: Valkey, keys: Keys) -> None:
    async with on(valkey) as batcher:
        key = f"{keys.prefix}list"
        await asyncio.gather(*[batcher.call("RPUSH", key, number) for number in range(100)])
        assert batcher.pipelines == [100]


async def test_a_batch_is_bounded(valkey: Valkey, keys: Keys) -> None:
    async with on(valkey, 5.0) as batcher:
        key = f"{keys.prefix}list"
        await batcher.call_all([("RPUSH", key, number) for number in range(2000)])
        assert sum(batcher.pipelines) == 2000
        assert max(batcher.pipelines) <= batching.MAX_BATCH


async def test_the_order_of_calls_is_kept_within_a_batch(valkey: Valkey, keys: Keys) -> None:
    async with on(valkey) as batcher:
        key = f"{keys.prefix}list"
        lengths = await batcher.call_all([("RPUSH", key, number) for number in range(500)])
        assert lengths == list(range(1, 501))
        assert await batcher.call("LRANGE", key, 0, -1) == [b"%d" % n for n in range(500)]


async def test_at_most_two_pipelines_are_under_way_and_the_rest_gathers(
    valkey: Valkey, keys: Keys
) -> None:
    async with on(valkey) as batcher:
        calls = []
        for number in range(50):
            calls.append(asyncio.ensure_future(batcher.call("INCR", f"{keys.prefix}n{number}")))
            await asyncio.sleep(0)  # a turn of its own for each
            assert batcher.under_way <= batching.MAX_IN_FLIGHT
        await asyncio.gather(*calls)
        assert len(batcher.pipelines) < 50


async def test_each_caller_gets_its_own_result(valkey: Valkey, keys: Keys) -> None:
    async with on(valkey) as batcher:
        await batcher.call_all([("SET", f"{keys.prefix}{n}", n) for n in range(50)])
        values = await asyncio.gather(
            *[batcher.call("GET", f"{keys.prefix}{n}") for n in range(50)]
        )
        assert values == [b"%d" % n for n in range(50)]


async def test_one_bad_command_fails_alone(valkey: Valkey, keys: Keys) -> None:
    async with on(valkey) as batcher:
        key = f"{keys.prefix}key"
        outcomes: tuple[Any, ...] = await asyncio.gather(
            batcher.call("SET", key, "text"),
            batcher.call("LPUSH", key, 1),
            batcher.call("NOSUCHCOMMAND"),
            batcher.call("GET", key),
            return_exceptions=True,
        )
        first, wrong_type, no_command, last = outcomes
        assert first
        assert isinstance(wrong_type, Refusal)
        assert isinstance(no_command, Refusal)
        assert last == b"text"
        assert batcher.pipelines == [4]


async def test_calls_made_together_share_a_refusal_and_no_other_does(
    valkey: Valkey, keys: Keys
) -> None:
    async with on(valkey) as batcher:
        key = f"{keys.prefix}key"
        outcomes: tuple[Any, ...] = await asyncio.gather(
            batcher.call("SET", key, "text"),
            batcher.call_all([("GET", key), ("LPUSH", key, 1), ("APPEND", key, "!")]),
            batcher.call_all([("GET", key), ("STRLEN", key)]),
            return_exceptions=True,
        )
        assert outcomes[0] == b"OK"
        assert isinstance(outcomes[1], Refusal)
        assert outcomes[1].kind == "WRONGTYPE"
        assert outcomes[2] == [b"text!", 5]


async def test_a_defect_leaves_nobody_waiting(valkey: Valkey, keys: Keys) -> None:
    async with on(valkey) as batcher:
        with pytest.raises(UnicodeEncodeError):
            await batcher.call("SET", f"{keys.prefix}key", "\ud800")
        assert await batcher.call("GET", f"{keys.prefix}key") is None


async def test_scripts_that_the_server_forgot_are_loaded_and_run_once(
    own_valkey: Valkey, keys: Keys
) -> None:
    async with on(own_valkey) as batcher:
        for _ in range(2):
            await batcher.call("SCRIPT", "FLUSH")
            await batcher.call("DEL", keys.leases)
            renewed, plain, dropped = await asyncio.gather(
                batcher.run(
                    scripts.RENEW_LEASE,
                    (keys.leases, keys.claims, keys.life, keys.terms),
                    "node",
                    1000,
                    "life",
                ),
                batcher.call("INCR", f"{keys.prefix}n"),
                batcher.run(scripts.DROP_LEASE, (keys.leases, keys.claims), "node", 1000),
            )
            assert renewed[2] == b"life"
            assert dropped == b"OK"
        assert plain == 2  # what stood in the batch beside them ran once each


async def test_every_script_is_known_to_the_server_by_its_name(
    own_valkey: Valkey,
) -> None:
    async with on(own_valkey) as batcher:
        for script in scripts.ALL:
            assert (await batcher.call("SCRIPT", "LOAD", script.text)).decode() == script.sha


async def test_every_lua_file_is_loaded() -> None:
    files = {path.stem for path in scripts._FOLDER.glob("*.lua")}
    assert {script.name for script in scripts.ALL} == files


async def test_a_stopped_server_is_unavailable_within_the_time_out_and_serves_again_after(
    own_valkey: Valkey, keys: Keys
) -> None:
    async with on(own_valkey) as batcher:
        await batcher.call("SET", f"{keys.prefix}a", "a")
        async with stopped(own_valkey):
            begun = time.monotonic()
            outcomes = await asyncio.gather(
                *[batcher.call("INCR", f"{keys.prefix}n") for _ in range(10)],
                return_exceptions=True,
            )
            assert time.monotonic() - begun < 3 * SHORT_SECONDS
            assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
        await until(lambda: answers(batcher))
        # No reply of before is taken for one of now.
        assert await batcher.call("GET", f"{keys.prefix}a") == b"a"
        # Unknown means: carried out once, or not at all.
        assert int(await batcher.call("GET", f"{keys.prefix}n") or 0) <= 10


async def test_calls_that_wait_behind_a_stuck_pipeline_wait_no_longer_than_it(
    own_valkey: Valkey,
) -> None:
    async with on(own_valkey) as batcher, stopped(own_valkey):
        begun = time.monotonic()
        calls = []
        for _ in range(20):
            calls.append(asyncio.ensure_future(batcher.call("PING")))
            await asyncio.sleep(0.01)
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
        assert time.monotonic() - begun < 4 * SHORT_SECONDS


async def test_nothing_is_carried_out_twice_whatever_the_server_does(
    own_valkey: Valkey, keys: Keys
) -> None:
    counter = f"{keys.prefix}n"
    async with on(own_valkey) as batcher:
        taken = made = 0
        for _ in range(3):
            for stop in (False, True):
                calls = [asyncio.ensure_future(batcher.call("INCR", counter)) for _ in range(20)]
                made += len(calls)
                if stop:
                    async with stopped(own_valkey):
                        outcomes = await asyncio.gather(*calls, return_exceptions=True)
                else:
                    outcomes = await asyncio.gather(*calls, return_exceptions=True)
                taken += sum(not isinstance(outcome, BaseException) for outcome in outcomes)
            await until(lambda: answers(batcher))
        assert taken <= int(await batcher.call("GET", counter)) <= made


async def test_a_killed_server_is_unavailable_and_serves_again_once_restarted(
    own_valkey: Valkey, keys: Keys
) -> None:
    async with on(own_valkey) as batcher:
        await batcher.run(scripts.DROP_LEASE, (keys.leases, keys.claims), "node", 1)
        own_valkey.kill()
        begun = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await batcher.call("INCR", f"{keys.prefix}n")
        assert time.monotonic() - begun < 3 * SHORT_SECONDS
        own_valkey.start()
        await until(lambda: answers(batcher))
        assert await batcher.call("INCR", f"{keys.prefix}n") == 1
        await batcher.run(scripts.DROP_LEASE, (keys.leases, keys.claims), "node", 1)


async def test_a_cancelled_caller_harms_nobody(valkey: Valkey, keys: Keys) -> None:
    async with on(valkey) as batcher:
        for turns in range(6):
            cancelled = asyncio.ensure_future(batcher.call("INCR", f"{keys.prefix}c"))
            others = [
                asyncio.ensure_future(batcher.call("SET", f"{keys.prefix}{n}", n)) for n in range(5)
            ]
            for _ in range(turns):
                await asyncio.sleep(0)
            cancelled.cancel()
            assert await asyncio.gather(*others) == [b"OK"] * 5
        assert await batcher.call("GET", f"{keys.prefix}3") == b"3"


async def test_a_server_that_became_a_replica_is_left(own_valkey: Valkey, keys: Keys) -> None:
    """The next connection asks anew who is the primary."""
    async with on(own_valkey) as batcher:
        await batcher.call("SET", f"{keys.prefix}a", "a")
        with own_valkey.client() as server:
            server.execute_command("REPLICAOF", "127.0.0.1", "1")
            with pytest.raises(StoreUnavailable, match="READONLY"):
                await batcher.call("SET", f"{keys.prefix}a", "b")
            assert not any(lane.alive for lane in batcher._lanes)
            server.execute_command("REPLICAOF", "NO", "ONE")
        assert await batcher.call("GET", f"{keys.prefix}a") == b"a"


async def test_a_replica_that_knows_no_scripts_lets_nobody_wait(
    own_valkey: Valkey, keys: Keys
) -> None:
    async with on(own_valkey) as batcher:
        with own_valkey.client() as server:
            server.execute_command("REPLICAOF", "127.0.0.1", "1")
            async with asyncio.timeout(10 * SHORT_SECONDS):
                outcomes = await asyncio.gather(
                    batcher.call("SET", f"{keys.prefix}a", "b"),
                    batcher.run(scripts.NODES_OF, (keys.sessions("bob"),)),
                    return_exceptions=True,
                )
            assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 2
            server.execute_command("REPLICAOF", "NO", "ONE")
        assert await batcher.run(scripts.NODES_OF, (keys.sessions("bob"),)) is not None


async def test_what_the_kernel_holds_when_its_caller_gives_up_is_never_carried_out(
    own_valkey: Valkey, keys: Keys
) -> None:
    """As where a network is cut, and healed long after."""
    async with on(own_valkey) as batcher:
        await batcher.call("PING")
        async with stopped(own_valkey):
            # More than a server takes that does not read, less than its client's kernel does.
            with pytest.raises(StoreUnavailable):
                await batcher.call("SET", f"{keys.prefix}a", "a" * 300_000)
        with own_valkey.client() as client:

            def they_are_gone() -> bool:
                return len(client.client_list()) == 1

            await until(they_are_gone)
            assert client.get(f"{keys.prefix}a") is None


async def test_a_server_without_memory_is_unavailable(own_valkey: Valkey, keys: Keys) -> None:
    async with on(own_valkey) as batcher:
        await batcher.call("SET", f"{keys.prefix}a", "a")
        await batcher.call("CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", 1)
        with pytest.raises(StoreUnavailable, match="OOM"):
            await batcher.call("SET", f"{keys.prefix}b", "b")
        with pytest.raises(StoreUnavailable, match="OOM"):
            await batcher.run(
                scripts.RENEW_LEASE,
                (keys.leases, keys.claims, keys.life, keys.terms),
                "node",
                1000,
                "life",
            )
        assert await batcher.call("GET", f"{keys.prefix}a") == b"a"
        await batcher.call("CONFIG", "SET", "maxmemory", 0)
        assert await batcher.call("SET", f"{keys.prefix}b", "b")


async def test_a_replica_that_takes_no_writes_is_unavailable(
    own_valkey: Valkey, keys: Keys
) -> None:
    async with on(own_valkey) as batcher:
        await batcher.call("REPLICAOF", "127.0.0.1", 1)
        with pytest.raises(StoreUnavailable, match="READONLY"):
            await batcher.call("SET", f"{keys.prefix}b", "b")


async def test_too_many_waiting_calls_are_refused_at_once(
    own_valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "MAX_WAITING", 10)
    async with on(own_valkey) as batcher, stopped(own_valkey):
        outcomes = await asyncio.gather(
            *[batcher.call("PING") for _ in range(12)], return_exceptions=True
        )
    refused = [str(outcome) for outcome in outcomes if "Too many" in str(outcome)]
    assert len(refused) == 2


async def test_what_waits_at_the_close_is_told_so(valkey: Valkey) -> None:
    batcher = Batcher(connect(Place.of(valkey.url), timeout_seconds=1), timeout_seconds=1)
    call = asyncio.ensure_future(batcher.call("PING"))
    await asyncio.sleep(0)
    await batcher.close()
    with pytest.raises(StoreUnavailable, match="shutting down"):
        await call


async def test_a_unix_socket_is_connected_to_without_keepalive() -> None:
    redis = connect(Place.of("unix:///nowhere.sock"), timeout_seconds=1)
    batcher = Batcher(redis, timeout_seconds=1)
    with pytest.raises(StoreUnavailable):
        await batcher.call("PING")
    await batcher.close()


class Gone:
    """What uvloop does to redis-py where the server dies while it says hello."""

    async def connect(self) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport>; the handler is closed")

    async def disconnect(self, *, nowait: bool) -> None: ...


async def test_a_server_that_dies_while_it_is_connected_to_is_unavailable(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with on(valkey) as batcher:
        monkeypatch.setattr(batcher._redis.connection_pool, "make_connection", Gone)
        with pytest.raises(StoreUnavailable, match="the handler is closed"):
            await batcher.call("PING")
        monkeypatch.undo()
        await until(lambda: answers(batcher))


async def test_a_server_that_takes_no_scripts_refuses_once(own_valkey: Valkey, keys: Keys) -> None:
    async with on(own_valkey) as batcher:
        await batcher.call("ACL", "SETUSER", "default", "-script|load")
        begun = time.monotonic()
        with pytest.raises(Refusal, match="NOSCRIPT"):
            await batcher.run(scripts.DROP_LEASE, (keys.leases, keys.claims), "node", 1)
        assert time.monotonic() - begun < SHORT_SECONDS
        assert await answers(batcher)
        async with own_valkey_stats(own_valkey) as calls:
            assert calls["evalsha"] == 1


@asynccontextmanager
async def own_valkey_stats(valkey: Valkey) -> AsyncIterator[dict[str, int]]:
    """How often each command was called."""
    with valkey.client() as client:
        stats = client.info("commandstats")
        yield {name.removeprefix("cmdstat_"): int(of["calls"]) for name, of in stats.items()}


async def test_while_one_connection_serves_a_second_that_cannot_be_had_harms_nobody(
    own_valkey: Valkey, keys: Keys
) -> None:
    async with on(own_valkey, 5.0) as batcher:
        await batcher.call("CONFIG", "SET", "maxclients", 1)
        second = batcher._lanes[1].link
        assert second is not None
        second.close("for this test")
        counts = await asyncio.gather(
            *[in_turns(batcher, f"{keys.prefix}n{number}") for number in range(20)]
        )
        assert counts == [20] * 20
        assert sum(lane.alive for lane in batcher._lanes) == 1


async def in_turns(batcher: Batcher, key: str) -> int:
    for _ in range(20):
        count: int = await batcher.call("INCR", key)
    return count
