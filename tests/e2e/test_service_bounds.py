"""What a service may not do: come in unapproved, register anything, try for ever, stay for ever."""

import asyncio
import json
import time
from typing import Any

import pytest

from tests.e2e.client import connect, connect_service, dial
from tests.e2e.conftest import HERALD_KEY, Deploy, MakeDatabase
from tests.e2e.gateways import Deployment, GatewayProcess
from tests.e2e.services import KEY, eventually_none, manage, register


@pytest.fixture(scope="module")
def strict(deploy: Deploy, make_database: MakeDatabase) -> GatewayProcess:
    return deploy(
        DATABASE_URL=make_database(),
        REQUIRE_SERVICE_APPROVAL="true",
        ALLOWED_SERVICE_TYPES="test,trade",
        MAX_SERVICES="2",
        LIMIT_FAILED_AUTHENTICATIONS="5/3600",
        LIMIT_REGISTRATIONS="8/3600",
    ).start("internal")


async def test_a_new_service_waits_and_then_gets_in_at_its_next_try(strict: GatewayProcess) -> None:
    async with connect(strict.internal_url) as client:
        reply = await register(client, "newcomer")
        assert (reply["status"], reply["approval"]) == ("success", "pending")
        refused = await client.authenticate_service("newcomer", KEY)
        assert refused["code"] == "forbidden"
        assert "approval" in refused["error"]
        assert await client.closed() == 4403
    await manage(strict, "service", "approve", "newcomer")
    async with connect_service(strict.internal_url, "newcomer", KEY) as client:
        assert "service" in await client.request("ping")


async def test_the_registrys_bounds_hold(strict: GatewayProcess) -> None:
    async with connect(strict.internal_url) as client:
        bad: list[tuple[str, dict[str, Any], str]] = [
            ("other", {"serviceType": "spam"}, "serviceType"),
            ("Capital", {}, "serviceName"),
            ("other", {"serviceKey": "short"}, "serviceKey"),
        ]
        for service_name, data, field in bad:
            reply = await register(client, service_name, **data)
            assert reply["code"] == "invalid_payload"
            assert field in reply["error"]
        assert (await register(client, "second", serviceType="trade"))["status"] == "success"
        assert (await register(client, "third"))["code"] == "conflict"


async def test_an_address_may_not_try_for_ever(strict: GatewayProcess) -> None:
    async with connect(strict.internal_url) as client:
        codes = []
        for _ in range(9):
            reply = await register(client, "yet-another")
            codes.append(reply["code"])
        assert codes[-1] == "rate_limited"
        assert 0 < reply["retryAfterMs"] <= 450_000
    for _ in range(6):
        async with connect(strict.internal_url) as client:
            reply = await client.authenticate_service("newcomer", "wrong key")
            if reply["code"] == "rate_limited":
                break
            assert await client.closed() == 4401
    assert reply["code"] == "rate_limited"
    assert 0 < reply["retryAfterMs"] <= 720_000


async def test_a_streak_of_refusals_is_on_record(strict: GatewayProcess) -> None:
    strict.stop()
    shown = json.loads(await manage(strict, "service", "show", "newcomer", "--json"))
    refusals = [event for event in shown["events"] if event["kind"] == "refused"]
    assert sum(int(event["detail"].split()[0]) for event in refusals) >= 4
    assert {event["address"] for event in refusals} == {"127.0.0.1"}


@pytest.fixture(scope="module")
def brief(deploy: Deploy, make_database: MakeDatabase) -> Deployment:
    deployment = deploy(
        DATABASE_URL=make_database(),
        CUSTOM_SERVICES=f"herald:{HERALD_KEY}:news",
        SERVICE_SESSION_EXPIRY="3",
        SERVICE_SESSION_IDLE_TIMEOUT="1",
    )
    deployment.start("internal")
    # A key's slow hash may take as long as that on a busy machine, so it is for another process.
    deployment.start("internal", AUTH_TIMEOUT="1")
    return deployment


async def test_when_they_are_idle(brief: Deployment) -> None:
    client = await dial(brief.gateways[0].internal_url)
    await client.authenticate_service("herald", HERALD_KEY)
    assert await client.closed() == 4408
    assert client.seen("session_expired") == [{"reason": "idle"}]
    await eventually_none(brief, "herald")


async def test_at_their_expiry_however_busy_they_are(brief: Deployment) -> None:
    client = await dial(brief.gateways[0].internal_url)
    await client.authenticate_service("herald", HERALD_KEY)
    began = time.monotonic()
    while client.close_code is None:
        try:
            await client.request("list_service_types")
        except ConnectionError:
            break
        await asyncio.sleep(0.1)
    assert await client.closed() == 4408
    assert client.seen("session_expired") == [{"reason": "expired"}]
    assert time.monotonic() - began > 2.5


async def test_a_socket_that_never_authenticates_is_closed(brief: Deployment) -> None:
    client = await dial(brief.gateways[1].internal_url)
    assert await client.closed() == 4401
