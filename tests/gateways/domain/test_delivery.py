"""Delivery: what becomes of a message for each recipient, and what a sender may not say."""

import asyncio
import dataclasses
import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, strategies as st
from redis.asyncio import Redis

from gateways.config import Config
from gateways.domain.delivery import Sender, new_epoch, uuid7
from gateways.gateway import Gateway
from gateways.protocol.errors import RateLimited, TooLarge, TooManyRecipients
from gateways.protocol.events import Receipt, SendMessage, now_ms
from gateways.store.keys import Keys
from gateways.store.limits import Rate
from tests.conftest import MakeGateway
from tests.gateways.consumers.client import connect_as

ALICE = Sender.user("alice")


async def send(gateway: Gateway, *recipients: str, text: str = "hello", **options: Any) -> Receipt:
    return await gateway.delivery.send(ALICE, SendMessage(list(recipients), text, **options))


async def bodies(gateway: Gateway, user_id: str) -> list[Any]:
    entries = await gateway.hub._inbox.after(user_id, 0, count=1000)
    return [json.loads(entry.body) for entry in entries]


async def test_the_receipt_says_what_became_of_it_for_each(
    gateway: Gateway, config: Config
) -> None:
    async with Redis.from_url(config.redis_url) as redis:
        await redis.set(Keys(config.redis_prefix).inbox("broken"), "x")
        await redis.hset(Keys(config.redis_prefix).state("broken"), "epoch", "e")
    async with connect_as(gateway, "bob"):
        receipt = await send(gateway, "bob", "carol", "broken", "bob")
    assert receipt.status == "sent"
    assert receipt.recipients.total == 3
    assert receipt.recipients.sent == ["bob"]
    assert receipt.recipients.queued == ["carol"]
    assert receipt.recipients.failed == ["broken"]
    only_failed = await send(gateway, "broken")
    assert (only_failed.status, only_failed.recipients.failed) == ("error", ["broken"])


async def test_a_message_id_is_made_where_none_is_given(gateway: Gateway) -> None:
    receipts = [await send(gateway, "bob") for _ in range(2)]
    ids = [UUID(receipt.message_id) for receipt in receipts]
    assert [message_id.version for message_id in ids] == [7, 7]
    assert ids[0] != ids[1]
    assert [body["id"] for body in await bodies(gateway, "bob")] == [str(i) for i in ids]


@given(st.integers(0, 2**48 - 1))
def test_a_uuid7_carries_its_time_and_is_well_formed(ms: int) -> None:
    value = UUID(uuid7(ms))
    assert value.version == 7
    assert value.variant == "specified in RFC 4122"
    assert value.int >> 80 == ms


def test_epochs_differ_and_are_short() -> None:
    epochs = {new_epoch() for _ in range(100)}
    assert len(epochs) == 100
    assert all(len(epoch) <= 64 and epoch.isascii() for epoch in epochs)


async def test_what_only_the_server_may_say_is_overwritten(gateway: Gateway) -> None:
    before = now_ms()
    await send(
        gateway,
        "bob",
        metadata={
            "source": "internal_service",
            "serviceName": "bank",
            "serviceType": "bank",
            "timestamp": "1970",
            "mood": {"😀": [1, None]},
        },
    )
    (body,) = await bodies(gateway, "bob")
    metadata = body["metadata"]
    assert metadata.keys() == {"source", "timestamp", "mood"}
    assert metadata["source"] == "user"
    assert metadata["mood"] == {"😀": [1, None]}
    assert metadata["timestamp"].endswith("Z")
    assert metadata["timestamp"] > "2026"
    assert before <= now_ms()
    assert (body["senderId"], body["message"]) == ("alice", "hello")


async def test_too_many_recipients_are_refused_after_doubles_are_taken_away(
    make_gateway: MakeGateway, config: Config
) -> None:
    gateway = await make_gateway(dataclasses.replace(config, max_recipients=3))
    receipt = await send(gateway, "a", "b", "c", "a", "b")
    assert receipt.recipients.total == 3
    with pytest.raises(TooManyRecipients, match="at most 3, got 4"):
        await send(gateway, "a", "b", "c", "d")
    assert len(await bodies(gateway, "a")) == 1


async def test_a_message_is_measured_as_it_is_stored(
    make_gateway: MakeGateway, config: Config
) -> None:
    gateway = await make_gateway(dataclasses.replace(config, max_message_bytes=500))
    await send(gateway, "bob", text="x" * 200)
    for text, metadata in (("x" * 500, None), ("é" * 240, None), ("", {"x": "x" * 500})):
        with pytest.raises(TooLarge, match="500 are taken"):
            await send(gateway, "bob", text=text, metadata=metadata)
    assert len(await bodies(gateway, "bob")) == 1


