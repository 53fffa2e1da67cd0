"""Nodes among nodes: leases, burials, the loss of the store's data, and going in order."""

import asyncio
import dataclasses
from collections.abc import Iterator

import pytest
from redis.asyncio import Redis

from gateways.config import Config
from gateways.gateway import Gateway
from gateways.store.errors import StoreUnavailable
from gateways.store.keys import Keys
from gateways.store.nodes import NodeStore
from gateways.store.records import SessionRecord
from tests.conftest import MakeGateway
from tests.gateways.consumers.client import Client, connect, connect_as, until
from tests.gateways.nodes import abandon, die
from tests.valkey import Valkey, running_valkey

LEASE_SECONDS = 0.9


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    """A server of this module's own: its tests do what others could not bear."""
    with running_valkey() as server:
        yield server


@pytest.fixture
def config(config: Config) -> Config:
    return dataclasses.replace(
        config, node_lease_seconds=LEASE_SECONDS, reconcile_interval_seconds=0.3
    )


async def online(gateway: Gateway, user_id: str) -> bool:
    (state,) = await gateway.presence._sessions.states([user_id])
    return state.online


async def in_directory(gateway: Gateway, user_id: str) -> bool:
    (found,) = await gateway.directory._directory.contains([user_id])
    return found


# --- leases and burials ---------------------------------------------------------------------------


async def test_a_living_node_keeps_its_lease(make_gateway: MakeGateway) -> None:
    one, other = await make_gateway(), await make_gateway()
    async with connect_as(one, "alice") as alice:
        await asyncio.sleep(2 * LEASE_SECONDS)  # what is tested is that nothing happens meanwhile
        assert set(await other.node._nodes.all()) == {one.node_id, other.node_id}
        assert alice.close_code is None
        assert await one.ready_reason() is None


