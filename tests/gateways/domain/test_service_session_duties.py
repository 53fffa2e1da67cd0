"""What a node does for services' sessions now and then: it sets a wrong list right."""

import dataclasses

import pytest
from redis.asyncio import Redis

from gateways.config import Config
from gateways.gateway import Gateway
from gateways.store.keys import Keys
from gateways.store.service_sessions import StoredServiceSession
from services_registry.models import Service
from tests.conftest import MakeGateway
from tests.gateways.consumers.client import connect_service
from tests.gateways.service_sessions import (
    listed,
    open_ghost,
    session_id,
    session_of,
)

pytestmark = pytest.mark.usefixtures("services_database", "bank")


@pytest.fixture
def config(config: Config) -> Config:
    """Nothing happens but what the test does."""
    return dataclasses.replace(config, node_lease_seconds=3000, reconcile_interval_seconds=3000)


async def test_activity_is_told_of_those_that_were_active(
    gateway: Gateway, herald: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[set[str]] = []
    real = gateway.service_sessions._store.touch

    async def touch(activity: dict[str, int]) -> None:
        told.append(set(activity))
        await real(activity)

    monkeypatch.setattr(gateway.service_sessions._store, "touch", touch)
    async with connect_service(gateway, "herald") as active, connect_service(gateway, "herald"):
        await gateway.service_sessions.tell_activity()
        await active.request("ping")
        session = session_of(gateway, active)
        await gateway.service_sessions.tell_activity()
        await gateway.service_sessions.tell_activity()
        assert [each for each in told if each] == [{session.session_id}]
        activity = {s.session_id: s.last_activity_ms for s in await gateway.service_sessions.all()}
        assert activity[session.session_id] == session.active_ms


async def test_a_reconcile_ends_what_somebody_took_out_of_the_list(
    gateway: Gateway, herald: Service, redis: "Redis", keys: Keys
) -> None:
    """Its nudge was lost."""
    async with (
        connect_service(gateway, "herald") as ended,
        connect_service(gateway, "bank") as bank,
    ):
        await redis.hdel(keys.service_sessions, session_id(ended))
        await gateway.service_sessions.reconcile()
        assert await ended.closed() == 4403
        assert "service" in await bank.request("ping")


async def test_a_reconcile_takes_out_what_this_node_does_not_have_and_no_others(
    gateway: Gateway, herald: Service
) -> None:
    await open_ghost(gateway, f"{gateway.node_id}.gone")
    await open_ghost(gateway, "other.1")
    async with connect_service(gateway, "herald") as client:
        await gateway.service_sessions.reconcile()
        assert await listed(gateway) == ["other.1", session_id(client)]
        assert client.close_code is None


@pytest.mark.parametrize("lost", ["sessions and life", "life"])
async def test_a_reconcile_puts_back_what_the_store_lost_with_its_data(
    gateway: Gateway, herald: Service, redis: "Redis", keys: Keys, lost: str
) -> None:
    async with connect_service(gateway, "herald") as client:
        (before,) = await gateway.service_sessions.all()
        await redis.delete(keys.life)
        if lost != "life":
            await redis.delete(keys.service_sessions)
        await gateway.node._nodes.renew(gateway.node_id, new_name="another")
        for _ in range(2):
            await gateway.service_sessions.reconcile()
            assert await gateway.service_sessions.all() == [before]
        assert session_of(gateway, client).life == "another"
        # In its new life, too, what somebody takes out is ended.
        await gateway.service_sessions._store.close([before.session_id])
        await gateway.service_sessions.reconcile()
        assert await client.closed() == 4403


async def test_a_reconcile_leaves_alone_who_is_just_coming_in(
    gateway: Gateway, herald: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = gateway.service_sessions._store.open

    async def opened(session: StoredServiceSession) -> str:
        await gateway.service_sessions.reconcile()  # it is not in the store yet
        life = await real(session)
        await gateway.service_sessions.reconcile()  # it is, and the answer is under way
        return life

    monkeypatch.setattr(gateway.service_sessions._store, "open", opened)
    async with connect_service(gateway, "herald") as client:
        await gateway.service_sessions.reconcile()
        assert await listed(gateway) == [session_id(client)]
        assert "service" in await client.request("ping")


async def test_a_burial_takes_the_dead_ones_and_no_others(
    gateway: Gateway, herald: Service
) -> None:
    for ghost_id in ("dead.1", "dead.2", "deader.1"):
        await open_ghost(gateway, ghost_id)
    async with connect_service(gateway, "herald") as client:
        assert await gateway.service_sessions.bury("dead") == 2
        assert await gateway.service_sessions.bury("dead") == 0
        assert await listed(gateway) == ["deader.1", session_id(client)]


async def test_a_sweep_ends_what_no_living_node_holds(gateway: Gateway, herald: Service) -> None:
    await open_ghost(gateway, "dead.1")
    async with connect_service(gateway, "herald") as client:
        for dry_run in (True, False):
            (finding,) = await gateway.service_sessions.sweep(dry_run=dry_run)
            assert (finding.session.session_id, finding.reason) == ("dead.1", "its node is gone")
        assert await gateway.service_sessions.sweep() == []
        assert await listed(gateway) == [session_id(client)]
        assert client.close_code is None


async def test_a_sweep_ends_sessions_that_idled_for_too_long(
    make_gateway: MakeGateway, herald: Service
) -> None:
    sweeper, other = await make_gateway(), await make_gateway()
    async with connect_service(other, "herald") as idler, connect_service(other, "bank") as busy:
        await other.service_sessions._store.touch({session_id(idler): 1})
        (finding,) = await sweeper.service_sessions.sweep(idle_seconds=3600, dry_run=True)
        assert finding.reason.startswith("idle for")
        assert await sweeper.service_sessions.sweep() == []
        assert len(await sweeper.service_sessions.sweep(idle_seconds=3600)) == 1
        assert await idler.closed() == 4408
        assert await listed(sweeper) == [session_id(busy)]
        assert "service" in await busy.request("ping")