async def test_the_same_message_id_is_the_same_message_and_gets_the_first_receipt(
    gateway: Gateway,
) -> None:
    first = await send(gateway, "bob", "carol", message_id="m")
    await asyncio.sleep(0.002)  # so that a second receipt would have another time
    async with connect_as(gateway, "bob"):
        again = await send(gateway, "bob", "carol", "dora", message_id="m", text="other")
    assert again == first
    assert len(await bodies(gateway, "bob")) == 1
    assert await bodies(gateway, "dora") == []
    other = await gateway.delivery.send(
        Sender.user("mallory"), SendMessage(["bob"], "x", message_id="m")
    )
    assert other.recipients.queued == ["bob"]
    assert len(await bodies(gateway, "bob")) == 2


async def test_who_failed_is_tried_again_by_the_same_message_id_and_nobody_else(
    gateway: Gateway, config: Config
) -> None:
    async with Redis.from_url(config.redis_url) as redis:
        await redis.set(Keys(config.redis_prefix).inbox("broken"), "x")
        await redis.hset(Keys(config.redis_prefix).state("broken"), "epoch", "e")
        first = await send(gateway, "bob", "broken", message_id="m")
        assert first.recipients.failed == ["broken"]
        await redis.delete(Keys(config.redis_prefix).inbox("broken"))
    again = await send(gateway, "bob", "broken", message_id="m")
    assert again.recipients.queued == ["bob", "broken"]
    assert await send(gateway, "bob", "broken", message_id="m") == again
    assert [len(await bodies(gateway, user)) for user in ("bob", "broken")] == [1, 1]


async def test_a_long_message_counts_as_several_to_each(
    make_gateway: MakeGateway, config: Config
) -> None:
    gateway = await make_gateway(dataclasses.replace(config, recipients=Rate(100, 3600)))
    await send(gateway, "bob", "carol", text="x" * 40 * 1024)  # 41 KiB with what is around it
    await send(gateway, *[f"user{number}" for number in range(18)])
    with pytest.raises(RateLimited):
        await send(gateway, "bob")


async def test_a_message_that_takes_more_than_there_ever_is_takes_all(
    make_gateway: MakeGateway, config: Config
) -> None:
    gateway = await make_gateway(dataclasses.replace(config, recipients=Rate(100, 3600)))
    await send(gateway, "bob", "carol", "dora", text="x" * 60_000)
    with pytest.raises(RateLimited):
        await send(gateway, "bob")


async def test_concurrent_repeats_on_several_nodes_get_one_receipt(
    make_gateway: MakeGateway,
) -> None:
    gateways = [await make_gateway(), await make_gateway()]
    async with connect_as(gateways[0], "bob") as bob:
        receipts = []
        for _ in range(3):
            sending = []
            for number in range(10):
                sending.append(
                    asyncio.create_task(send(gateways[number % 2], "bob", message_id="m"))
                )
                await asyncio.sleep(0.001)
            receipts += await asyncio.gather(*sending)
        assert all(receipt == receipts[0] for receipt in receipts)
        await bob.pushed("message")
        assert len(await bodies(gateways[0], "bob")) == 1


async def test_a_message_reaches_all_devices_on_all_nodes_once(make_gateway: MakeGateway) -> None:
    one, other = await make_gateway(), await make_gateway()
    async with (
        connect_as(one, "bob") as phone,
        connect_as(other, "bob") as tablet,
        connect_as(other, "}مرحبا{") as awkward,
    ):
        for number in range(20):
            await send((one, other)[number % 2], "bob", "}مرحبا{", text=str(number))
        for client in (phone, tablet, awkward):
            messages = await client.pushed("message", 20)
            assert [m["seq"] for m in messages] == list(range(1, 21))
            assert [m["message"] for m in messages] == [str(n) for n in range(20)]
        assert awkward.seen("message")[0]["recipientId"] == "}مرحبا{"


async def test_without_inboxes_the_absent_fail_and_the_live_hear(
    make_gateway: MakeGateway, config: Config
) -> None:
    gateway = await make_gateway(dataclasses.replace(config, inbox_ttl_seconds=0))
    receipt = await send(gateway, "bob")
    assert (receipt.status, receipt.recipients.failed) == ("error", ["bob"])
    async with connect_as(gateway, "bob") as bob:
        receipt = await send(gateway, "bob", "carol")
        assert (receipt.recipients.sent, receipt.recipients.failed) == (["bob"], ["carol"])
        (message,) = await bob.pushed("message")
        assert message["seq"] == 1


def test_senders_are_told_apart() -> None:
    assert Sender.user("alice").key != Sender.user("bob").key
