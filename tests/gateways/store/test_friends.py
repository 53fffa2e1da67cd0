"""Friend lists: both sides agree, and repeating a write mends a half one."""

import pytest
from redis.asyncio import Redis

from gateways.store.batcher import Batcher
from gateways.store.friends import FriendStore
from gateways.store.keys import Keys

AWKWARD = ["{", "}", "a:b", "*", " ", "😀", "مرحبا", "x" * 128]


@pytest.fixture
def friends(batcher: Batcher, keys: Keys) -> FriendStore:
    return FriendStore(batcher, keys)


async def watchers(friends: FriendStore, user_id: str) -> list[str]:
    (those,) = await friends.watchers([user_id])
    return those


async def test_a_list_has_another_side(friends: FriendStore) -> None:
    await friends.add("alice", ["bob", "carol"])
    await friends.add("dora", ["bob"])
    assert await friends.of("alice") == ["bob", "carol"]
    assert sorted(await watchers(friends, "bob")) == ["alice", "dora"]
    assert await friends.count("alice") == 2
    assert await friends.of("bob") == []  # being on a list is not having one


async def test_removing_takes_both_sides_away(friends: FriendStore) -> None:
    await friends.add("alice", ["bob", "carol"])
    await friends.remove("alice", ["bob", "stranger"])
    assert await friends.of("alice") == ["carol"]
    assert await watchers(friends, "bob") == []


async def test_awkward_ids_are_friends_like_any_other(friends: FriendStore) -> None:
    await friends.add("}alice{", AWKWARD)
    assert await friends.of("}alice{") == sorted(AWKWARD)
    for friend in AWKWARD:
        assert await watchers(friends, friend) == ["}alice{"]


async def test_lists_of_thousands_go_in_steps(friends: FriendStore) -> None:
    many = [f"friend{n:05}" for n in range(2500)]
    await friends.add("alice", many)
    assert await friends.of("alice") == many
    assert await watchers(friends, many[-1]) == ["alice"]
    await friends.remove("alice", many[1:])
    assert await friends.of("alice") == many[:1]


async def test_no_friends_are_no_call(friends: FriendStore) -> None:
    await friends.add("alice", [])
    await friends.remove("alice", [])
    assert await friends.of("alice") == []


async def test_repeating_a_write_mends_a_half_one(
    friends: FriendStore, redis: "Redis", keys: Keys
) -> None:
    await friends.add("alice", ["bob"])
    await redis.delete(keys.friend_of("bob"))
    await friends.add("alice", ["bob"])
    assert await watchers(friends, "bob") == ["alice"]


async def test_a_user_is_put_on_the_lists_of_others_and_taken_off(friends: FriendStore) -> None:
    await friends.enlist("alice", ["bob", "carol"])
    assert await friends.of("bob") == ["alice"]
    assert sorted(await watchers(friends, "alice")) == ["bob", "carol"]
    await friends.delist("alice", ["bob"])
    assert await friends.of("bob") == []
    assert await watchers(friends, "alice") == ["carol"]
