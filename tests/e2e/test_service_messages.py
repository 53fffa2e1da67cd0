"""What services do for users: messages, broadcasts, friends, status, disconnecting; over two
machines.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateways.client.client import Client as ResumingClient
from gateways.client.events import Message
from gateways.protocol.events import Connected
from tests.e2e.client import Client, connect_as, connect_service, dial_as, eventually, token
from tests.e2e.conftest import HERALD_KEY, Name, Pair
from tests.e2e.services import KEY, register


@pytest.fixture
async def herald(platform: Pair) -> AsyncIterator[Client]:
    """At the first internal gateway."""
    async with connect_service(platform.first.internal_url, "herald", HERALD_KEY) as client:
        yield client


async def test_a_message_reaches_users_at_both_gateways_and_waits_for_the_rest(
    platform: Pair, herald: Client, name: Name
) -> None:
    async with (
        connect_as(platform.first.url, name("alice")) as alice,
        connect_as(platform.second.url, name("bob")) as bob,
    ):
        receipt = await herald.message(
            [name("alice"), f" {name('bob')}\n", name("bob"), name("carol")],
            "hello",
            metadata={"topic": "weather", "source": "user", "serviceName": "somebody"},
        )
        assert receipt == {
            "status": "sent",
            "messageId": receipt["messageId"],
            "recipients": {
                "total": 3,
                "sent": [name("alice"), name("bob")],
                "queued": [name("carol")],
                "failed": [],
            },
            "timestamp": receipt["timestamp"],
        }
        for client, user_id in ((alice, name("alice")), (bob, name("bob"))):
            (message,) = await client.pushed("message")
            assert message == {
                "id": receipt["messageId"],
                "seq": 1,
                "recipientId": user_id,
                "senderId": None,
                "message": "hello",
                "metadata": {
                    "topic": "weather",
                    "source": "internal_service",
                    "serviceName": "herald",
                    "serviceType": "news",
                    "metadata": {},
                    "timestamp": receipt["timestamp"],
                },
            }
    async with connect_as(platform.second.url, name("carol")) as carol:
        (message,) = await carol.pushed("message")
        assert message["id"] == receipt["messageId"]


async def test_a_services_own_metadata_goes_with_its_messages(platform: Pair, name: Name) -> None:
    async with connect_as(platform.first.url, name("alice")) as alice:
        async with connect_service(platform.second.internal_url, "herald", HERALD_KEY) as client:
            reply = await register(client, name("shop"), metadata={"branch": 7})
            assert reply["status"] == "success"
        async with connect_service(platform.second.internal_url, name("shop"), KEY) as shop:
            await shop.message(name("alice"), "your order", metadata={"metadata": "faked"})
        (message,) = await alice.pushed("message")
        assert message["metadata"]["metadata"] == {"branch": 7}


async def test_a_message_that_is_sent_again_arrives_once(
    platform: Pair, herald: Client, name: Name
) -> None:
    async with (
        connect_as(platform.second.url, name("alice")) as alice,
        connect_service(platform.second.internal_url, "herald", HERALD_KEY) as other,
    ):
        data = {"messageId": name("order")}
        receipts = await asyncio.gather(
            *(client.message(name("alice"), "once", **data) for client in (herald, other) * 5)
        )
        assert all(receipt == receipts[0] for receipt in receipts)
        # Another sender's same id is another message.
        await alice.message(name("alice"), "my own", **data)
        await alice.pushed("message", 2)
        texts = [message["message"] for message in alice.seen("message")]
        assert sorted(texts) == ["my own", "once"]


async def test_a_broadcast_reaches_everybody_who_is_here_and_nobody_later(
    platform: Pair, herald: Client, name: Name
) -> None:
    async with (
        connect_as(platform.first.url, name("alice")) as alice,
        connect_as(platform.second.url, name("bob")) as bob,
        connect_as(platform.second.url, name("bob")) as bobs_tablet,
    ):

        async def both_are_counted() -> bool:
            return {name("alice"), name("bob")} <= await alice.listed()

        await eventually(both_are_counted, "both to be listed")
        for number in range(20):
            reply = await herald.request(
                "broadcast", {"message": f"{name('news')} {number}", "metadata": {"n": number}}
            )
            assert reply["status"] == "sent"
            assert reply["recipients"]["total"] >= 2
        for client, user_id in (
            (alice, name("alice")),
            (bob, name("bob")),
            (bobs_tablet, name("bob")),
        ):
            messages = [
                message
                for message in await client.pushed("message", 20)
                if message["message"].startswith(name("news"))
            ]
            assert [message["metadata"]["n"] for message in messages] == list(range(20))
            assert set(messages[0]) == {"id", "recipientId", "senderId", "message", "metadata"}
            assert messages[0]["recipientId"] == user_id
            assert messages[0]["metadata"]["source"] == "internal_service"
    async with connect_as(platform.first.url, name("carol")) as late:
        await herald.message(name("carol"), "only this")
        (message,) = await late.pushed("message")
        assert (message["message"], message["seq"]) == ("only this", 1)


async def test_a_broadcast_is_no_part_of_what_a_client_resumes_from(
    platform: Pair, herald: Client, name: Name
) -> None:
    """The client of `manage.py chat`, and any that counts by `seq`."""
    alice = ResumingClient(
        platform.second.url, lambda: token(name("alice")), device_id="x", active_every_seconds=60
    )
    async with alice:
        events = alice.events()
        assert isinstance(await anext(events), Connected)
        assert (await herald.message(name("alice"), "one"))["status"] == "sent"
        await herald.request("broadcast", {"message": name("news")})
        assert (await herald.message(name("alice"), "two"))["status"] == "sent"
        heard = [
            (message.message, message.seq)
            for message in [await anext(events) for _ in range(3)]
            if isinstance(message, Message)
        ]
    # It may overtake, or be overtaken: only what is stored has an order.
    assert sorted(heard, key=str) == sorted([("one", 1), (name("news"), None), ("two", 2)], key=str)


async def test_a_user_is_disconnected_wherever_it_is_within_a_second(
    platform: Pair, herald: Client, name: Name
) -> None:
    async with connect_as(platform.first.url, name("friend")) as friend:
        await herald.request("set_friends", {"userId": name("friend"), "friendIds": [name("bob")]})
        sessions = [
            await dial_as(gateway.url, name("bob"))
            for gateway in (platform.first, platform.second, platform.second)
        ]
        await friend.until(lambda: friend.statuses_of(name("bob")) == ["online"], "bob to come")
        one = sessions.pop()
        session_id = one.seen("connected")[0]["sessionId"]
        began = time.monotonic()
        reply = await herald.request(
            "disconnect_user",
            {"userId": name("bob"), "sessionId": session_id, "reason": "One too many."},
        )
        assert reply == {"status": "success", "closed": 1}
        assert await one.closed() == 4403
        assert one.socket.close_reason == "One too many."
        assert all(client.close_code is None for client in sessions)
        reply = await herald.request("disconnect_user", {"userId": name("bob")})
        assert reply == {"status": "success", "closed": 2}
        assert [await client.closed() for client in sessions] == [4403, 4403]
        assert sessions[0].socket.close_reason == "Disconnected by herald."
        assert time.monotonic() - began < 1
        # At once: there is no grace for who was thrown out.
        await friend.until(
            lambda: friend.statuses_of(name("bob")) == ["online", "offline"], "bob to go"
        )
        reply = await herald.request("disconnect_user", {"userId": name("bob")})
        assert reply == {"status": "success", "closed": 0}


async def _heard(watcher: Client, user_id: str, statuses: list[str]) -> None:
    await watcher.until(lambda: watcher.statuses_of(user_id) == statuses, f"{user_id} {statuses}")


async def test_friend_lists_decide_who_hears_of_whom(
    platform: Pair, herald: Client, name: Name
) -> None:
    alice, bob, carol = name("alice"), name("bob"), name("carol")

    async def friends_of(user_id: str) -> list[str]:
        reply = await herald.request("get_friends", {"userId": user_id})
        assert set(reply) == {"userId", "friendIds"}
        return list(reply["friendIds"])

    async def change(event: str, **data: Any) -> int:
        reply = await herald.request(event, {"userId": alice, **data})
        assert set(reply) == {"status", "userId", "total", "timestamp"}
        assert (reply["status"], reply["userId"]) == ("success", alice)
        return int(reply["total"])

    assert await change("add_friends", friendIds=[bob, carol, bob]) == 2
    assert await friends_of(alice) == sorted([bob, carol])
    assert await friends_of(bob) == [alice]
    assert await change("remove_friends", friendIds=[carol]) == 1
    assert await friends_of(carol) == []
    assert await change("add_friends", friendIds=[carol], mutual=False) == 2
    assert await friends_of(carol) == []
    async with connect_as(platform.first.url, alice) as watcher:
        for friend in (bob, carol):
            async with connect_as(platform.second.url, friend) as client:
                await _heard(watcher, friend, ["online"])
                online = await watcher.request("get_online_users")
                assert [user["userId"] for user in online["users"]] == [friend]
                await client.socket.close()
                await _heard(watcher, friend, ["online", "offline"])
        assert await change("set_friends", friendIds=[bob]) == 1
        before = len(watcher.statuses_of(carol))
        async with (
            connect_as(platform.second.url, carol),
            connect_as(platform.second.url, bob),
        ):
            await watcher.until(lambda: watcher.statuses_of(bob)[-1] == "online", "bob to come")
        assert len(watcher.statuses_of(carol)) == before


async def test_a_list_of_friends_may_be_as_long_as_it_is_said_to_be(
    herald: Client, name: Name
) -> None:
    friends = [f"{number:05}".ljust(128, "x") for number in range(10_000)]
    for event, kept in (("set_friends", friends), ("remove_friends", [])):
        reply = await herald.request(event, {"userId": name("popular"), "friendIds": friends})
        assert (reply["status"], reply["total"]) == ("success", len(kept))


async def test_status_is_told_of_anybody(platform: Pair, herald: Client, name: Name) -> None:
    async with (
        connect_as(platform.first.url, name("alice")),
        connect_as(platform.second.url, name("alice")),
    ):
        reply = await herald.request(
            "get_user_status", {"userIds": [name("alice"), name("stranger")]}
        )
        alice, stranger = reply["users"]
        assert alice == {
            "userId": name("alice"),
            "status": "online",
            "lastSeen": alice["lastSeen"],
            "sessionCount": 2,
        }
        assert alice["lastSeen"] is not None
        assert stranger == {
            "userId": name("stranger"),
            "status": "offline",
            "lastSeen": None,
            "sessionCount": 0,
        }


@pytest.mark.parametrize(
    ("event", "data", "field"),
    [
        ("send_message", {"recipientIds": [" "], "message": "x"}, "recipientIds[0]"),
        ("send_message", {"recipientIds": [], "message": "x"}, "recipientIds"),
        ("send_message", {"recipientIds": ["x" * 129], "message": "x"}, "recipientIds[0]"),
        ("send_message", {"recipientIds": ["bob"]}, "message"),
        ("broadcast", {"message": 7}, "message"),
        ("broadcast", {"message": "x", "recipientIds": ["bob"]}, "recipientIds"),
        ("set_friends", {"userId": "a", "friendIds": "b"}, "friendIds"),
        ("set_friends", {"userId": "a", "friendIds": ["b"], "mutual": True}, "mutual"),
        ("set_friends", {"userId": "a", "friendIds": [str(n) for n in range(10_001)]}, "friendIds"),
        ("add_friends", {"userId": "", "friendIds": ["b"]}, "userId"),
        ("add_friends", {"userId": "a", "friendIds": ["b\n"]}, "friendIds"),
        ("get_friends", {}, "userId"),
        ("get_user_status", {"userIds": []}, "userIds"),
        ("get_user_status", {"userIds": ["x"] * 1001}, "userIds"),
        ("disconnect_user", {"userId": "a", "reason": "é" * 62}, "reason"),
        ("disconnect_user", {"userId": "a", "sessionId": ""}, "sessionId"),
    ],
)
async def test_what_does_not_fit_is_named(
    herald: Client, event: str, data: dict[str, Any], field: str
) -> None:
    reply = await herald.request(event, data)
    assert reply["code"] == "invalid_payload"
    assert field in reply["error"]
