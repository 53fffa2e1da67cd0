"""Sessions that end by the clock."""

import asyncio

import pytest

from tests.e2e.client import connect_as
from tests.e2e.conftest import Deploy, Name
from tests.e2e.gateways import GatewayProcess


@pytest.fixture(scope="module")
def impatient(deploy: Deploy) -> GatewayProcess:
    return deploy(IDLE_TIMEOUT="1", SESSION_EXPIRY="3", OFFLINE_GRACE="1").start()


async def test_who_asks_for_nothing_is_closed(impatient: GatewayProcess, name: Name) -> None:
    async with connect_as(impatient.url, name("alice")) as alice:
        assert await alice.closed() == 4408
        assert alice.seen("session_expired") == [{"reason": "idle"}]


async def test_receiving_is_no_activity_but_pinging_is(
    impatient: GatewayProcess, name: Name
) -> None:
    async with (
        connect_as(impatient.url, name("alice")) as alice,
        connect_as(impatient.url, name("bob")) as bob,
    ):
        while alice.close_code is None:
            await bob.message(name("alice"), "hello")
            await bob.request("ping")
            await asyncio.sleep(0.02)
        assert alice.close_code == 4408
        assert alice.seen("message")
        assert bob.close_code is None


async def test_the_longest_life_of_a_session(impatient: GatewayProcess, name: Name) -> None:
    async with connect_as(impatient.url, name("alice")) as alice:
        assert await alice.ping_until_closed() > 1
        assert await alice.closed() == 4408
        assert alice.seen("session_expired") == [{"reason": "expired"}]


async def test_an_ended_session_is_gone(impatient: GatewayProcess, name: Name) -> None:
    async with connect_as(impatient.url, name("alice")) as alice:
        await alice.closed()
    async with connect_as(impatient.url, name("alice")) as again:
        (session,) = (await again.request("get_sessions"))["sessions"]
        assert session["current"]
