"""What services do for users through the internal gateway."""

import dataclasses
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateways.config import Config
from gateways.gateway import Gateway
from services_registry.models import Service
from tests.conftest import MakeGateway
from tests.gateways.consumers.client import Client, connect_as, connect_internal, connect_service

pytestmark = pytest.mark.usefixtures("services_database", "bank")


@pytest.fixture
def config(config: Config) -> Config:
    return dataclasses.replace(config, max_message_bytes=1000, max_recipients=3)


@pytest.fixture
async def herald(gateway: Gateway, herald: Service) -> AsyncIterator[Client]:
    """Its socket."""
    async with connect_service(gateway, "herald") as client:
        yield client


async def stored(gateway: Gateway, user_id: str) -> list[Any]:
    entries = await gateway.hub._inbox.after(user_id, 0, count=1000)
    return [json.loads(entry.body) for entry in entries]


# --- messages -------------------------------------------------------------------------------------


async def test_a_message_says_which_service_it_is_from_whatever_the_service_says(
    gateway: Gateway, herald: Client
) -> None:
    async with connect_as(gateway, "alice") as alice:
        receipt = await herald.request(
            "send_message",
            {
                "recipientIds": [" alice", "carol\t", "alice"],
                "message": "hello",
                "metadata": {"topic": 1, "source": "user", "serviceName": "bank", "metadata": 2},
            },
        )
        assert receipt == {
            "status": "sent",
            "messageId": receipt["messageId"],
            "recipients": {"total": 2, "sent": ["alice"], "queued": ["carol"], "failed": []},
            "timestamp": receipt["timestamp"],
        }
        (message,) = await alice.pushed("message")
        assert message == {
            "id": receipt["messageId"],
            "seq": 1,
            "recipientId": "alice",
            "senderId": None,
            "message": "hello",
            "metadata": {
                "topic": 1,
                "source": "internal_service",
                "serviceName": "herald",
                "serviceType": "news",
                "metadata": {"desk": 3},
                "timestamp": receipt["timestamp"],
            },
        }
        assert [body["id"] for body in await stored(gateway, "carol")] == [message["id"]]


async def test_a_message_id_is_the_services_own(gateway: Gateway, herald: Client) -> None:
    request = {"recipientIds": ["carol"], "message": "once", "messageId": "m"}
    first = await herald.request("send_message", request)
    assert await herald.request("send_message", {**request, "message": "twice"}) == first
    async with (
        connect_service(gateway, "bank") as bank,
        connect_as(gateway, "herald") as user,
    ):
        for other in (bank, user):
            assert (await other.request("send_message", request))["status"] == "sent"
    sources = [body["metadata"]["source"] for body in await stored(gateway, "carol")]
    assert sources == ["internal_service", "internal_service", "user"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({"recipientIds": list("abcd"), "message": "x"}, "too_many_recipients"),
        ({"recipientIds": ["alice"], "message": "x" * 1000}, "too_large"),
        ({"recipientIds": ["alice", ""], "message": "x"}, "invalid_payload"),
        ({"recipientIds": ["alice"], "message": None}, "invalid_payload"),
    ],
)
async def test_a_message_that_is_refused_is_stored_nowhere(
    gateway: Gateway, herald: Client, data: Any, code: str
) -> None:
    assert (await herald.request("send_message", data))["code"] == code
    assert await stored(gateway, "alice") == await stored(gateway, "a") == []


async def test_a_broadcast_reaches_who_is_online_on_every_node_and_is_not_kept(
    gateway: Gateway, make_gateway: MakeGateway, herald: Client
) -> None:
    other = await make_gateway()
    async with (
        connect_as(gateway, "alice") as alice,
        connect_as(other, "bob") as bob,
        connect_internal(other) as bystander,
    ):
        for one in (gateway, other):
            await one.presence.settle(timeout_seconds=5)
        reply = await herald.request("broadcast", {"message": "news", "metadata": {"n": 1}})
        assert reply == {"status": "sent", "recipients": {"total": 2}}
        for user_id, client in (("alice", alice), ("bob", bob)):
            (message,) = await client.pushed("message")
            assert message.keys() == {"id", "recipientId", "senderId", "message", "metadata"}
            assert (message["recipientId"], message["senderId"]) == (user_id, None)
            assert message["metadata"]["serviceName"] == "herald"
            assert message["metadata"]["n"] == 1
            assert await stored(gateway, user_id) == []
        assert bystander.frames == []


