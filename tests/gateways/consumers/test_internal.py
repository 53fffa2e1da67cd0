"""The internal gateway's sockets: how a service gets in, stays, and goes. What it may ask for
meanwhile is in test_internal_requests.py.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from gateways.consumers.internal import InternalConsumer
from gateways.consumers.user import UserConsumer
from gateways.gateway import Gateway
from gateways.store.limits import Rate
from services_registry import services
from tests.gateways.consumers.client import (
    Client,
    connect_as,
    connect_internal,
    connect_service,
    token,
    until,
)
from tests.gateways.consumers.conftest import MakeWith
from tests.gateways.service_sessions import nobody_is_left
from tests.gateways.services import KEY, OPERATOR, Held, on_thread

pytestmark = pytest.mark.usefixtures("services_database", "herald", "bank")
PUBLIC = {"authenticate_service", "register_service", "ping"}


async def is_still(client: Client, name: str) -> bool:
    """Its socket is open, and authenticated as it was."""
    return bool((await client.request("ping"))["service"]["name"] == name)


# --- before authentication ------------------------------------------------------------------------


async def test_a_ping_needs_no_authentication(gateway: Gateway) -> None:
    async with connect_internal(gateway) as client:
        assert (await client.request("ping")).keys() == {"timestamp"}


@pytest.mark.parametrize("event", sorted(set(InternalConsumer.handlers) - PUBLIC))
async def test_everything_else_does(gateway: Gateway, event: str) -> None:
    async with connect_internal(gateway) as client:
        reply = await client.request(event, {"whatever": 1})
        assert (reply["status"], reply["code"]) == ("error", "unauthenticated")


@pytest.mark.parametrize(
    "event",
    [*sorted(set(UserConsumer.handlers) - set(InternalConsumer.handlers)), "_begin", "opened"],
)
async def test_what_is_no_event_here_is_unknown(gateway: Gateway, event: str) -> None:
    async with connect_service(gateway, "herald") as client:
        assert (await client.request(event))["code"] == "unknown_event"


async def test_a_users_token_opens_nothing_here(gateway: Gateway) -> None:
    bearer = b"Bearer " + token("alice").encode()
    async with connect_internal(gateway, headers=[(b"authorization", bearer)]) as client:
        assert (await client.request("list_services"))["code"] == "unauthenticated"


async def test_who_does_not_authenticate_in_time_is_closed_whatever_else_it_does(
    make_with: MakeWith,
) -> None:
    gateway = await make_with(auth_timeout_seconds=0.2)
    async with connect_internal(gateway) as client:
        registration = {"serviceName": "market", "serviceKey": KEY, "serviceType": "test"}
        assert (await client.request("register_service", registration))["status"] == "success"
        await client.request("ping")
        assert await client.closed() == 4401


# --- authentication -------------------------------------------------------------------------------


async def test_a_session_begins_with_a_push_and_the_same_reply(gateway: Gateway) -> None:
    async with connect_internal(gateway) as client:
        reply = await client.authenticate_service("herald")
        assert reply == {
            "serviceName": "herald",
            "serviceType": "news",
            "socketId": reply["socketId"],
            "connectedAt": reply["connectedAt"],
            "description": "of a test",
            "metadata": {"desk": 3},
            "expiresAt": reply["expiresAt"],
            "idleTimeout": 300,
        }
        assert client.seen("service_authenticated") == [reply]
        assert [frame["event"] for frame in client.frames] == [
            "service_authenticated",
            "authenticate_service",
        ]
        assert isinstance(reply["idleTimeout"], int)
        assert reply["socketId"] in gateway.connections
        begun, ends = (datetime.fromisoformat(reply[m]) for m in ("connectedAt", "expiresAt"))
        assert timedelta(0) <= ends - begun - timedelta(hours=1) < timedelta(seconds=20)
        pinged = (await client.request("ping"))["service"]
        assert pinged == {
            "name": "herald",
            "type": "news",
            "description": "of a test",
            "metadata": {"desk": 3},
        }


@pytest.mark.parametrize(
    ("change", "key", "code", "close_code"),
    [
        (None, "not the key", "unauthenticated", 4401),
        (services.delete, KEY, "unauthenticated", 4401),
        (services.disable, KEY, "forbidden", 4403),
        (services.reject, KEY, "forbidden", 4403),
        (services.disable, "not the key", "unauthenticated", 4401),
    ],
)
async def test_whoever_is_refused_is_told_why_and_closed(
    gateway: Gateway, change: Any, key: str, code: str, close_code: int
) -> None:
    if change is not None:
        await on_thread(change, "herald", OPERATOR)
    async with connect_internal(gateway) as client:
        reply = await client.authenticate_service("herald", key)
        assert (reply["status"], reply["code"]) == ("error", code)
        pushed = {"code": code, "error": reply["error"]}
        assert client.seen("authentication_error") == [pushed]
        assert await client.closed() == close_code
        assert client.frames[0]["event"] == "authentication_error"
    assert await nobody_is_left(gateway)


@pytest.mark.parametrize(
    "data",
    [
        None,
        {"serviceName": "herald"},
        {"serviceName": "herald", "serviceKey": 7},
        {"serviceName": "herald", "serviceKey": "k" * 257},
        {"serviceName": "herald", "serviceKey": KEY, "serviceType": "news"},
    ],
)
async def test_what_is_no_attempt_at_all_costs_nothing(make_with: MakeWith, data: Any) -> None:
    gateway = await make_with(failed_authentications=Rate(1, 3600))
    async with connect_internal(gateway) as client:
        for _ in range(3):
            assert (await client.request("authenticate_service", data))["code"] == "invalid_payload"
        assert "serviceName" in await client.authenticate_service("herald")


async def test_an_address_that_failed_too_often_is_told_when_to_come_back(
    make_with: MakeWith,
) -> None:
    gateway = await make_with(failed_authentications=Rate(1, 3600), auth_timeout_seconds=1)
    async with connect_internal(gateway, address="10.0.0.7") as client:
        await client.authenticate_service("herald", "not the key")
        assert await client.closed() == 4401
    async with (
        connect_internal(gateway, address="10.0.0.7") as client,
        connect_service(gateway, "herald", address="10.0.0.8"),
    ):
        reply = await client.authenticate_service("herald")
        assert reply["code"] == "rate_limited"
        assert 0 < reply["retryAfterMs"] <= 3_600_000
        assert client.seen("authentication_error") == []
        assert await client.closed() == 4401  # not by the attempt: it had its time


async def test_an_attempt_now_and_then_keeps_no_socket_open(make_with: MakeWith) -> None:
    gateway = await make_with(failed_authentications=Rate(1, 3600), auth_timeout_seconds=0.3)
    await gateway.registry._take("authentication", "", Rate(1, 3600))
    async with connect_internal(gateway) as client:
        began = time.monotonic()

        async def is_closed() -> bool:
            client.request_soon(
                "authenticate_service", {"serviceName": "herald", "serviceKey": KEY}
            )
            return client.close_code is not None

        await until(is_closed)
        assert await client.closed() == 4401
        assert time.monotonic() - began >= 0.25
        assert {frame["data"]["code"] for frame in client.frames} == {"rate_limited"}


async def test_who_asked_in_time_is_not_to_blame_for_how_long_the_answer_takes(
    make_with: MakeWith, monkeypatch: pytest.MonkeyPatch, held: Held
) -> None:
    gateway = await make_with(auth_timeout_seconds=0.2)
    monkeypatch.setattr(gateway.registry, "_key_seconds", 20)
    async with connect_internal(gateway) as client, connect_internal(gateway) as later:
        client.request_soon("authenticate_service", {"serviceName": "herald", "serviceKey": KEY})
        assert await later.closed() == 4401
        held.go.set()
        await client.pushed("service_authenticated")
        assert await is_still(client, "herald")


async def test_a_socket_that_could_not_be_taken_in_is_closed_with_4503(
    make_with: MakeWith, broken: Callable[[], None]
) -> None:
    gateway = await make_with(auth_timeout_seconds=0.3)
    broken()
    async with connect_internal(gateway) as client:
        reply = await client.authenticate_service("herald")
        assert (reply["code"], reply["retryAfterMs"]) == ("unavailable", 1000)
        assert await client.closed() == 4503


async def test_a_node_that_stepped_down_takes_nobody_in(gateway: Gateway) -> None:
    async with connect_service(gateway, "herald") as there:
        gateway.node._stepped_down = True
        async with connect_internal(gateway) as late:
            assert (await late.authenticate_service("herald"))["code"] == "unavailable"
            assert (await late.request("list_services"))["code"] == "unauthenticated"
        # Whoever is still here stays until it is told to go.
        assert "serviceName" in await there.authenticate_service("herald")


# --- again, on a live socket ----------------------------------------------------------------------


async def test_authenticating_again_extends_the_session(gateway: Gateway) -> None:
    async with connect_service(gateway, "herald") as client:
        (session,) = gateway.service_sessions
        consumer: Any = gateway.connections._open[session.session_id]
        first_ends = consumer.lifetime.deadlines._due["expiry"][0]
        await client.authenticate_service("herald")
        first, again = client.seen("service_authenticated")
        assert consumer.lifetime.deadlines._due["expiry"][0] > first_ends
        assert again["expiresAt"] >= first["expiresAt"]
        changing = {"expiresAt"}
        assert {k: again[k] for k in again.keys() - changing} == {
            k: first[k] for k in first.keys() - changing
        }
        assert list(gateway.service_sessions) == [session]


async def test_a_socket_stays_the_services_that_opened_it(gateway: Gateway) -> None:
    async with connect_service(gateway, "herald") as client:
        assert (await client.authenticate_service("bank"))["code"] == "forbidden"
        assert client.seen("authentication_error") == []
        assert await is_still(client, "herald")
        assert await gateway.service_sessions.counts() == {"herald": 1}


async def test_a_payload_that_does_not_fit_leaves_the_session_as_it_is(gateway: Gateway) -> None:
    async with connect_service(gateway, "herald") as client:
        reply = await client.request("authenticate_service", {"serviceName": "herald"})
        assert reply["code"] == "invalid_payload"
        assert await is_still(client, "herald")
        assert len(client.seen("service_authenticated")) == 1


async def test_a_wrong_key_ends_the_session_too(gateway: Gateway) -> None:
    async with connect_service(gateway, "herald") as client:
        assert (await client.authenticate_service("herald", "not the key"))["code"] == (
            "unauthenticated"
        )
        assert await client.closed() == 4401
    assert await nobody_is_left(gateway)


# --- how a session ends ---------------------------------------------------------------------------


async def test_a_session_ends_after_its_time(make_with: MakeWith) -> None:
    gateway = await make_with(service_session_expiry_seconds=0.1)
    async with connect_service(gateway, "herald") as client:
        assert await client.closed() == 4408
        assert client.seen("session_expired") == [{"reason": "expired"}]
    assert await nobody_is_left(gateway)


async def test_a_session_that_idles_ends_and_requests_keep_it(make_with: MakeWith) -> None:
    gateway = await make_with(service_session_idle_timeout_seconds=0.4)
    begun = time.monotonic()
    async with (
        connect_service(gateway, "herald") as idler,
        connect_service(gateway, "bank") as busy,
    ):
        assert idler.seen("service_authenticated")[0]["idleTimeout"] == 0.4
        while idler.close_code is None:
            await busy.request("ping")
        assert await idler.closed() == 4408
        assert time.monotonic() - begun >= 0.4
        assert idler.seen("session_expired") == [{"reason": "idle"}]
        assert busy.close_code is None
        assert await busy.closed() == 4408


async def test_a_services_times_are_not_the_users(make_with: MakeWith) -> None:
    gateway = await make_with(session_expiry_seconds=0.1, idle_timeout_seconds=0.1)
    async with connect_service(gateway, "herald") as client, connect_as(gateway, "alice") as alice:
        assert await alice.closed() == 4408
        assert await is_still(client, "herald")


async def test_a_gateway_that_drains_sends_services_elsewhere(gateway: Gateway) -> None:
    async with connect_service(gateway, "herald") as client:
        await gateway.drain()
        assert await client.closed() == 1012
        assert 100 <= client.seen("server_shutdown")[0]["retryAfterMs"] <= 2000
    assert await nobody_is_left(gateway)


@pytest.mark.parametrize("code", [1000, 1001, 1005, 1006])
async def test_a_socket_that_closes_leaves_nothing_behind(gateway: Gateway, code: int) -> None:
    client = Client(gateway, consumer=InternalConsumer)
    await client.authenticate_service("herald")
    assert await gateway.service_sessions.counts() == {"herald": 1}
    await client.leave(code)
    assert await nobody_is_left(gateway)
    assert len(gateway.connections) == 0
