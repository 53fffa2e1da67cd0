"""Who hears of whom, and when: over two processes, devices, goodbyes and losses."""

import asyncio
import os
import signal
from datetime import UTC, datetime

import pytest

from tests.e2e.client import Client, connect_as, dial_as, eventually
from tests.e2e.conftest import Deploy, Name, Pair


def moment(text: str) -> datetime:
    assert text.endswith("Z")
    return datetime.fromisoformat(text)


async def heard(client: Client, user_id: str, *statuses: str) -> None:
    """The client heard exactly this of a user."""
    await client.until(
        lambda: len(client.statuses_of(user_id)) >= len(statuses), f"{user_id}: {statuses}"
    )
    assert client.statuses_of(user_id) == list(statuses)


async def test_friends_and_only_friends_hear(pair: Pair, name: Name) -> None:
    alice, bob, carol, eve, last = map(name, ("alice", "bob", "carol", "eve", "last"))
    for watcher in (bob, carol):
        pair.deployment.befriend(watcher, alice, last)
    pair.deployment.befriend(eve, last)
    # Alice has eve on her own list: that lets her hear of eve, not eve of her.
    pair.deployment.befriend(alice, eve)
    async with (
        connect_as(pair.first.url, bob) as near,
        connect_as(pair.second.url, carol) as far,
        connect_as(pair.second.url, eve) as stranger,
    ):
        before = datetime.now(UTC)
        claims = {"email": "alice@example.com"}
        async with connect_as(pair.first.url, alice, claims=claims) as client:
            for friend in (near, far):
                update = await friend.status_of(alice, "online")
                assert set(update) == {"userId", "status", "email", "lastSeen"}
                assert update["email"] == "alice@example.com"
                assert abs((moment(update["lastSeen"]) - before).total_seconds()) < 5
            (user,) = (await client.request("get_online_users"))["users"]
            assert (user["userId"], user["status"]) == (eve, "online")
            left = datetime.now(UTC)
        for friend in (near, far):
            update = await friend.status_of(alice, "offline")
            assert update["email"] == "alice@example.com"
            assert moment(update["lastSeen"]) >= left.replace(microsecond=0)
        # What comes after shows that nothing came before.
        async with connect_as(pair.first.url, last):
            await stranger.status_of(last, "online")
            assert stranger.statuses_of(alice) == []
            for friend in (near, far):
                await heard(friend, last, "online")
                await heard(friend, alice, "online", "offline")


async def test_first_in_and_last_out_over_devices_and_processes(pair: Pair, name: Name) -> None:
    alice, bob, last = map(name, ("alice", "bob", "last"))
    pair.deployment.befriend(bob, alice, last)
    urls = [pair.first.url, pair.second.url] * 3
    async with connect_as(pair.second.url, bob) as watcher:
        for goodbyes in range(3):
            devices = [await dial_as(url, alice) for url in urls]
            await heard(watcher, alice, *["online", "offline"] * goodbyes, "online")
            await asyncio.gather(*(device.socket.close() for device in devices[1:]))
            async with connect_as(pair.first.url, last):
                await watcher.status_of(last, "online")
            await watcher.status_of(last, "offline")
            await heard(watcher, alice, *["online", "offline"] * goodbyes, "online")
            await devices[0].socket.close()
            await heard(watcher, alice, *["online", "offline"] * (goodbyes + 1))


async def test_a_goodbye_is_heard_at_once_and_a_loss_after_the_grace(
    pair: Pair, name: Name
) -> None:
    bob = name("bob")
    ends = {"goodbye": 1000, "reload": 1001, "loss": None}
    pair.deployment.befriend(bob, *map(name, ends))
    async with connect_as(pair.second.url, bob) as watcher:
        clients = {who: await dial_as(pair.first.url, name(who)) for who in ends}
        for who in ends:
            await watcher.status_of(name(who), "online")
        for who in ("loss", "reload", "goodbye"):
            code = ends[who]
            if code is None:
                clients[who].drop()
            else:
                await clients[who].socket.close(code)
        # The goodbye came last, and is heard first.
        await watcher.until(lambda: "offline" in watcher.statuses_of(name("goodbye")))
        for who in ("loss", "reload"):
            assert watcher.statuses_of(name(who)) == ["online"]
        for who in ("loss", "reload"):
            await heard(watcher, name(who), "online", "offline")


@pytest.mark.parametrize("way", ["reload", "loss"])
async def test_who_returns_within_the_grace_was_never_away(
    pair: Pair, name: Name, way: str
) -> None:
    alice, bob, gone = map(name, ("alice", "bob", "gone"))
    pair.deployment.befriend(bob, alice, gone)
    async with connect_as(pair.first.url, bob) as watcher:
        client = await dial_as(pair.first.url, alice)
        for url in (pair.second.url, pair.first.url, pair.first.url):
            if way == "loss":
                client.drop()
            else:
                await client.socket.close(1001)
            client = await dial_as(url, alice)
        other = await dial_as(pair.first.url, gone)
        await watcher.status_of(gone, "online")
        other.drop()
        # This one's grace began after those of alice, on the same process.
        await heard(watcher, gone, "online", "offline")
        await heard(watcher, alice, "online")
        await client.socket.close()
        await heard(watcher, alice, "online", "offline")


async def test_a_killed_process_leaves_no_ghosts(deploy: Deploy, name: Name) -> None:
    deployment = deploy(NODE_LEASE="3", OFFLINE_GRACE="1")
    first, second = deployment.start_pair()
    gone = [name(f"gone{n}") for n in range(20)]
    kept, moved, bob = map(name, ("kept", "moved", "bob"))
    deployment.befriend(bob, *gone, kept, moved)
    async with connect_as(second.url, bob) as watcher, connect_as(second.url, kept):
        clients = [await dial_as(first.url, user_id) for user_id in (*gone, kept, moved)]
        for user_id in (*gone, kept, moved):
            await heard(watcher, user_id, "online")
        os.kill(first.node_pid, signal.SIGKILL)
        for client in clients:
            await client.closed()
        async with connect_as(second.url, moved) as again:
            for user_id in gone:
                await heard(watcher, user_id, "online", "offline")
            users = (await watcher.request("get_online_users"))["users"]
            assert sorted(user["userId"] for user in users) == sorted([kept, moved])
            (session,) = (await again.request("get_sessions"))["sessions"]
            assert session["current"]
            for user_id in (kept, moved):
                await heard(watcher, user_id, "online")
        await heard(watcher, moved, "online", "offline")
    # The supervisor started the process again, on the same port.
    async with connect_as(first.wait_until_ready().url, name("new")):
        pass


async def test_last_seen_is_the_last_request(pair: Pair, name: Name) -> None:
    pair.deployment.befriend(name("bob"), name("alice"))
    async with (
        connect_as(pair.first.url, name("alice")) as alice,
        connect_as(pair.second.url, name("bob")) as bob,
    ):

        async def last_seen() -> datetime:
            (friend,) = (await bob.request("get_online_friends_only"))["users"]
            assert set(friend) == {"userId", "email", "status", "lastSeen"}
            return moment(friend["lastSeen"])

        connected = await last_seen()
        await asyncio.sleep(0.01)
        asked = moment((await alice.request("ping"))["timestamp"])

        def is_asked(seen: datetime) -> bool:
            return abs((seen - asked).total_seconds()) < 0.005

        async def is_right() -> bool:
            return is_asked(await last_seen())

        assert not is_asked(connected)
        await eventually(is_right, "the last request's time")
        assert await last_seen() > connected