async def test_a_broadcast_that_is_too_large_reaches_nobody(
    gateway: Gateway, herald: Client
) -> None:
    async with connect_as(gateway, "alice") as alice:
        assert (await herald.request("broadcast", {"message": "x" * 1000}))["code"] == "too_large"
        await herald.request("broadcast", {"message": "y"})
        assert [message["message"] for message in await alice.pushed("message")] == ["y"]


# --- users ----------------------------------------------------------------------------------------


async def test_friend_lists_are_set_changed_and_told(gateway: Gateway, herald: Client) -> None:
    async def change(event: str, *friend_ids: str, **data: Any) -> int:
        reply = await herald.request(
            event, {"userId": "alice", "friendIds": list(friend_ids), **data}
        )
        assert reply == {
            "status": "success",
            "userId": "alice",
            "total": reply["total"],
            "timestamp": reply["timestamp"],
        }
        return int(reply["total"])

    async def friends_of(user_id: str) -> list[str]:
        reply = await herald.request("get_friends", {"userId": user_id})
        assert reply.keys() == {"userId", "friendIds"}
        assert reply["userId"] == user_id
        return list(reply["friendIds"])

    assert await change("set_friends", "bob", "carol", "bob", "alice") == 2
    assert (await friends_of("alice"), await friends_of("bob")) == (["bob", "carol"], [])
    assert await change("add_friends", "dora") == 3
    assert await friends_of("dora") == ["alice"]
    assert await change("add_friends", "erin", mutual=False) == 4
    assert await friends_of("erin") == []
    assert await change("remove_friends", "dora", mutual=False) == 3
    assert await friends_of("dora") == ["alice"]
    assert await change("remove_friends", "erin", "bob", "stranger") == 1
    assert await change("set_friends") == 0
    assert await friends_of("alice") == []


@pytest.mark.parametrize("event", ["set_friends", "add_friends", "remove_friends"])
@pytest.mark.parametrize(
    "data",
    [
        {"friendIds": ["carol"]},
        {"userId": "alice", "friendIds": ["carol", ""]},
        {"userId": "alice", "friendIds": "carol"},
        {"userId": "alice", "friendIds": ["carol\n"]},
        {"userId": "alice", "friendIds": ["carol"], "mutual": "yes"},
    ],
)
async def test_a_list_is_not_touched_by_what_does_not_fit(
    gateway: Gateway, herald: Client, event: str, data: Any
) -> None:
    await gateway.friends.set("alice", ["bob", "carol"])
    assert (await herald.request(event, data))["code"] == "invalid_payload"
    assert await gateway.friends.of("alice") == ["bob", "carol"]


async def test_status_is_told_of_anybody_in_the_order_asked(
    gateway: Gateway, herald: Client
) -> None:
    async with connect_as(gateway, "alice"), connect_as(gateway, "alice"):
        users = (await herald.request("get_user_status", {"userIds": ["x", "alice", "x"]}))["users"]
    stranger = {"userId": "x", "status": "offline", "lastSeen": None, "sessionCount": 0}
    assert users[0] == users[2] == stranger
    assert users[1] == {
        "userId": "alice",
        "status": "online",
        "lastSeen": users[1]["lastSeen"],
        "sessionCount": 2,
    }
    assert users[1]["lastSeen"].endswith("Z")


async def test_a_user_is_disconnected_by_session_or_altogether(
    gateway: Gateway, make_gateway: MakeGateway, herald: Client
) -> None:
    other = await make_gateway()
    async with (
        connect_as(gateway, "alice") as one,
        connect_as(other, "alice") as two,
        connect_as(other, "bob") as bob,
    ):
        two_id = two.seen("connected")[0]["sessionId"]
        data = {"userId": "alice", "sessionId": two_id, "reason": "One too many."}
        for closed in (1, 0):
            reply = await herald.request("disconnect_user", data)
            assert reply == {"status": "success", "closed": closed}
        assert (await two.closed(), two.close_reason) == (4403, "One too many.")
        assert one.close_code is None
        # A session of another user is none of this one's.
        bobs_id = bob.seen("connected")[0]["sessionId"]
        for data, closed in (
            ({"userId": "alice", "sessionId": bobs_id}, 0),
            ({"userId": "stranger"}, 0),
            ({"userId": "alice"}, 1),
        ):
            assert (await herald.request("disconnect_user", data))["closed"] == closed
        assert (await one.closed(), one.close_reason) == (4403, "Disconnected by herald.")
        assert "timestamp" in await bob.request("ping")
