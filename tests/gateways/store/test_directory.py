"""The directory: pages in order, a cursor that stays right while others come and go."""

import pytest
from redis.asyncio import Redis

from gateways.store.batcher import Batcher
from gateways.store.directory import DirectoryStore
from gateways.store.keys import DIRECTORY_SHARDS, Keys

USERS = [f"user{n}" for n in range(100)] + ["{", "}", "a:b", "*", " ", "😀", "مرحبا", "+", "-", "("]


@pytest.fixture
def directory(batcher: Batcher, keys: Keys) -> DirectoryStore:
    return DirectoryStore(batcher, keys)


async def everybody(directory: DirectoryStore, limit: int) -> list[str]:
    found: list[str] = []
    for shard in range(DIRECTORY_SHARDS):
        after = ""
        while page := await directory.page(shard, after, limit):
            assert len(page) <= limit
            found += page
            after = page[-1]
    return found


@pytest.mark.parametrize("limit", [1, 3, 1000])
async def test_pages_of_any_size_hold_everybody_once(directory: DirectoryStore, limit: int) -> None:
    await directory.write(dict.fromkeys(USERS, True))
    found = await everybody(directory, limit)
    assert sorted(found) == sorted(USERS)
    assert await directory.total() == len(USERS)


async def test_who_went_offline_is_not_listed(directory: DirectoryStore) -> None:
    await directory.write(dict.fromkeys(USERS, True))
    await directory.write({"user1": False, "😀": False, "stranger": False})
    assert await directory.total() == len(USERS) - 2
    assert await directory.contains(["user1", "user2", "😀", "*"]) == [False, True, False, True]


async def test_writing_twice_changes_nothing(directory: DirectoryStore) -> None:
    for _ in range(2):
        await directory.write({"alice": True, "bob": False})
    assert await directory.total() == 1


async def test_a_cursor_stays_right_while_others_come_and_go(
    directory: DirectoryStore, redis: "Redis", keys: Keys
) -> None:
    await directory.write(dict.fromkeys(USERS, True))
    shard = max(range(DIRECTORY_SHARDS), key=lambda s: sum(keys.shard(u) == s for u in USERS))
    first = list(await directory.page(shard, "", 3))
    rest = list(await directory.page(shard, first[-1], 1000))
    await directory.write({first[0]: False, first[-1]: False})
    assert list(await directory.page(shard, first[-1], 1000)) == rest
