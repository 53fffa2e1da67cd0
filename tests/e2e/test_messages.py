"""Messages between users on two gateway processes."""

import asyncio
import re
from uuid import UUID

from tests.e2e.client import connect_as
from tests.e2e.conftest import Deploy, Name, Pair

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


async def test_each_recipient_gets_its_message_whichever_process_holds_it(
    pair: Pair, name: Name
) -> None:
    alice, bob, carol, dora = map(name, ("alice", "bob", "carol", "dora"))
    async with (
        connect_as(pair.first.url, alice) as sender,
        connect_as(pair.first.url, bob) as near,
        connect_as(pair.second.url, carol) as far,
    ):
        receipt = await sender.message([bob, carol, dora, bob], "hello")
        assert set(receipt) == {"status", "messageId", "recipients", "timestamp"}
        assert receipt["status"] == "sent"
        assert receipt["recipients"] == {
            "total": 3,
            "sent": [bob, carol],
            "queued": [dora],
            "failed": [],
        }
        assert UUID(receipt["messageId"]).version == 7
        for client, user_id in ((near, bob), (far, carol)):
            (message,) = await client.pushed("message")
            assert message == {
                "id": receipt["messageId"],
                "seq": 1,
                "recipientId": user_id,
                "senderId": alice,
                "message": "hello",
                "metadata": {"source": "user", "timestamp": receipt["timestamp"]},
            }
        assert TIMESTAMP.fullmatch(receipt["timestamp"])


async def test_what_only_the_server_may_say(pair: Pair, name: Name) -> None:
    async with connect_as(pair.first.url, name("alice")) as alice:
        claimed = {
            "source": "internal_service",
            "serviceName": "bank",
            "serviceType": "money",
            "timestamp": "2001-01-01T00:00:00.000Z",
            "senderId": "somebody",
            "colour": {"r": 1.5, "none": None},
        }
        receipt = await alice.message(name("alice"), "hello", metadata=claimed)
        (message,) = await alice.pushed("message")
        assert message["metadata"] == {
            "source": "user",
            "timestamp": receipt["timestamp"],
            "senderId": "somebody",
            "colour": {"r": 1.5, "none": None},
        }
        assert message["senderId"] == name("alice")


async def test_text_arrives_as_it_was_written(pair: Pair, name: Name) -> None:
    texts = ["", "\0\x1f\x7f\u2028", '"\\/{}', "漢字 🎮 ü", "<script>", "x" * 65_000]
    async with (
        connect_as(pair.first.url, name("alice")) as alice,
        connect_as(pair.second.url, name("bob")) as bob,
    ):
        for text in texts:
            assert (await alice.message(name("bob"), text))["status"] == "sent"
        assert await bob.texts(len(texts)) == texts


async def test_a_thousand_recipients(pair: Pair, name: Name) -> None:
    user_ids = [name(f"user{n}") for n in range(998)]
    async with (
        connect_as(pair.first.url, name("alice")) as alice,
        connect_as(pair.second.url, name("bob")) as bob,
    ):
        receipt = await alice.message([*user_ids, name("bob"), name("alice")], "all of you")
        assert receipt["recipients"] == {
            "total": 1000,
            "sent": [name("bob"), name("alice")],
            "queued": user_ids,
            "failed": [],
        }
        assert await bob.texts(1) == await alice.texts(1) == ["all of you"]
    async with connect_as(pair.second.url, user_ids[-1]) as last:
        assert await last.texts(1) == ["all of you"]


async def test_seq_has_no_holes_with_many_senders(pair: Pair, name: Name) -> None:
    async with (
        connect_as(pair.first.url, name("alice")) as alice,
        connect_as(pair.second.url, name("bob")) as bob,
        connect_as(pair.first.url, name("carol")) as near,
        connect_as(pair.second.url, name("carol")) as far,
    ):
        await asyncio.gather(
            *(
                sender.message(name("carol"), f"{who} {n}")
                for n in range(150)
                for who, sender in (("alice", alice), ("bob", bob))
            )
        )
        for device in (near, far):
            messages = await device.pushed("message", 300)
            assert [message["seq"] for message in messages] == list(range(1, 301))
            for who in ("alice", "bob"):
                mine = [m["message"] for m in messages if m["message"].startswith(who)]
                assert mine == [f"{who} {n}" for n in range(150)]


async def test_a_repeated_message_id_is_one_message(pair: Pair, name: Name) -> None:
    async with (
        connect_as(pair.first.url, name("alice")) as alice,
        connect_as(pair.second.url, name("alice")) as again,
        connect_as(pair.first.url, name("bob")) as bob,
        connect_as(pair.second.url, name("eve")) as eve,
    ):
        first = await alice.message([name("bob"), name("dora")], "once", messageId="m1")
        assert first["messageId"] == "m1"
        assert await again.message(name("bob"), "changed", messageId="m1") == first
        # Another sender's same id is another message.
        await eve.message(name("bob"), "mine", messageId="m1")
        assert await bob.texts(2) == ["once", "mine"]
        assert [message["id"] for message in bob.seen("message")] == ["m1", "m1"]
    async with connect_as(pair.second.url, name("dora")) as dora:
        await dora.message(name("dora"), "last")
        assert await dora.texts(2) == ["once", "last"]


async def test_a_message_id_sent_twice_at_the_same_time(pair: Pair, name: Name) -> None:
    async with (
        connect_as(pair.first.url, name("alice")) as alice,
        connect_as(pair.second.url, name("alice")) as again,
        connect_as(pair.first.url, name("bob")) as bob,
        connect_as(pair.second.url, name("bob")) as other,
    ):
        for n in range(50):
            receipts = await asyncio.gather(
                *(
                    client.message([name("bob"), name("dora")], str(n), messageId=f"{n}: ü")
                    for client in (alice, again, alice, again)
                )
            )
            assert all(receipt == receipts[0] for receipt in receipts)
            assert receipts[0]["recipients"]["sent"] == [name("bob")]
        for device in (bob, other):
            assert await device.texts(50) == [str(n) for n in range(50)]
            assert [m["seq"] for m in device.seen("message")] == list(range(1, 51))


async def test_without_inboxes_who_is_not_there_gets_nothing(deploy: Deploy, name: Name) -> None:
    first, second = deploy(INBOX_TTL="0").start_pair()
    async with (
        connect_as(first.url, name("alice")) as alice,
        connect_as(second.url, name("bob")) as bob,
    ):
        absent = await alice.message(name("dora"), "hello?")
        assert absent["status"] == "error"
        assert absent["recipients"]["failed"] == [name("dora")]
        receipt = await alice.message([name("bob"), name("dora")], "hello")
        assert receipt["status"] == "sent"
        assert receipt["recipients"] == {
            "total": 2,
            "sent": [name("bob")],
            "queued": [],
            "failed": [name("dora")],
        }
        await alice.message(name("bob"), "and again")
        assert await bob.texts(2) == ["hello", "and again"]
        assert [message["seq"] for message in bob.seen("message")] == [1, 2]
        async with connect_as(first.url, name("dora")) as dora:
            assert dora.seen("connected")[0]["missed"] == 0
            await alice.message(name("dora"), "now you are here")
            assert await dora.texts(1) == ["now you are here"]