async def test_a_dead_node_is_buried_once(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims: list[bool] = []
    real = NodeStore.claim

    async def claim(self: NodeStore, dead_node_id: str, node_id: str) -> bool:
        claims.append(await real(self, dead_node_id, node_id))
        return claims[-1]

    monkeypatch.setattr(NodeStore, "claim", claim)
    dead, one, other = [await make_gateway() for _ in range(3)]
    await one.friends.set("watcher", ["alice"])
    ghosts = [Client(dead, headers=()) for _ in range(2)]
    for client, user_id in zip(ghosts, ("alice", "bob"), strict=True):
        assert "user" in await client.authenticate(user_id)
    async with connect_as(other, "bob"), connect_as(one, "watcher") as watcher:
        await die(dead)
        await until(lambda: bool(watcher.seen("user_status_update")))

        async def forgotten() -> bool:
            return dead.node_id not in await one.node._nodes.all()

        await until(forgotten)
        assert not await online(one, "alice")
        assert not await in_directory(one, "alice")
        assert await online(one, "bob")  # has a session elsewhere
        assert [update["status"] for update in watcher.seen("user_status_update")] == ["offline"]
        assert sum(claims) == 1
    for client in ghosts:
        await abandon(client)


async def test_a_burial_that_is_broken_off_is_taken_up_again(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead, one = await make_gateway(), await make_gateway()
    ghost = Client(dead)
    assert "user" in await ghost.authenticate("alice")
    real, failures = one.node._sessions.reap, iter(range(1))

    async def reap(user_ids: list[str], node_id: str) -> object:
        if next(failures, None) is not None:
            raise StoreUnavailable
        return await real(user_ids, node_id)

    monkeypatch.setattr(one.node._sessions, "reap", reap)
    await die(dead)

    async def buried() -> bool:
        return not await online(one, "alice")

    await until(buried)
    await abandon(ghost)


async def test_a_node_that_was_given_up_steps_down_and_serves_again_after_its_burial(
    make_gateway: MakeGateway, redis: "Redis", keys: Keys
) -> None:
    node = await make_gateway()
    async with connect_as(node, "alice") as alice:
        await redis.hset(keys.claims, node.node_id, "another")
        assert await alice.closed() == 4508
        assert not node.node.serving
        assert "buried" in (await node.ready_reason() or "")
        async with connect(node) as late:
            reply = await late.authenticate("bob")
            assert reply["code"] == "unavailable"
        await node.node._nodes.forget(node.node_id)
        await until(lambda: node.node.serving)
        assert await node.ready_reason() is None
        async with connect_as(node, "bob"):
            pass


async def test_sessions_that_a_burial_took_are_told_to_resume_and_not_that_they_are_revoked(
    make_gateway: MakeGateway, config: Config
) -> None:
    """A node that was cut off may look after its sessions before it renews its lease."""
    node = await make_gateway(
        dataclasses.replace(config, node_lease_seconds=3000, reconcile_interval_seconds=3000)
    )
    async with connect_as(node, "alice") as alice:
        await node.node._sessions.reap(["alice"], node.node_id)
        await node.node._nodes.forget(node.node_id)
        node.node.reconcile_now()
        assert await alice.closed() == 4508


async def test_a_session_that_was_ended_in_the_store_is_closed(
    make_gateway: MakeGateway, redis: "Redis", keys: Keys
) -> None:
    """Its nudge may have been lost."""
    node = await make_gateway()
    async with connect_as(node, "alice") as alice, connect_as(node, "bob") as bob:
        (ended,) = await redis.hkeys(keys.sessions("alice"))
        await redis.hdel(keys.sessions("alice"), ended)
        assert await alice.closed() == 4403
        assert bob.close_code is None


# --- the store loses its data ---------------------------------------------------------------------


async def test_sessions_are_put_back_after_the_store_lost_its_data(
    make_gateway: MakeGateway, redis: "Redis"
) -> None:
    one, other = await make_gateway(), await make_gateway()
    async with connect_as(one, "alice") as alice, connect_as(other, "bob") as bob:
        for number in range(3):
            reply = await bob.request(
                "send_message", {"recipientIds": ["alice"], "message": str(number)}
            )
            assert reply["status"] == "sent"
        await alice.pushed("message", 3)
        await redis.flushdb()
        _, again = await alice.pushed("connected", 2)
        first = alice.seen("connected")[0]
        assert again["epoch"] != first["epoch"]
        assert again["sessionId"] == first["sessionId"]
        assert (again["seq"], again["missed"], again["recovered"]) == (0, 0, False)
        assert again["reason"] == "epoch"
        await bob.pushed("connected", 2)
        await bob.request("send_message", {"recipientIds": ["alice"], "message": "after"})
        *_, last = await alice.pushed("message", 4)
        assert (last["seq"], last["message"]) == (1, "after")

        async def directory_is_right() -> bool:
            return await in_directory(one, "alice") and await in_directory(one, "bob")

        await until(directory_is_right)
        assert alice.close_code is bob.close_code is None


async def test_a_session_that_goes_while_it_is_put_back_leaves_no_ghost(
    make_gateway: MakeGateway,
    config: Config,
    redis: "Redis",
    keys: Keys,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = await make_gateway(dataclasses.replace(config, reconcile_interval_seconds=3000))
    client = Client(node)
    assert "user" in await client.authenticate("alice")
    await redis.delete(keys.state("alice"), keys.sessions("alice"))
    (session,) = node.hub.of_user("alice")
    real, left = node.presence._nodes.hold, asyncio.Event()

    async def hold(node_id: str, user_id: str) -> None:
        await real(node_id, user_id)
        await left.wait()

    monkeypatch.setattr(node.presence._nodes, "hold", hold)
    putting_back = asyncio.create_task(session.put_back())
    await client.leave()
    await node.presence.settle(timeout_seconds=5)
    left.set()
    await putting_back

    async def gone() -> bool:
        return not await redis.exists(keys.sessions("alice")) and not await online(node, "alice")

    await until(gone)


async def test_who_was_buried_and_renewed_late_sends_its_clients_to_resume(
    make_gateway: MakeGateway, config: Config, redis: "Redis", keys: Keys
) -> None:
    """Cut off, it was buried; its renewal came through late, and the answer to that was lost."""
    node = await make_gateway()
    async with connect_as(node, "alice") as alice:
        store = NodeStore(node.redis, keys, lease_seconds=config.node_lease_seconds)
        await redis.delete(keys.sessions("alice"))
        await store.forget(node.node_id)
        await store.renew(node.node_id, new_name="late")
        node.node.reconcile_now()
        assert await alice.closed() == 4508


# --- duties ---------------------------------------------------------------------------------------


async def test_a_duty_that_fails_is_taken_up_again(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await make_gateway()
    real, failures = node.node._renew, [ZeroDivisionError(), StoreUnavailable()]
    renewals: list[bool] = []

    async def renew() -> None:
        if failures:
            raise failures.pop()
        await real()
        renewals.append(True)

    monkeypatch.setattr(node.node, "_renew", renew)
    await until(lambda: bool(renewals))
    assert await node.ready_reason() is None


async def test_what_was_handed_over_is_told_to_the_store(
    make_gateway: MakeGateway, redis: "Redis", keys: Keys
) -> None:
    node = await make_gateway()
    async with connect_as(node, "alice") as alice, connect_as(node, "bob") as bob:
        await bob.request("send_message", {"recipientIds": ["alice"], "message": "x"})
        await alice.pushed("message")

        async def told() -> bool:
            return bool(await redis.hget(keys.state("alice"), "handed") == b"1")

        await until(told)


async def test_what_could_not_be_told_is_told_later(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await make_gateway(start=False)
    node.hub.give_back_handed({("alice", "e"): 3})

    async def fail(_: object) -> None:
        raise StoreUnavailable

    monkeypatch.setattr(node.node._sessions, "mark_handed", fail)
    with pytest.raises(StoreUnavailable):
        await node.node._tell_handed()
    assert node.hub.take_handed() == {("alice", "e"): 3}


async def test_activity_is_told_with_the_lease(
    make_gateway: MakeGateway, redis: "Redis", keys: Keys
) -> None:
    node = await make_gateway()
    async with connect_as(node, "alice") as alice:
        (session,) = node.hub.of_user("alice")
        before = await redis.hget(keys.sessions("alice"), session.session_id)
        await alice.request("ping")

        async def told() -> bool:
            return bool(await redis.hget(keys.sessions("alice"), session.session_id) != before)

        await until(told)


async def test_one_node_sweeps_for_all(
    make_gateway: MakeGateway, config: Config, redis: "Redis", keys: Keys
) -> None:
    sweeping = dataclasses.replace(config, session_cleanup_interval_seconds=0.2)
    one = await make_gateway(sweeping)
    await make_gateway(sweeping)
    # Somebody whom no node answers for.
    await one.presence._sessions.open(
        "ghost", "nobody.1", nodes_record(), email=None, new_epoch="e", resume=None
    )
    await one.announcer.index(["ghost"])

    async def swept() -> bool:
        return not await online(one, "ghost") and not await in_directory(one, "ghost")

    await until(swept)


def nodes_record() -> SessionRecord:
    return SessionRecord(None, None, 0)


# --- going in order -------------------------------------------------------------------------------


async def test_a_node_that_stops_leaves_its_users_to_be_buried_after_the_grace(
    make_gateway: MakeGateway,
) -> None:
    leaver, other = await make_gateway(), await make_gateway()
    await other.friends.set("watcher", ["alice"])
    async with connect_as(other, "watcher") as watcher:
        async with connect_as(leaver, "alice") as alice:
            draining = asyncio.create_task(leaver.drain())
            assert await alice.closed() == 1012
            await draining
            assert 100 <= alice.seen("server_shutdown")[0]["retryAfterMs"] <= 2000
        await leaver.stop()
        assert await online(other, "alice")  # a grace is hers
        assert watcher.seen("user_status_update")[-1]["status"] == "online"
        await until(lambda: watcher.seen("user_status_update")[-1]["status"] == "offline")

        async def forgotten() -> bool:
            return await other.node._nodes.all() == [other.node_id]

        await until(forgotten)


async def test_whose_time_to_come_back_is_longer_than_a_grace_is_not_away_before(
    make_gateway: MakeGateway, config: Config
) -> None:
    """However long the rest of the drain takes."""
    brief = dataclasses.replace(config, offline_grace_seconds=0.05)
    leaver, other = await make_gateway(brief), await make_gateway()
    await other.friends.set("watcher", ["alice"])
    async with connect_as(other, "watcher") as watcher:
        async with connect_as(leaver, "alice") as alice:
            draining = asyncio.create_task(leaver.drain())
            assert await alice.closed() == 1012
            await draining
        await leaver.presence.settle(timeout_seconds=5)
        assert not leaver.presence._graces
        async with connect_as(other, "alice"):
            await leaver.stop()
            assert [u["status"] for u in watcher.seen("user_status_update")] == ["online"]


async def test_a_draining_node_takes_nobody_in(make_gateway: MakeGateway) -> None:
    node = await make_gateway()
    await node.drain()
    assert await node.ready_reason() == "shutting down"
    async with connect(node) as late:
        assert await late.closed() == 1012
        assert late.seen("server_shutdown")


async def test_readiness_says_what_is_amiss(make_gateway: MakeGateway) -> None:
    node = await make_gateway()
    assert await node.ready_reason() is None
    await node.mailbox.stop()  # or the next echo would be heard
    node.mailbox._hearing.clear()
    assert "channel layer" in (await node.ready_reason() or "")

    async def fail() -> None:
        raise StoreUnavailable("Redis does not answer")

    node.node._nodes.ping = fail  # type: ignore[method-assign]
    assert "Redis" in (await node.ready_reason() or "")


async def test_a_gateway_that_was_never_started_stops(make_gateway: MakeGateway) -> None:
    node = await make_gateway(start=False)
    await node.friends.set("alice", ["bob"])
    assert await node.friends.of("alice") == ["bob"]
