"""What a node does for services' sessions among its other duties: as for users', and as soon."""

import dataclasses
from collections.abc import Iterator

import pytest
from redis.asyncio import Redis

from gateways.config import Config
from gateways.consumers.internal import InternalConsumer
from gateways.gateway import Gateway
from gateways.store.keys import Keys
from services_registry import services
from services_registry.models import Service
from tests.conftest import MakeGateway
from tests.gateways.consumers.client import Client, connect_internal, connect_service, until
from tests.gateways.nodes import abandon, die
from tests.gateways.service_sessions import listed, nobody_is_left, open_ghost, session_id
from tests.gateways.services import OPERATOR, on_thread
from tests.valkey import Valkey, running_valkey

pytestmark = pytest.mark.usefixtures("services_database", "herald", "bank")


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    """A server of this module's own: its tests do what others could not bear."""
    with running_valkey() as server:
        yield server


@pytest.fixture
def config(config: Config) -> Config:
    return dataclasses.replace(config, node_lease_seconds=0.9, reconcile_interval_seconds=0.3)


async def until_listed(gateway: Gateway, *session_ids: str) -> None:
    async def are_listed() -> bool:
        return sorted(await listed(gateway)) == sorted(session_ids)

    await until(are_listed, f"{session_ids} in the store")


async def test_a_dead_nodes_services_are_buried_with_its_users(make_gateway: MakeGateway) -> None:
    dead, one = await make_gateway(), await make_gateway()
    ghost = Client(dead, consumer=InternalConsumer)
    assert "serviceName" in await ghost.authenticate_service("herald")
    async with connect_service(one, "herald") as client:
        await die(dead)
        await until_listed(one, session_id(client))
        assert "service" in await client.request("ping")
    await abandon(ghost)


async def test_a_node_that_was_given_up_tells_services_to_come_back(
    gateway: Gateway, redis: "Redis", keys: Keys
) -> None:
    async with connect_service(gateway, "herald") as client:
        await redis.hset(keys.claims, gateway.node_id, "another")
        assert await client.closed() == 4508
        async with connect_internal(gateway) as late:
            assert (await late.authenticate_service("herald"))["code"] == "unavailable"
        await gateway.node._nodes.forget(gateway.node_id)
        await until(lambda: gateway.node.serving)
        async with connect_service(gateway, "herald"):
            pass


async def test_services_are_put_back_after_the_store_lost_its_data(
    make_gateway: MakeGateway, redis: "Redis"
) -> None:
    one, other = await make_gateway(), await make_gateway()
    async with connect_service(one, "herald") as here, connect_service(other, "bank") as there:
        await redis.flushdb()
        await until_listed(one, session_id(here), session_id(there))
        for client in (here, there):
            assert "service" in await client.request("ping")
            assert len(client.seen("service_authenticated")) == 1  # nothing began anew


async def test_a_session_that_was_ended_in_the_store_is_closed(
    gateway: Gateway, redis: "Redis", keys: Keys
) -> None:
    async with (
        connect_service(gateway, "herald") as ended,
        connect_service(gateway, "bank") as bank,
    ):
        await redis.hdel(keys.service_sessions, session_id(ended))
        assert await ended.closed() == 4403
        assert bank.close_code is None


async def test_a_notice_that_was_lost_is_made_up_for(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services_registry.notices.send_after_commit", lambda _: None)
    async with (
        connect_service(gateway, "herald") as herald,
        connect_service(gateway, "bank") as bank,
    ):
        await on_thread(services.disable, "herald", OPERATOR)
        assert await herald.closed() == 4403
        await until_listed(gateway, session_id(bank))


async def test_activity_is_told_with_the_lease(gateway: Gateway) -> None:
    async with connect_service(gateway, "herald") as client:
        (before,) = await gateway.service_sessions.all()

        async def told() -> bool:
            await client.request("ping")
            (now,) = await gateway.service_sessions.all()
            return now.last_activity_ms > before.last_activity_ms

        await until(told)


async def test_who_sweeps_sweeps_services_too(make_gateway: MakeGateway, config: Config) -> None:
    gateway = await make_gateway(dataclasses.replace(config, session_cleanup_interval_seconds=0.2))
    await open_ghost(gateway, "dead.1")
    async with connect_service(gateway, "herald") as client:
        await until_listed(gateway, session_id(client))


async def test_a_node_that_stops_in_order_leaves_no_session_behind(
    make_gateway: MakeGateway,
) -> None:
    leaver, other = await make_gateway(), await make_gateway()
    async with connect_service(leaver, "herald") as client:
        await leaver.drain()
        assert await client.closed() == 1012
    await leaver.stop()
    assert await nobody_is_left(other)


async def test_that_a_service_was_here_is_noted_before_the_end(
    make_gateway: MakeGateway, herald: Service
) -> None:
    """Notes are made in the background; who stops waits for them."""
    leaver = await make_gateway()
    async with connect_service(leaver, "herald"):
        pass
    await leaver.stop()
    await on_thread(herald.refresh_from_db)
    assert herald.last_authenticated_at is not None
