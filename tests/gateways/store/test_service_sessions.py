"""Services' sessions as the store lists them."""

import dataclasses

import pytest
from redis.asyncio import Redis

from gateways.store.batcher import Batcher
from gateways.store.keys import Keys
from gateways.store.nodes import NodeStore
from gateways.store.service_sessions import ServiceSessionStore, StoredServiceSession

HERALD = StoredServiceSession("one.1", "herald", "10.0.0.7", 1000, 2000)
#: What could be taken for the record's own punctuation.
AWKWARD = StoredServiceSession("two.1", "a-b_c", 'fe80::1%|{"', 3000, 3000)


@pytest.fixture
def sessions(batcher: Batcher, keys: Keys) -> ServiceSessionStore:
    return ServiceSessionStore(batcher, keys)


@pytest.fixture
def nodes(batcher: Batcher, keys: Keys) -> NodeStore:
    return NodeStore(batcher, keys, lease_seconds=60)


async def everything(sessions: ServiceSessionStore) -> list[StoredServiceSession]:
    return sorted(await sessions.all(), key=lambda session: session.session_id)


async def test_what_is_opened_is_listed_as_it_was(sessions: ServiceSessionStore) -> None:
    assert await everything(sessions) == []
    for session in (HERALD, AWKWARD, HERALD):
        await sessions.open(session)
    assert await everything(sessions) == [HERALD, AWKWARD]
    assert (HERALD.node_id, AWKWARD.node_id) == ("one", "two")


async def test_each_answer_says_which_life_of_the_store_it_is_from(
    sessions: ServiceSessionStore, nodes: NodeStore
) -> None:
    assert await sessions.open(HERALD) == ""
    assert await sessions.ids() == (["one.1"], "")
    await nodes.renew("one", new_name="first")
    assert await sessions.open(AWKWARD) == "first"
    ids, life = await sessions.ids()
    assert (sorted(ids), life) == (["one.1", "two.1"], "first")


async def test_closing_says_how_many_there_were(sessions: ServiceSessionStore) -> None:
    for session in (HERALD, AWKWARD):
        await sessions.open(session)
    assert await sessions.close(["one.1", "never.1"]) == 1
    assert await sessions.close(["one.1"]) == 0
    assert await sessions.close([]) == 0
    assert await everything(sessions) == [AWKWARD]


async def test_activity_moves_and_nothing_else(sessions: ServiceSessionStore) -> None:
    for session in (HERALD, AWKWARD):
        await sessions.open(session)
    await sessions.touch({})
    await sessions.touch({"two.1": 2**42})
    assert await everything(sessions) == [
        HERALD,
        dataclasses.replace(AWKWARD, last_activity_ms=2**42),
    ]


async def test_a_session_that_ended_is_not_brought_back_by_its_activity(
    sessions: ServiceSessionStore, redis: "Redis", keys: Keys
) -> None:
    await sessions.open(HERALD)
    await sessions.touch({"gone.1": 5, "one.1": 6, "gone.2": 7})
    assert await redis.hkeys(keys.service_sessions) == [b"one.1"]
    assert (await sessions.all())[0].last_activity_ms == 6
