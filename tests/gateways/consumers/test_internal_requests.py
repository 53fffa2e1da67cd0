"""What services ask of the internal gateway: what holds for every event, and the registry's."""

import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from gateways.config import Config
from gateways.consumers.internal import InternalConsumer
from gateways.gateway import Gateway
from gateways.store.errors import StoreUnavailable
from gateways.store.limits import Rate
from services_registry import services
from services_registry.models import Service
from tests.gateways.consumers.client import Client, connect_internal, connect_service
from tests.gateways.services import KEY, OPERATOR, on_thread

pytestmark = pytest.mark.usefixtures("services_database", "bank")
#: A request of each event that fits.
REQUESTS: dict[str, Any] = {
    "authenticate_service": {"serviceName": "herald", "serviceKey": KEY},
    "register_service": {"serviceName": "market", "serviceKey": KEY, "serviceType": "trade"},
    "ping": None,
    "send_message": {"recipientIds": ["alice"], "message": "x"},
    "broadcast": {"message": "x"},
    "list_services": None,
    "list_service_types": None,
    "set_friends": {"userId": "alice", "friendIds": ["bob"]},
    "add_friends": {"userId": "alice", "friendIds": ["bob"]},
    "remove_friends": {"userId": "alice", "friendIds": ["bob"]},
    "get_friends": {"userId": "alice"},
    "get_user_status": {"userIds": ["alice"]},
    "disconnect_user": {"userId": "alice"},
}


@pytest.fixture
def config(config: Config) -> Config:
    return dataclasses.replace(
        config, registrations=Rate(4, 3600), allowed_service_types=("news", "trade")
    )


@pytest.fixture
async def herald(gateway: Gateway, herald: Service) -> AsyncIterator[Client]:
    """Its socket."""
    async with connect_service(gateway, "herald") as client:
        yield client


# --- any event ------------------------------------------------------------------------------------


def test_each_event_has_a_request_here() -> None:
    assert REQUESTS.keys() == InternalConsumer.handlers.keys()


@pytest.mark.parametrize("event", sorted(REQUESTS))
async def test_a_field_that_is_not_known_is_refused(herald: Client, event: str) -> None:
    reply = await herald.request(event, {**(REQUESTS[event] or {}), "surplus": 1})
    assert reply["code"] == "invalid_payload"
    assert "surplus" in reply["error"]


#: Those that ask no store; registering and authenticating do only where they are limited.
STORELESS = {"ping", "list_services", "list_service_types"}


@pytest.mark.parametrize("event", sorted(REQUESTS.keys() - STORELESS))
async def test_without_the_store_it_is_unavailable_and_the_socket_stays(
    gateway: Gateway, herald: Client, monkeypatch: pytest.MonkeyPatch, event: str
) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("10.0.0.7 does not answer")

    with monkeypatch.context() as patch:
        for name in ("call", "call_all", "run", "run_packed", "run_all"):
            patch.setattr(gateway.redis, name, fail)
        reply = await herald.request(event, REQUESTS[event])
    assert (reply["status"], reply["code"]) == ("error", "unavailable")
    assert reply["retryAfterMs"] == 1000
    assert "10.0.0.7" not in reply["error"]
    assert "service" in await herald.request("ping")


async def test_without_an_id_it_is_done_in_silence_and_fails_aloud(
    gateway: Gateway, herald: Client
) -> None:
    herald.send({"event": "set_friends", "data": REQUESTS["set_friends"]})
    herald.send({"event": "set_friends", "data": {"userId": "alice"}})
    (error,) = await herald.pushed("error")
    assert error["code"] == "invalid_payload"
    assert await gateway.friends.of("alice") == ["bob"]
    assert "set_friends" not in [frame["event"] for frame in herald.frames]


# --- the registry ---------------------------------------------------------------------------------


async def test_what_registers_is_told_what_it_is_now(gateway: Gateway, herald: Client) -> None:
    async with connect_internal(gateway) as client:
        reply = await client.request(
            "register_service", {**REQUESTS["register_service"], "metadata": {"a": [1]}}
        )
        assert reply == {
            "status": "success",
            "approval": "approved",
            "service": {
                "name": "market",
                "type": "trade",
                "description": "",
                "enabled": True,
                "metadata": {"a": [1]},
            },
            "message": "Registered; it may authenticate now.",
            "timestamp": reply["timestamp"],
        }
        assert "serviceName" in await client.authenticate_service("market")


async def test_what_registers_may_have_to_wait(
    gateway: Gateway, settings: Settings, herald: Client
) -> None:
    settings.REQUIRE_SERVICE_APPROVAL = True
    async with connect_internal(gateway) as client:
        reply = await client.request("register_service", REQUESTS["register_service"])
        assert (reply["status"], reply["approval"]) == ("success", "pending")
        assert "approval" in reply["message"]
        assert (await client.authenticate_service("market"))["code"] == "forbidden"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"serviceName": "Market"}, "invalid_payload"),
        ({"serviceKey": "short"}, "invalid_payload"),
        ({"metadata": {"a": 2**53}}, "invalid_payload"),
        ({"serviceName": "bank"}, "conflict"),
    ],
)
async def test_what_may_not_be_registered_changes_nothing(
    herald: Client, change: Any, code: str
) -> None:
    reply = await herald.request("register_service", {**REQUESTS["register_service"], **change})
    assert (reply["status"], reply["code"]) == ("error", code)
    assert await on_thread(Service.objects.count) == 2


async def test_who_registers_too_often_is_told_when_to_come_back(
    gateway: Gateway, herald: Client
) -> None:
    async with connect_internal(gateway) as client:
        data = {**REQUESTS["register_service"], "serviceName": "bank"}
        codes = [(await client.request("register_service", data))["code"] for _ in range(4)]
        reply = await client.request("register_service", data)
        assert [*codes, reply["code"]] == ["conflict"] * 4 + ["rate_limited"]
        assert 0 < reply["retryAfterMs"] <= 900_000


async def test_services_are_listed_without_their_keys(herald: Client, settings: Settings) -> None:
    await on_thread(services.disable, "bank", OPERATOR)
    settings.REQUIRE_SERVICE_APPROVAL = True
    await herald.request("register_service", REQUESTS["register_service"])
    reply = await herald.request("list_services")
    bank, listed = reply.pop("services")
    assert reply.keys() == {"status", "timestamp"}
    assert listed == {
        "name": "herald",
        "type": "news",
        "description": "of a test",
        "enabled": True,
        "metadata": {"desk": 3},
    }
    assert (bank["name"], bank["enabled"]) == ("bank", False)


async def test_types_are_those_in_use_and_those_allowed(herald: Client) -> None:
    reply = await herald.request("list_service_types")
    assert reply == {
        "status": "success",
        "types": ["news", "test"],
        "allowedTypes": ["news", "trade"],
        "timestamp": reply["timestamp"],
    }
