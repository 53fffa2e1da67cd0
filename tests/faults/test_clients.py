"""Clients that come all at once, from many devices, twice with the same message, or to a broken
recipient.
"""

import asyncio
import itertools
import os
import random
import signal

import pytest

from tests.e2e.client import Client, dial, dial_as, eventually
from tests.faults.conftest import Field
from tests.faults.load import RECIPIENTS, SENDERS, load


async def test_the_same_message_id_at_two_nodes_at_once(field: Field) -> None:
    async with load(field.urls) as at_work:
        bob = await dial_as(field.urls[0], "bob")
        senders = [await dial_as(url, "alice") for url in field.urls * 3]
        for number in range(30):
            receipts = await asyncio.gather(
                *(
                    sender.message(
                        ["bob", "absent"], f"{number} by {place}", messageId=f"m{number}"
                    )
                    for place, sender in enumerate(senders)
                )
            )
            assert all(receipt == receipts[0] for receipt in receipts)
            assert receipts[0]["recipients"]["sent"] == ["bob"]
            assert receipts[0]["recipients"]["queued"] == ["absent"]
        await bob.pushed("message", 30)
        absent = await dial_as(field.urls[1], "absent")
        await absent.pushed("message", 30)
        for recipient in (bob, absent):
            messages = recipient.seen("message")
            assert [message["id"] for message in messages] == [f"m{number}" for number in range(30)]
            assert [message["seq"] for message in messages] == list(range(1, 31))
        for client in (bob, absent, *senders):
            await client.socket.close()
        await at_work.progress(100)
        assert (await at_work.finish()).faults() == []


async def test_one_recipient_of_a_thousand_fails(field: Field) -> None:
    """Its keys are broken; nobody else is to notice."""
    async with load(field.urls) as at_work:
        with field.valkey.client() as redis:
            redis.set(field.deployment.keys.state("u500"), "of the wrong type")
        everybody = [f"u{number}" for number in range(1000)]
        alice = await dial_as(field.urls[0], "alice")
        reader = await dial_as(field.urls[1], "u501")
        for text in ("first", "second"):
            receipt = await alice.message(everybody, text)
            recipients = receipt["recipients"]
            assert (receipt["status"], recipients["total"]) == ("sent", 1000)
            assert recipients["failed"] == ["u500"]
            assert recipients["sent"] == ["u501"]
            assert len(recipients["queued"]) == 998
        assert await reader.texts(2) == ["first", "second"]
        for client in (alice, reader):
            await client.socket.close()
        await at_work.progress(100)
        assert (await at_work.finish()).faults() == []


async def test_fifty_devices_of_one_user_race(field: Field) -> None:
    """They come and go at both nodes; their friend hears a change only where there was one."""
    async with load(field.urls) as at_work:
        field.deployment.befriend("watcher", "alice")
        watcher = await dial_as(field.urls[0], "watcher")

        async def device(number: int) -> None:
            for url in random.sample(field.urls, 2):
                client = await dial_as(url, "alice", deviceId=f"device {number}")
                await asyncio.sleep(random.uniform(0, 0.2))
                if random.random() < 0.5:
                    await client.socket.close()
                else:
                    client.drop()

        for _ in range(3):
            await asyncio.gather(*(device(number) for number in range(50)))
            await watcher.status_of("alice", "offline")
        stays = await dial_as(field.urls[1], "alice")
        await watcher.status_of("alice", "online")
        heard = watcher.statuses_of("alice")
        assert all(one != next_ for one, next_ in itertools.pairwise(heard)), heard
        assert len((await stays.request("get_sessions"))["sessions"]) == 1
        for client in (watcher, stays):
            await client.socket.close()
        await at_work.progress(100)
        assert (await at_work.finish()).faults() == []


@pytest.mark.parametrize(
    "variables",
    # The other gateway has its hands full, and the machine may be small: it is not to lose its own.
    [{"NODE_LEASE": "9"}],
    ids=["when their gateway is killed"],
)
async def test_five_hundred_reconnect_at_once(field: Field) -> None:
    """Their node is killed; what was sent meanwhile waits for each, and nobody is doubled."""
    async with load(field.urls) as at_work:
        dying, other = field.gateways
        users = [f"u{number}" for number in range(500)]
        alice = await dial_as(other.url, "alice")

        async def come(url: str, user_id: str, resume: dict[str, object] | None = None) -> Client:
            """As a client in the field: again, where the gateway says that it can't now."""
            client = await dial(url)
            data = {"resume": resume} if resume else {}
            while True:
                reply = await client.authenticate(user_id, **data)
                if "user" in reply:
                    return client
                assert "retryAfterMs" in reply, reply
                await asyncio.sleep(reply["retryAfterMs"] / 1000)

        clients = [
            client
            for start in range(0, len(users), 50)
            for client in await asyncio.gather(
                *(come(dying.url, user_id) for user_id in users[start : start + 50])
            )
        ]
        assert len((await alice.message(users, "before"))["recipients"]["sent"]) == 500
        await asyncio.gather(*(client.pushed("message") for client in clients))
        os.kill(dying.node_pid, signal.SIGKILL)
        await asyncio.gather(*(client.closed() for client in clients))
        assert (await alice.message(users, "meanwhile"))["recipients"]["failed"] == []
        returned = await asyncio.gather(
            *(
                come(
                    other.url,
                    user_id,
                    {"epoch": client.seen("connected")[0]["epoch"], "seq": 1},
                )
                for user_id, client in zip(users, clients, strict=True)
            )
        )
        assert (await alice.message(users, "after"))["recipients"]["queued"] == []
        for client in returned:
            assert await client.texts(2) == ["meanwhile", "after"]
            (connected,) = client.seen("connected")
            assert (connected["recovered"], connected["missed"]) == (True, 1)

        async def no_ghosts() -> bool:
            page = await alice.request("get_all_online_users", {"limit": 1})
            return bool(page["total"] == 501 + SENDERS + RECIPIENTS)

        await eventually(no_ghosts, "everybody to be there once")
        for client in (alice, *returned):
            await client.socket.close()
        await at_work.progress(100)
        assert (await at_work.finish()).faults() == []
