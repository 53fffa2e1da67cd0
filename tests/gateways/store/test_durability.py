"""What the server gives is looked at, and with fsync no promise is made before the disk has it."""

import asyncio
from typing import Any

import pytest

from gateways.store.batcher import Batcher
from gateways.store.connection import connect
from gateways.store.durability import Durability, DurabilityStore
from gateways.store.errors import StoreUnavailable
from gateways.store.inbox import InboxStore
from gateways.store.keys import Keys
from gateways.store.place import Place
from tests.valkey import Valkey


def configure(valkey: Valkey, **settings: str) -> None:
    with valkey.client() as client:
        for name, value in settings.items():
            client.config_set(name.replace("_", "-"), value)


def batcher_of(valkey: Valkey, *, timeout_seconds: float = 5.0) -> Batcher:
    client = connect(Place.of(valkey.url), timeout_seconds=timeout_seconds)
    return Batcher(client, timeout_seconds=timeout_seconds, fsync=True)


async def deliver(batcher: Batcher, keys: Keys, message_id: str | None = None) -> Any:
    inbox = InboxStore(batcher, keys, ttl_seconds=60, max_messages=10)
    repeat_key = keys.repeat_key("alice", message_id) if message_id else None
    return await inbox.deliver(["bob"], b"{}", repeat_key=repeat_key, new_epoch="e")


@pytest.mark.parametrize(
    ("asked", "log", "given", "refused"),
    [
        ("memory", "no", "memory", False),
        ("memory", "yes", "memory", False),
        ("process", "yes", "process", False),
        ("process", "no", "memory", False),
        ("fsync", "yes", "fsync", False),
        ("fsync", "no", "memory", True),
    ],
)
async def test_what_the_server_gives(
    own_valkey: Valkey, asked: str, log: str, given: str, refused: bool
) -> None:
    configure(own_valkey, appendonly=log)
    batcher = batcher_of(own_valkey)
    store = DurabilityStore(batcher, asked=Durability(asked))
    assert store.given is None
    refusal = await store.refusal()
    assert store.given == given
    assert (refusal is not None) == refused
    await batcher.close()


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random", "volatile-ttl"])
async def test_a_server_that_evicts_is_refused(own_valkey: Valkey, policy: str) -> None:
    batcher = batcher_of(own_valkey)
    store = DurabilityStore(batcher, asked=Durability.PROCESS)
    assert await store.refusal() is None
    configure(own_valkey, maxmemory_policy=policy)
    assert policy in (await store.refusal() or "")
    await batcher.close()


async def test_a_promise_waits_for_the_disk(own_valkey: Valkey, keys: Keys) -> None:
    configure(own_valkey, appendfsync="always")
    batcher = batcher_of(own_valkey)
    outcomes = await asyncio.gather(*(deliver(batcher, keys) for _ in range(50)))
    assert sorted(stored.seq for (stored,) in outcomes) == list(range(1, 51))
    await batcher.close()


async def test_without_the_disk_nothing_is_promised_and_the_rest_goes_on(
    own_valkey: Valkey, keys: Keys
) -> None:
    """A server that never syncs stands for a disk that does not answer."""
    batcher = batcher_of(own_valkey, timeout_seconds=1.5)
    configure(own_valkey, appendfsync="always")
    await deliver(batcher, keys)
    configure(own_valkey, appendfsync="no")
    delivery = asyncio.create_task(deliver(batcher, keys, "m"))
    other = asyncio.ensure_future(batcher.call("SET", "other", "x"))
    with pytest.raises(StoreUnavailable, match="disk"):
        await delivery
    assert await other
    # It may be sent again, and that does not count as kept either.
    with pytest.raises(StoreUnavailable, match="disk"):
        await deliver(batcher, keys, "m")
    configure(own_valkey, appendfsync="always")
    (stored,) = await deliver(batcher, keys, "m")
    assert stored.seq == 2
    await batcher.close()


async def test_a_server_without_a_log_promises_nothing(own_valkey: Valkey, keys: Keys) -> None:
    configure(own_valkey, appendonly="no")
    batcher = batcher_of(own_valkey)
    with pytest.raises(StoreUnavailable, match="disk"):
        await deliver(batcher, keys)
    await batcher.close()


async def test_scripts_that_were_forgotten_are_loaded_and_then_waited_for(
    own_valkey: Valkey, keys: Keys
) -> None:
    configure(own_valkey, appendfsync="always")
    batcher = batcher_of(own_valkey)
    await deliver(batcher, keys)
    with own_valkey.client() as client:
        client.script_flush()
    (stored,) = await deliver(batcher, keys)
    assert stored.seq == 2
    await batcher.close()
