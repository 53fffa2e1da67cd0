"""A user's own sessions, and the sweep over everybody's."""

import asyncio
import dataclasses
from typing import Any

import pytest
from redis.asyncio import Redis

from gateways.config import Config
from gateways.domain.sessions import Finding
from gateways.gateway import Gateway
from gateways.protocol.errors import InvalidPayload
from gateways.store.keys import Keys
from gateways.store.records import SessionRecord
from tests.conftest import MakeGateway
from tests.gateways.consumers.client import connect_as, until


async def open_ghost(gateway: Gateway, user_id: str, session_id: str) -> None:
    """A session that no socket holds, and that is in the directory."""
    await gateway.presence._sessions.open(
        user_id,
        session_id,
        SessionRecord(None, None, 0),
        email=None,
        new_epoch="e",
        resume=None,
    )
    await gateway.announcer.index([user_id])


async def sweep(gateway: Gateway, **options: Any) -> list[Finding]:
    found = [finding async for finding in gateway.sessions.sweep(**options)]
    await gateway.presence.settle(timeout_seconds=5)
    return found


async def session_ids(gateway: Gateway, user_id: str) -> list[str]:
    (ids,) = await gateway.presence._sessions.ids_of_users([user_id])
    return ids


async def test_a_user_sees_all_devices_on_all_nodes_oldest_first(make_gateway: MakeGateway) -> None:
    one, other = await make_gateway(), await make_gateway()
    async with connect_as(one, "alice", deviceId="phone", claims={"deviceInfo": "x"}) as phone:
        await asyncio.sleep(0.002)  # connectedAt is in milliseconds
        async with connect_as(other, "alice"), connect_as(other, "bob"):
            (session,) = one.hub.of_user("alice")
            infos = await one.sessions.of(session)
    assert [info.device_id for info in infos] == ["phone", None]
    assert [info.current for info in infos] == [True, False]
    assert infos[0].device_info == "x"
    assert infos[0].session_id == phone.seen("connected")[0]["sessionId"]
    assert all(info.connected_at <= info.last_activity for info in infos)


async def test_closing_another_device_ends_it_wherever_it_is(make_gateway: MakeGateway) -> None:
    one, other = await make_gateway(), await make_gateway()
    async with connect_as(one, "alice"), connect_as(other, "alice") as tablet:
        (session,) = one.hub.of_user("alice")
        tablet_id = tablet.seen("connected")[0]["sessionId"]
        await one.sessions.close_other(session, tablet_id)
        assert await tablet.closed() == 4403
        assert await session_ids(one, "alice") == [session.session_id]
        with pytest.raises(InvalidPayload):
            await one.sessions.close_other(session, tablet_id)
        with pytest.raises(InvalidPayload):
            await one.sessions.close_other(session, session.session_id)


async def test_nobody_closes_a_strangers_session(gateway: Gateway) -> None:
    async with connect_as(gateway, "alice"), connect_as(gateway, "bob") as bob:
        (session,) = gateway.hub.of_user("alice")
        with pytest.raises(InvalidPayload):
            await gateway.sessions.close_other(session, bob.seen("connected")[0]["sessionId"])
        assert bob.close_code is None


async def test_everybody_is_listed_with_all_sessions(make_gateway: MakeGateway) -> None:
    one, other = await make_gateway(), await make_gateway()
    async with (
        connect_as(one, "alice"),
        connect_as(other, "alice"),
        connect_as(other, "}مرحبا{"),
    ):
        found = {user.user_id: len(user.sessions) async for user in one.sessions.everybody()}
        assert found == {"alice": 2, "}مرحبا{": 1}
        await one.directory._directory.write({"alice": False})  # the nodes know her still
        found = {user.user_id: len(user.sessions) async for user in one.sessions.everybody()}
        assert found == {"alice": 2, "}مرحبا{": 1}


async def test_a_sweep_ends_what_no_living_node_holds(gateway: Gateway) -> None:
    await open_ghost(gateway, "ghost", "dead.1")
    async with connect_as(gateway, "alice") as alice:
        assert [f.session_id for f in await sweep(gateway, dry_run=True)] == ["dead.1"]
        assert await session_ids(gateway, "ghost") == ["dead.1"]
        (finding,) = await sweep(gateway)
        assert (finding.user_id, finding.reason) == ("ghost", "its node is gone")
        assert await session_ids(gateway, "ghost") == []
        assert await gateway.directory._directory.contains(["ghost"]) == [False]
        assert await sweep(gateway) == []
        assert alice.close_code is None


async def test_a_sweep_spares_the_sessions_of_a_node_that_came_while_it_swept(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeper = await make_gateway()
    await open_ghost(sweeper, "ghost", "dead.1")
    real = sweeper.sessions._directory.page
    comer: list[Gateway] = []

    async def page(*args: Any) -> Any:
        if not comer:
            comer.append(await make_gateway())
            await open_ghost(comer[0], "alice", f"{comer[0].node_id}.1")
        return await real(*args)

    monkeypatch.setattr(sweeper.sessions._directory, "page", page)
    assert [finding.user_id for finding in await sweep(sweeper)] == ["ghost"]
    assert await session_ids(sweeper, "alice") == [f"{comer[0].node_id}.1"]


async def test_a_sweep_ends_presence_that_no_session_holds_up(gateway: Gateway) -> None:
    await open_ghost(gateway, "ghost", "dead.1")
    await gateway.presence._sessions.close("ghost", "dead.1", goodbye=False)
    (finding,) = await sweep(gateway)
    assert (finding.session_id, finding.reason) == ("", "online without a session")
    (state,) = await gateway.presence._sessions.states(["ghost"])
    assert not state.online


async def test_a_sweep_ends_sessions_that_idled_for_too_long(
    gateway: Gateway, config: Config
) -> None:
    async with connect_as(gateway, "idler") as idler, connect_as(gateway, "alice") as alice:
        (session,) = gateway.hub.of_user("idler")
        async with Redis.from_url(config.redis_url) as redis:
            key = Keys(config.redis_prefix).sessions("idler")
            value = await redis.hget(key, session.session_id)
            assert isinstance(value, bytes)
            await redis.hset(key, session.session_id, b"1|" + value.partition(b"|")[2])
        (finding,) = await sweep(gateway, idle_seconds=3600, dry_run=True)
        assert finding.reason.startswith("idle for")
        assert idler.close_code is None
        assert len(await sweep(gateway, idle_seconds=3600)) == 1
        assert await idler.closed() == 4408
        assert alice.close_code is None


async def test_a_sweep_sets_the_directory_right(gateway: Gateway) -> None:
    async with connect_as(gateway, "alice"):
        await gateway.presence.settle(timeout_seconds=5)
        await gateway.directory._directory.write({"alice": False, "ghost": True})
        await sweep(gateway)
        assert await gateway.directory._directory.contains(["alice", "ghost"]) == [True, False]


async def test_a_node_whose_lease_ran_out_but_is_not_buried_yet_counts_as_alive(
    make_gateway: MakeGateway, config: Config
) -> None:
    """Its burial is another's duty, and comes within seconds."""
    gateway = await make_gateway(dataclasses.replace(config, node_lease_seconds=3000))
    await gateway.node._nodes.drop_lease(gateway.node_id, grace_seconds=0)
    async with connect_as(gateway, "alice") as alice:
        assert await sweep(gateway) == []
        await until(lambda: alice.close_code is None)
