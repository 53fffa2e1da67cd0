"""Services while something else fails: a gateway process, the store, the database."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.client import Client, connect, connect_as, connect_service, dial_service, eventually
from tests.e2e.conftest import HERALD_KEY, MakeDatabase, Name
from tests.e2e.gateways import Deployment
from tests.e2e.services import eventually_none, sessions_of
from tests.postgresql import PostgreSQL, running_postgresql
from tests.valkey import Valkey, stopped
from tests.waiting import wait_until

VARIABLES = {
    "CUSTOM_SERVICES": f"herald:{HERALD_KEY}:news",
    "NODE_LEASE": "2",
    "RECONCILE_INTERVAL": "1",
    "REDIS_TIMEOUT": "2",
}


@pytest.fixture
def faulty(fragile: Deployment, make_database: MakeDatabase) -> Deployment:
    fragile.variables = {**VARIABLES, "DATABASE_URL": make_database()}
    return fragile


async def test_sessions_of_a_process_that_is_killed_are_buried(
    deployment: Deployment, make_database: MakeDatabase
) -> None:
    deployment.variables = {**VARIABLES, "DATABASE_URL": make_database()}
    first, second = deployment.start_pair("internal")
    client = await dial_service(first.internal_url, "herald", HERALD_KEY)
    async with connect_service(second.internal_url, "herald", HERALD_KEY):
        assert sessions_of(deployment, "herald") == 2
        os.kill(first.node_pid, signal.SIGKILL)
        await client.closed()

        async def one_is_left() -> bool:
            return sessions_of(deployment, "herald") == 1

        await eventually(one_is_left, "the dead one's session to be buried")
    await eventually_none(deployment, "herald")


async def test_sessions_outlive_the_stores_loss_of_data(faulty: Deployment) -> None:
    gateway = faulty.start("internal")
    async with connect_service(gateway.internal_url, "herald", HERALD_KEY) as client:
        with faulty.valkey.client() as redis:
            redis.flushall()

        async def is_back() -> bool:
            return sessions_of(faulty, "herald") == 1

        await eventually(is_back, "the session to be put back")
        assert "service" in await client.request("ping")


async def test_without_the_store_requests_fail_in_time_and_sessions_stay(
    faulty: Deployment, name: Name
) -> None:
    gateway = faulty.start("internal")
    async with connect_service(gateway.internal_url, "herald", HERALD_KEY) as client:
        async with stopped(faulty.valkey):
            assert (await client.message(name("bob"), "lost"))["code"] == "unavailable"
            async with connect(gateway.internal_url) as other:
                reply = await other.authenticate_service("herald", HERALD_KEY)
                assert reply["code"] == "unavailable"
                assert reply["retryAfterMs"] > 0
        faulty.valkey.restart()
        await eventually(lambda: _sends(client, name("bob")), "messages to be taken again")
        async with connect_service(gateway.internal_url, "herald", HERALD_KEY):
            wait_until(lambda: sessions_of(faulty, "herald") == 2, "both sessions in the store")


async def _sends(client: Client, user_id: str) -> bool:
    return bool((await client.message(user_id, "hello"))["status"] == "sent")


class TestWithoutTheDatabase:
    @pytest.fixture
    def own_postgresql(self) -> Iterator[PostgreSQL]:
        with running_postgresql() as server:
            yield server

    async def test_no_messages_path_touches_it(
        self, own_postgresql: PostgreSQL, valkey: Valkey, tmp_path: Path, name: Name
    ) -> None:
        deployment = Deployment(
            valkey,
            tmp_path,
            **{**VARIABLES, "DATABASE_URL": own_postgresql.create_database("gateway")},
        )
        deployment.logs_stay_clean = False
        try:
            gateway = deployment.start("all")
            async with (
                connect_service(gateway.internal_url, "herald", HERALD_KEY) as client,
                connect_as(gateway.url, name("alice")) as alice,
            ):
                own_postgresql.process.send_signal(signal.SIGQUIT)  # at once, without goodbye
                own_postgresql.process.wait(20)
                receipt = await client.message(name("alice"), "still here")
                assert receipt["recipients"]["sent"] == [name("alice")]
                await alice.pushed("message")
                assert (await client.request("list_services"))["code"] == "unavailable"
                async with connect(gateway.internal_url) as other:
                    reply = await other.authenticate_service("herald", HERALD_KEY)
                    assert reply["code"] == "unavailable"
                # Several reconciles later the session still stands: nobody said that it may not.
                for _ in range(30):
                    assert "service" in await client.request("ping")
        finally:
            deployment.stop()
