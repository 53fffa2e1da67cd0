"""Friend lists: what `set`, `add` and `remove` leave on each side."""

from gateways.gateway import Gateway


async def lists(gateway: Gateway, *user_ids: str) -> list[list[str]]:
    return [await gateway.friends.of(user_id) for user_id in user_ids]


async def test_added_friends_are_on_both_lists(gateway: Gateway) -> None:
    assert await gateway.friends.add("alice", ["bob", "carol", "bob", "alice"]) == 2
    assert await lists(gateway, "alice", "bob", "carol") == [["bob", "carol"], ["alice"], ["alice"]]
    assert await gateway.friends.add("alice", ["bob"]) == 2


async def test_an_addition_that_is_not_mutual_is_on_one_list(gateway: Gateway) -> None:
    await gateway.friends.add("alice", ["bob"], mutual=False)
    assert await lists(gateway, "alice", "bob") == [["bob"], []]


async def test_removed_friends_are_on_neither_list(gateway: Gateway) -> None:
    await gateway.friends.add("alice", ["bob", "carol"])
    assert await gateway.friends.remove("alice", ["bob", "dora"]) == 1
    assert await lists(gateway, "alice", "bob", "carol") == [["carol"], [], ["alice"]]


async def test_a_removal_that_is_not_mutual_leaves_the_other_side(gateway: Gateway) -> None:
    await gateway.friends.add("alice", ["bob"])
    await gateway.friends.remove("alice", ["bob"], mutual=False)
    assert await lists(gateway, "alice", "bob") == [[], ["alice"]]


async def test_an_empty_addition_changes_nothing(gateway: Gateway) -> None:
    await gateway.friends.add("alice", ["bob"])
    assert await gateway.friends.add("alice", []) == 1
    assert await gateway.friends.remove("alice", []) == 1


async def test_a_set_list_replaces_what_was_there(gateway: Gateway) -> None:
    await gateway.friends.set("alice", ["bob", "carol"])
    assert await gateway.friends.set("alice", ["carol", "dora", "alice"]) == 2
    assert await lists(gateway, "alice") == [["carol", "dora"]]
