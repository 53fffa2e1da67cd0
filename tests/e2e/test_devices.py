"""Several devices of one user, on the two processes behind one port."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.e2e.client import Client, connect_as, dial_as, eventually
from tests.e2e.conftest import Deploy, Name
from tests.e2e.gateways import Deployment


@pytest.fixture(scope="module")
def workers(deploy: Deploy) -> Deployment:
    deployment = deploy(WEB_CONCURRENCY="2", OFFLINE_GRACE="1", RECONCILE_INTERVAL="600")
    deployment.start()
    return deployment


def session_id(client: Client) -> str:
    found: str = client.seen("connected")[0]["sessionId"]
    return found


def node_of(client: Client) -> str:
    return session_id(client).partition(".")[0]


@asynccontextmanager
async def on_both_nodes(
    url: str, user_id: str, **options: Any
) -> AsyncIterator[tuple[Client, Client]]:
    """Two devices of a user, on different processes: the kernel says which takes a connection."""
    devices = [await dial_as(url, user_id, **options)]
    try:
        while node_of(devices[0]) == node_of(devices[-1]):
            assert len(devices) < 200
            devices.append(await dial_as(url, user_id, **options))
        for device in devices[1:-1]:
            await device.socket.close()
        await sessions_left(devices[0], 2)
        yield devices[0], devices[-1]
    finally:
        for device in devices:
            await device.socket.close()


async def sessions_left(client: Client, count: int) -> None:
    async def are_left() -> bool:
        return len(await sessions(client)) == count

    await eventually(are_left, f"{count} sessions")


async def sessions(client: Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.request("get_sessions"))["sessions"]
    return found


async def test_every_device_gets_each_message(workers: Deployment, name: Name) -> None:
    url = workers.gateways[0].url
    async with (
        on_both_nodes(url, name("alice")) as (one, two),
        connect_as(url, name("alice")) as three,
        connect_as(url, name("bob")) as bob,
    ):
        for n in range(100):
            receipt = await bob.message(name("alice"), str(n))
            assert receipt["recipients"]["sent"] == [name("alice")]
        for device in (one, two, three):
            assert await device.texts(100) == [str(n) for n in range(100)]


async def test_sessions_are_the_users_own(workers: Deployment, name: Name) -> None:
    url = workers.gateways[0].url
    claims = {"deviceInfo": {"model": "Q7"}, "ipAddress": "192.0.2.7"}
    async with (
        connect_as(url, name("bob")),
        connect_as(url, name("alice"), claims=claims, deviceId="phone") as phone,
        connect_as(url, name("alice")) as tablet,
    ):
        first, second = await sessions(tablet)
        assert set(first) == {
            *("sessionId", "deviceId", "deviceInfo", "connectedAt", "lastActivity", "current"),
        }
        assert first["sessionId"] == session_id(phone)
        assert first["deviceId"] == "phone"
        assert first["deviceInfo"] == {"model": "Q7", "ipAddress": "192.0.2.7"}
        assert not first["current"]
        assert second["current"]
        assert (second["deviceId"], second["deviceInfo"]) == (None, None)


async def test_one_device_closes_another_on_another_process(
    workers: Deployment, name: Name
) -> None:
    url = workers.gateways[0].url
    workers.befriend(name("bob"), name("alice"), name("last"))
    async with (
        connect_as(url, name("bob")) as bob,
        on_both_nodes(url, name("alice")) as (one, two),
    ):
        begun = time.monotonic()
        answer = await one.request("close_session", {"sessionId": session_id(two)})
        assert (answer["status"], set(answer)) == ("success", {"status", "timestamp"})
        assert await two.closed() == 4403
        assert time.monotonic() - begun < 1
        (left,) = await sessions(one)
        assert left["current"]
        again = await one.request("close_session", {"sessionId": session_id(two)})
        assert again["code"] == "invalid_payload"
        # Who loses a last session without goodbye after it would be heard after it, too.
        last = await dial_as(url, name("last"))
        await bob.status_of(name("last"), "online")
        last.drop()
        await bob.status_of(name("last"), "offline")
        assert bob.statuses_of(name("alice")) == ["online"]


async def test_nobody_closes_their_own_or_anothers_session(workers: Deployment, name: Name) -> None:
    url = workers.gateways[0].url
    async with (
        connect_as(url, name("alice")) as alice,
        connect_as(url, name("bob")) as bob,
    ):
        for target in (session_id(alice), session_id(bob), "0.0", "*", "alice"):
            answer = await alice.request("close_session", {"sessionId": target})
            assert answer["code"] == "invalid_payload"
        assert len(await sessions(alice)) == len(await sessions(bob)) == 1


async def test_devices_that_close_each_other_at_once(workers: Deployment, name: Name) -> None:
    """Whoever loses, no session is left that has no socket."""
    url = workers.gateways[0].url
    for n in range(5):
        user_id = name(f"alice{n}")
        async with on_both_nodes(url, user_id) as (one, two):
            await asyncio.gather(
                one.request("close_session", {"sessionId": session_id(two)}),
                two.request("close_session", {"sessionId": session_id(one)}),
                return_exceptions=True,
            )
            async with connect_as(url, user_id) as again:

                async def are_right() -> bool:
                    closed = [device for device in (one, two) if device.close_code is not None]
                    assert {device.close_code for device in closed} <= {4403}
                    return bool(closed) and len(await sessions(again)) == 3 - len(closed)

                await eventually(are_right, "a session for each socket")
