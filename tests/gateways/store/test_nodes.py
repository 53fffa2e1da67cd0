"""Nodes: leases, claims and duties, each decided once by the store."""

import asyncio

import pytest
from redis.asyncio import Redis

from gateways.store.batcher import Batcher
from gateways.store.keys import Keys
from gateways.store.nodes import NodeStore
from tests.gateways.consumers.client import until


@pytest.fixture
def nodes(batcher: Batcher, keys: Keys) -> NodeStore:
    return NodeStore(batcher, keys, lease_seconds=60)


@pytest.fixture
def short(batcher: Batcher, keys: Keys) -> NodeStore:
    """The same nodes, with leases that are over at once."""
    return NodeStore(batcher, keys, lease_seconds=0)


async def test_the_first_lease_begins_a_term_and_the_next_ones_are_of_it(nodes: NodeStore) -> None:
    first = await nodes.renew("a", new_name="one")
    assert (first.term, first.claimed, first.life, first.expired) == ("one", False, "one", [])
    again = await nodes.renew("a", new_name="two")
    assert (again.term, again.life) == ("one", "one")
    assert await nodes.all() == ["a"]


async def test_who_was_buried_is_told_at_each_later_renewal(nodes: NodeStore) -> None:
    """Of several that come late, the answers of the first may be lost."""
    await nodes.renew("a", new_name="one")
    await nodes.forget("a")
    assert [(await nodes.renew("a", new_name=name)).term for name in ("two", "three")] == [
        "two"
    ] * 2


async def test_a_loss_of_data_shows_as_another_life(
    nodes: NodeStore, redis: "Redis", keys: Keys
) -> None:
    await nodes.renew("a", new_name="one")
    await redis.delete(keys.life, keys.leases)
    lease = await nodes.renew("a", new_name="two")
    assert (lease.term, lease.life) == ("two", "two")


async def test_a_lease_that_ran_out_is_seen_by_the_others(
    nodes: NodeStore, short: NodeStore
) -> None:
    await short.renew("dead", new_name="life")
    await nodes.renew("a", new_name="life")
    assert "dead" in (await nodes.renew("a", new_name="life")).expired


async def test_after_an_outage_nobody_is_taken_for_dead_however_many_there_are(
    nodes: NodeStore, short: NodeStore
) -> None:
    names = [f"node{number}" for number in range(40)]
    for name in names:
        await short.renew(name, new_name="life")
    # One that has just begun comes first; the store was away for the others, who know it.
    assert (await nodes.renew("newcomer", new_name="life")).expired == []
    for name in reversed(names):
        assert (await nodes.renew(name, new_name="life")).expired == []


async def test_whoever_does_not_come_back_after_an_outage_is_seen_a_lease_later(
    nodes: NodeStore, short: NodeStore
) -> None:
    for name in ("dead", "a"):
        await short.renew(name, new_name="life")
    assert (await nodes.renew("a", new_name="life")).expired == []
    assert (await nodes.renew("a", new_name="life")).expired == []
    await short.drop_lease("dead", grace_seconds=0)
    assert (await nodes.renew("a", new_name="life")).expired == ["dead"]


async def test_exactly_one_claims_the_dead(nodes: NodeStore, short: NodeStore) -> None:
    await nodes.renew("a", new_name="life")
    await short.renew("dead", new_name="life")
    claims = await asyncio.gather(*[nodes.claim("dead", f"node{n}") for n in range(10)])
    assert sum(claims) == 1
    assert (await nodes.renew("a", new_name="life")).expired == []


async def test_the_living_and_the_unknown_cannot_be_claimed(nodes: NodeStore) -> None:
    await nodes.renew("alive", new_name="life")
    assert not await nodes.claim("alive", "a")
    assert not await nodes.claim("stranger", "a")


async def test_a_claimed_node_does_not_get_its_lease_back_until_it_is_buried(
    nodes: NodeStore, short: NodeStore
) -> None:
    await short.renew("dead", new_name="one")
    await nodes.claim("dead", "a")
    lease = await nodes.renew("dead", new_name="two")
    assert (lease.term, lease.claimed) == ("one", True)
    await nodes.forget("dead")
    assert await nodes.all() == []
    lease = await nodes.renew("dead", new_name="three")
    assert (lease.term, lease.claimed) == ("three", False)
    assert await nodes.all() == ["dead"]


async def test_a_claimer_that_dies_over_it_is_followed_by_another(
    nodes: NodeStore, short: NodeStore
) -> None:
    await short.renew("dead", new_name="life")
    assert await short.claim("dead", "a")
    await nodes.renew("b", new_name="life")
    assert (await nodes.renew("b", new_name="life")).expired == ["dead"]
    assert await nodes.claim("dead", "b")


async def test_a_node_that_goes_in_order_is_buried_after_the_grace(nodes: NodeStore) -> None:
    await nodes.renew("leaver", new_name="life")
    await nodes.drop_lease("leaver", grace_seconds=0.05)

    async def seen() -> bool:
        return "leaver" in (await nodes.renew("a", new_name="life")).expired

    await until(seen)


async def test_a_node_that_goes_does_not_take_its_burial_from_its_claimer(
    nodes: NodeStore, short: NodeStore
) -> None:
    await short.renew("dead", new_name="life")
    await nodes.claim("dead", "a")
    await nodes.renew("a", new_name="life")
    await nodes.drop_lease("dead", grace_seconds=0)
    assert (await nodes.renew("a", new_name="life")).expired == []
    await nodes.drop_lease("stranger", grace_seconds=0)
    assert "stranger" not in await nodes.all()


async def test_a_node_knows_whom_it_holds(nodes: NodeStore) -> None:
    users = {f"user{n}" for n in range(1500)} | {"}😀{", "a:b"}
    await asyncio.gather(*[nodes.hold("a", user_id) for user_id in users])
    found = [user_id async for page in nodes.users("a") for user_id in page]
    assert set(found) == users
    await nodes.let_go("a", "}😀{")
    assert "}😀{" not in [user_id async for page in nodes.users("a") for user_id in page]
    assert [page async for page in nodes.users("stranger")] == []


async def test_a_duty_is_taken_by_one(nodes: NodeStore, redis: "Redis", keys: Keys) -> None:
    taken = await asyncio.gather(
        *[nodes.take_duty("sweep", f"node{n}", seconds=60) for n in range(10)]
    )
    assert sum(taken) == 1
    assert await nodes.take_duty("another", "a", seconds=60)
    await redis.delete(keys.duty("sweep"))
    assert await nodes.take_duty("sweep", "a", seconds=60)
