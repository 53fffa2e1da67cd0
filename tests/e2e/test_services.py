"""Services prove who they are, register, and are shut out, over two internal gateways."""

import asyncio
import json
import time

import pytest

from tests.e2e.client import connect, connect_service, dial
from tests.e2e.conftest import HERALD_KEY, Name, Pair
from tests.e2e.services import KEY, eventually_none, manage, register, registered, sessions_of


async def test_a_service_of_the_environment_gets_in_at_each_gateway(platform: Pair) -> None:
    for gateway in (platform.first, platform.second):
        async with connect(gateway.internal_url) as client:
            reply = await client.authenticate_service("herald", HERALD_KEY)
            assert reply == {
                "serviceName": "herald",
                "serviceType": "news",
                "socketId": reply["socketId"],
                "connectedAt": reply["connectedAt"],
                "description": "Tells everybody everything",
                "metadata": {},
                "expiresAt": reply["expiresAt"],
                "idleTimeout": 300,
            }
            assert client.pushes == [{"event": "service_authenticated", "data": reply}]


@pytest.mark.parametrize(("service_name", "key"), [("herald", "wrong key"), ("nobody", HERALD_KEY)])
async def test_a_wrong_key_and_an_unknown_name_get_the_same_answer(
    platform: Pair, service_name: str, key: str
) -> None:
    client = await dial(platform.first.internal_url)
    reply = await client.authenticate_service(service_name, key)
    sentence = "No service has this name and key."
    assert reply == {
        "status": "error",
        "code": "unauthenticated",
        "error": sentence,
        "timestamp": reply["timestamp"],
    }
    assert await client.closed() == 4401
    pushed = {"code": "unauthenticated", "error": sentence}
    assert client.pushes == [{"event": "authentication_error", "data": pushed}]


async def test_a_service_that_registers_at_one_gateway_gets_in_at_the_other(
    platform: Pair, name: Name
) -> None:
    metadata = {"team": "trade", "level": 3}
    async with connect(platform.first.internal_url) as client:
        reply = await register(client, name("market"), metadata=metadata)
        assert reply == {
            "status": "success",
            "approval": "approved",
            "service": {
                "name": name("market"),
                "type": "test",
                "description": "of a test",
                "enabled": True,
                "metadata": metadata,
            },
            "message": "Registered; it may authenticate now.",
            "timestamp": reply["timestamp"],
        }
    async with connect_service(platform.second.internal_url, name("market"), KEY) as client:
        assert (await client.request("ping"))["service"]["metadata"] == metadata
        services = (await client.request("list_services"))["services"]
        assert reply["service"] in services
        assert KEY not in json.dumps(services)
        types = await client.request("list_service_types")
        assert {"news", "test"} <= set(types["types"])
        assert types["allowedTypes"] == []


async def test_one_name_registered_many_times_at_once_is_one_service(
    platform: Pair, name: Name
) -> None:
    gateways = (platform.first, platform.second)
    clients = [await dial(gateways[n % 2].internal_url) for n in range(8)]
    answers = await asyncio.gather(*(register(client, name("twin")) for client in clients))
    assert sorted(answer["status"] for answer in answers) == ["error"] * 7 + ["success"]
    assert {answer["code"] for answer in answers if answer["status"] == "error"} == {"conflict"}
    for client in clients:
        await client.socket.close()


@pytest.mark.parametrize(
    "commands",
    [["disable"], ["reject"], ["delete --yes"], ["rotate-key", "drop-previous-key"]],
    ids=" ".join,
)
async def test_who_is_shut_out_loses_its_sessions_everywhere_within_a_second(
    platform: Pair, name: Name, commands: list[str]
) -> None:
    await registered(platform.first, name("rogue"))
    gateways = (platform.first, platform.second)
    clients = [await dial(gateways[n % 2].internal_url) for n in range(4)]
    for client in clients:
        assert "serviceName" in await client.authenticate_service(name("rogue"), KEY)
    async with connect_service(platform.first.internal_url, "herald", HERALD_KEY) as other:
        for command in commands:
            word, *options = command.split()
            await manage(platform.second, "service", word, name("rogue"), *options)
        done = time.monotonic()
        assert [await client.closed() for client in clients] == [4403] * 4
        assert time.monotonic() - done < 1
        assert "service" in await other.request("ping")
    client = await dial(platform.second.internal_url)
    assert (await client.authenticate_service(name("rogue"), KEY))["status"] == "error"
    assert await client.closed() in (4401, 4403)
    await eventually_none(platform.deployment, name("rogue"))


async def test_a_rotation_ends_no_session_and_takes_either_key(platform: Pair, name: Name) -> None:
    await registered(platform.first, name("vault"))
    async with connect_service(platform.first.internal_url, name("vault"), KEY) as live:
        printed = await manage(platform.second, "service", "rotate-key", name("vault"))
        new_key = printed.strip().splitlines()[-1].split()[-1]
        for key in (KEY, new_key):
            async with connect_service(platform.second.internal_url, name("vault"), key) as client:
                assert "service" in await client.request("ping")
        assert "service" in await live.request("ping")
        # Over to the new key on the live socket: what ends the old one does not end it.
        assert "serviceName" in await live.authenticate_service(name("vault"), new_key)
        await manage(platform.second, "service", "drop-previous-key", name("vault"))
        async with connect(platform.first.internal_url) as late:
            assert (await late.authenticate_service(name("vault"), KEY))["status"] == "error"
        assert "service" in await live.request("ping")


async def test_who_is_enabled_again_gets_in_again(platform: Pair, name: Name) -> None:
    await registered(platform.first, name("phoenix"))
    await manage(platform.first, "service", "disable", name("phoenix"))
    client = await dial(platform.second.internal_url)
    reply = await client.authenticate_service(name("phoenix"), KEY)
    assert reply["code"] == "forbidden"
    assert await client.closed() == 4403
    await manage(platform.first, "service", "enable", name("phoenix"))
    async with connect_service(platform.second.internal_url, name("phoenix"), KEY) as client:
        assert sessions_of(platform.deployment, name("phoenix")) == 1
    await eventually_none(platform.deployment, name("phoenix"))


async def test_neither_gateway_serves_the_others_events(platform: Pair, name: Name) -> None:
    async with connect_service(platform.first.internal_url, "herald", HERALD_KEY) as service:
        for event in ("authenticate", "get_sessions", "get_online_users"):
            assert (await service.request(event))["code"] == "unknown_event"
    async with connect(platform.first.url) as user:
        await user.authenticate(name("alice"))
        for event in ("authenticate_service", "register_service", "broadcast", "list_services"):
            assert (await user.request(event))["code"] == "unknown_event"


async def test_before_it_authenticates_a_service_may_only_ping(platform: Pair) -> None:
    async with connect(platform.first.internal_url) as client:
        assert set(await client.request("ping")) == {"timestamp"}
        for event in ("send_message", "list_services", "broadcast", "disconnect_user"):
            assert (await client.request(event, {}))["code"] == "unauthenticated"
