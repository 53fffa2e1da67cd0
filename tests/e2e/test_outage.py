"""The store stops answering, or dies, under a gateway at work."""

import asyncio
import json
import time
from typing import Any

import pytest

from tests.e2e.client import Client, connect, connect_as, dial_as, eventually, token
from tests.e2e.conftest import Name
from tests.e2e.gateways import Deployment, GatewayProcess
from tests.socketio.raw import Raw, RawPolling, connected, event
from tests.valkey import stopped


async def unavailable(client: Client, event: str, data: Any = None) -> None:
    """Fails so, within REDIS_TIMEOUT and a bit, and the socket stays."""
    begun = time.monotonic()
    answer = await client.request(event, data)
    assert time.monotonic() - begun < 2.5
    assert set(answer) == {"status", "code", "error", "timestamp", "retryAfterMs"}
    assert (answer["status"], answer["code"]) == ("error", "unavailable")
    assert answer["retryAfterMs"] > 0
    assert client.close_code is None


async def until_ready(gateway: GatewayProcess, status: int) -> None:
    async def is_so() -> bool:
        answer, _ = await asyncio.to_thread(gateway.get, "/readyz")
        return answer == status

    await eventually(is_so, f"readyz to say {status}")


async def until_served(client: Client, event: str, data: Any) -> Any:
    answers: list[Any] = []

    async def is_served() -> bool:
        answers.append(await client.request(event, data))
        return "unavailable" not in answers[-1].values()

    await eventually(is_served, event)
    return answers[-1]


async def test_a_store_that_hangs(fragile: Deployment, name: Name) -> None:
    first, second = fragile.start_pair(REDIS_TIMEOUT="1", RECONCILE_INTERVAL="2", AUTH_TIMEOUT="60")
    bob, carol = name("bob"), name("carol")
    fragile.befriend(bob, carol)
    async with (
        connect_as(first.url, name("alice")) as alice,
        connect_as(second.url, bob) as client,
        connect(first.url) as newcomer,
    ):
        leaving = await dial_as(first.url, carol)
        await client.status_of(carol, "online")
        async with stopped(fragile.valkey):
            data = {"recipientIds": [bob], "message": "once", "messageId": "m1"}
            for _ in range(2):
                await unavailable(alice, "send_message", data)
            await leaving.socket.close()
            await unavailable(alice, "get_all_online_users")
            await alice.send({"event": "get_sessions"})
            await unavailable(newcomer, "authenticate", {"token": token(name("new"))})
            (failure,) = await alice.pushed("error")
            assert failure["code"] == "unavailable"
            assert set(await alice.request("ping")) == {"timestamp"}
            await until_ready(first, 503)
            assert (await asyncio.to_thread(first.get, "/healthz"))[0] == 200
        await until_ready(first, 200)
        await until_ready(second, 200)
        receipt = await until_served(alice, "send_message", data)
        assert receipt["recipients"]["sent"] == [bob]
        await alice.message(bob, "twice")
        assert await client.texts(2) == ["once", "twice"]
        assert [message["seq"] for message in client.seen("message")] == [1, 2]
        assert "user" in await newcomer.authenticate(name("new"))
        assert len((await newcomer.request("get_sessions"))["sessions"]) == 1
        await client.status_of(carol, "offline")
        assert client.statuses_of(carol) == ["online", "offline"]
        assert alice.close_code is client.close_code is None


async def test_a_store_that_dies_and_returns(fragile: Deployment, name: Name) -> None:
    first, second = fragile.start_pair(
        REDIS_TIMEOUT="1", RECONCILE_INTERVAL="2", NODE_LEASE="6", OFFLINE_GRACE="1"
    )
    alice_id, bob_id, carol_id = map(name, ("alice", "bob", "carol"))
    fragile.befriend(bob_id, alice_id, carol_id)
    async with (
        connect_as(second.url, bob_id) as bob,
        connect_as(first.url, alice_id) as alice,
    ):
        await bob.status_of(alice_id, "online")
        leaving = await dial_as(first.url, carol_id)
        await bob.status_of(carol_id, "online")
        for n in range(20):
            assert (await alice.message(bob_id, str(n)))["status"] == "sent"
        await asyncio.to_thread(fragile.valkey.kill)
        data = {"recipientIds": [bob_id], "message": "20", "messageId": "m20"}
        await unavailable(alice, "send_message", data)
        await leaving.socket.close()
        await until_ready(first, 503)
        await asyncio.to_thread(fragile.valkey.start)
        receipt = await until_served(alice, "send_message", data)
        assert receipt["recipients"]["sent"] == [bob_id]
        for n in range(21, 40):
            assert (await alice.message(bob_id, str(n)))["status"] == "sent"
        assert await bob.texts(40) == [str(n) for n in range(40)]
        await until_ready(first, 200)
        await until_ready(second, 200)
        await bob.status_of(carol_id, "offline")
        assert bob.statuses_of(carol_id) == ["online", "offline"]
        assert bob.statuses_of(alice_id) == ["online"]
        assert alice.close_code is bob.close_code is None


async def sent(raw: Raw, packets: list[str]) -> None:
    """In one request where there are requests."""
    if isinstance(raw, RawPolling):
        await raw.send("\x1e".join(packets))
    else:
        for packet in packets:
            await raw.send(packet)


@pytest.mark.parametrize("codec", ["plain", "websocket", "polling"])
async def test_whose_requests_wait_for_the_store_is_not_taken_for_gone(
    fragile: Deployment, name: Name, codec: str
) -> None:
    """Their pongs have come, and wait behind these."""
    variables = {"WS_PING_INTERVAL": "300", "WS_PING_TIMEOUT": "2500", "REDIS_TIMEOUT": "1"}
    gateway = await asyncio.to_thread(fragile.start, **variables)
    count = 12
    if codec == "plain":
        async with connect_as(gateway.url, name("bob")) as bob, stopped(fragile.valkey):
            asked = [bob.request("get_sessions") for _ in range(count)]
            answers = await asyncio.gather(*asked)
    else:
        async with connected(codec, gateway.port, {"token": token(name("bob"))}) as raw:
            await event(raw, "connected")
            async with stopped(fragile.valkey):
                packets = [f'42{number}["get_sessions"]' for number in range(count)]
                asking = asyncio.create_task(sent(raw, packets))
                answers = []
                while len(answers) < count:
                    packet = await raw.receive()
                    if packet.startswith("43"):
                        answers.append(json.loads(packet[packet.index("[") :])[0])
                    elif packet == "2":
                        await asking  # by polling one request goes after the other
                        await raw.send("3")
    assert {answer["code"] for answer in answers} == {"unavailable"}
