"""Friend lists as the platform sets them, and which friends are online."""

from gateways.gateway import Gateway
from tests.gateways.consumers.client import connect_as


async def test_setting_a_list_replaces_it(gateway: Gateway) -> None:
    friends = gateway.friends
    assert await friends.set("alice", ["bob", "carol"]) == 2
    assert await friends.set("alice", ["carol", "dora", "dora", "alice"]) == 2
    assert await friends.of("alice") == ["carol", "dora"]
    assert await friends._friends.watchers(["bob"]) == [[]]
    assert await friends.set("alice", []) == 0
    assert await friends.of("alice") == []


async def test_friends_who_are_online_are_listed_by_id(gateway: Gateway) -> None:
    await gateway.friends.set("alice", ["dora", "carol", "bob"])
    async with (
        connect_as(gateway, "dora"),
        connect_as(gateway, "bob", claims={"email": "b@x"}),
        connect_as(gateway, "stranger"),
    ):
        online = await gateway.friends.online("alice")
    assert [(friend.user_id, friend.email) for friend in online] == [("bob", "b@x"), ("dora", None)]
    assert all(friend.status == "online" and friend.last_seen for friend in online)
    assert await gateway.friends.online("stranger") == []


async def test_a_mutual_friendship_is_on_both_lists(gateway: Gateway) -> None:
    friends = gateway.friends
    assert await friends.add("alice", ["bob", "alice", "bob"]) == 1
    assert await friends.of("bob") == ["alice"]
    assert await friends.add("alice", ["carol"], mutual=False) == 2
    assert await friends.of("carol") == []
    assert await friends.remove("alice", ["bob", "stranger"]) == 1
    assert await friends.of("bob") == []
    await friends.add("alice", ["bob"])
    assert await friends.remove("alice", ["bob"], mutual=False) == 1
    assert await friends.of("bob") == ["alice"]
