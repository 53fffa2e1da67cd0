"""Calls to a real Valkey Cluster, while its slots move and its nodes die."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest
import redis
from redis.crc import key_slot

from gateways.store import scripts
from gateways.store.batcher import MAX_WAITING
from gateways.store.cluster import Cluster
from gateways.store.connection import connect
from gateways.store.durability import Durability, DurabilityStore
from gateways.store.errors import StoreUnavailable
from gateways.store.inbox import InboxStore
from gateways.store.keys import Keys
from gateways.store.place import Place
from tests.cluster import Cluster as Servers, running_cluster
from tests.gateways.consumers.client import until
from tests.valkey import Valkey

USERS = [f"user-{number}" for number in range(100)]
TIMEOUT_SECONDS = 2.0


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with running_cluster() as servers:
        yield servers


@pytest.fixture
async def cluster(servers: Servers) -> AsyncIterator[Cluster]:
    with servers.client() as client:
        client.flushall(target_nodes="primaries")
    place = Place.of(servers.url)
    cluster = Cluster(
        place,
        connect(place, timeout_seconds=TIMEOUT_SECONDS),
        timeout_seconds=TIMEOUT_SECONDS,
    )
    yield cluster
    await cluster.close()


async def deliver(cluster: Cluster, body: bytes) -> list[int]:
    inbox = InboxStore(cluster, Keys("t:"), ttl_seconds=60, max_messages=100)
    outcomes = await inbox.deliver(USERS, body, repeat_key=None, new_epoch="e")
    return [outcome.seq for outcome in outcomes]


async def test_each_call_goes_where_its_key_is(cluster: Cluster, servers: Servers) -> None:
    await cluster.call_all([("SET", user, number) for number, user in enumerate(USERS)])
    with servers.client() as client:
        assert client.get("user-7") == b"7"
        owners = {client.get_node_from_key(user).port for user in USERS}
    assert len(owners) == 3, "the users are spread over all primaries"
    answers = await cluster.call_all([("GET", user) for user in USERS])
    assert answers == [b"%d" % number for number in range(len(USERS))]
    assert await cluster.call("PING") == b"PONG"


async def test_more_calls_than_may_wait_are_made_one_part_after_the_other(
    cluster: Cluster,
) -> None:
    count = MAX_WAITING + 5000  # all at one node
    assert await cluster.call_all([("GET", f"{{a}}{n}") for n in range(count)]) == [None] * count


async def test_a_message_reaches_inboxes_on_all_nodes(cluster: Cluster) -> None:
    assert await deliver(cluster, b"{}") == [1] * len(USERS)
    assert await deliver(cluster, b"{}") == [2] * len(USERS)


async def test_all_primaries_are_looked_at(cluster: Cluster, servers: Servers) -> None:
    store = DurabilityStore(cluster, asked=Durability.PROCESS)
    assert await store.refusal() is None
    node = servers.primary_of("user-1")
    with node.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
    refusal = await store.refusal()
    assert refusal is not None
    assert "allkeys-lru" in refusal
    with node.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
    assert await store.refusal() is None


async def test_a_slot_that_moves_is_found_before_while_and_after(
    cluster: Cluster, servers: Servers
) -> None:
    await deliver(cluster, b"{}")
    key = Keys("t:").state("user-1")
    slot, source = key_slot(key.encode()), servers.primary_of(key)
    target = servers.primary_of(next(k for k in USERS if servers.primary_of(k) is not source))
    begin_to_move(slot, source, target)
    # Of this slot: what exists is here still, what is new is there.
    new = next(f"{{{tag}}}" for tag in map(str, range(10**6)) if key_slot(tag.encode()) == slot)
    assert await cluster.call("SET", new, "x") is not None
    bucket = f"limit:{new}"
    assert await cluster.run(scripts.TAKE_TOKEN, (bucket,), 1000, 10, 1) == 0
    with target.client() as client:
        client.execute_command("ASKING")
        assert client.execute_command("GET", new) == b"x"
    # A user who has some keys, but not all that a message touches, waits for the end of the move.
    with source.client() as client:
        client.config_resetstat()
    delivering = asyncio.create_task(deliver(cluster, b"{}"))

    def is_refused() -> bool:
        with source.client() as client:
            return "errorstat_TRYAGAIN" in client.info("errorstats")

    await until(is_refused)
    move_keys(slot, source, target)
    assert await delivering == [2] * len(USERS)
    assert servers.primary_of(key) is target
    assert await cluster.call("GET", new) == b"x"


def begin_to_move(slot: int, source: Valkey, target: Valkey) -> None:
    with source.client() as old, target.client() as new:
        old_id, new_id = old.cluster("MYID"), new.cluster("MYID")
        new.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", old_id)
        old.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", new_id)


def move_keys(slot: int, source: Valkey, target: Valkey) -> None:
    with source.client() as old, target.client() as new:
        new_id = new.cluster("MYID")
        while keys := old.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
            old.execute_command(
                "MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "REPLACE", "KEYS", *keys
            )
        for client in (new, old):
            client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", new_id)


async def test_a_primary_that_dies_is_replaced_and_nobody_waits_for_it(
    cluster: Cluster, servers: Servers
) -> None:
    assert await deliver(cluster, b"{}") == [1] * len(USERS)
    key = Keys("t:").state("user-1")
    victim = servers.primary_of(key)
    others = [user for user in USERS if servers.primary_of(Keys("t:").state(user)) is not victim]
    with victim.client() as client:
        assert client.wait(1, 5000) == 1
    victim.kill()
    deadline = time.monotonic() + 20
    while True:
        assert time.monotonic() < deadline, "no replica was promoted"
        begun = time.monotonic()
        try:
            seq = await cluster.call("HGET", key, "seq")
        except StoreUnavailable:
            assert time.monotonic() - begun < TIMEOUT_SECONDS + 1
            # The others' users notice nothing.
            assert await cluster.call("HGET", Keys("t:").state(others[0]), "seq") == b"1"
            await asyncio.sleep(0.1)
        else:
            assert seq == b"1", "what it had acknowledged to its replica is there"
            break
    assert await deliver(cluster, b"{}") == [2] * len(USERS)
    assert [await cluster.call("PING") for _ in range(6)] == [b"PONG"] * 6


async def test_a_cluster_that_is_not_there_is_unavailable_in_time() -> None:
    place = Place.of("redis+cluster://127.0.0.1:1,127.0.0.1:2")
    cluster = Cluster(place, connect(place, timeout_seconds=1), timeout_seconds=1)
    begun = time.monotonic()
    for call in (cluster.call("GET", "x"), cluster.call("PING"), cluster.everywhere("INFO")):
        with pytest.raises(StoreUnavailable):
            await call
    assert time.monotonic() - begun < 4
    await cluster.close()


async def test_a_subscriber_finds_a_node_that_lives(servers: Servers) -> None:
    dead = "127.0.0.1:1"
    place = Place.of(f"redis+cluster://{dead},127.0.0.1:{servers.alive[0].port}")
    for _ in range(4):  # whichever comes first by chance
        async with connect(place, timeout_seconds=2) as client, client.pubsub() as subscription:
            await subscription.subscribe("news")
            with servers.alive[-1].client() as other:
                await until_heard(other, subscription)


async def until_heard(other: "redis.Redis", subscription: "redis.asyncio.client.PubSub") -> None:
    """Published at one node, heard at another; the subscription travels over the cluster's bus."""
    deadline = time.monotonic() + 10
    while True:
        assert time.monotonic() < deadline
        other.publish("news", "x")
        message = await subscription.get_message(ignore_subscribe_messages=True, timeout=0.1)
        if message is not None:
            assert message["data"] == b"x"
            return
