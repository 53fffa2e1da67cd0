"""A process that is told to go: its clients move on, and miss nothing."""

import asyncio
from typing import Any

from tests.e2e.client import Client, connect_as, dial_as
from tests.e2e.conftest import Name
from tests.e2e.gateways import Deployment


async def test_clients_are_sent_on_and_miss_nothing(deployment: Deployment, name: Name) -> None:
    first = deployment.start(WEB_CONCURRENCY="2")
    second = deployment.start()
    alice, bob, carol = map(name, ("alice", "bob", "carol"))
    deployment.befriend(carol, alice, bob)
    sent: list[str] = []
    async with connect_as(second.url, carol) as watcher:
        clients = {user_id: await dial_as(first.url, user_id) for user_id in (alice, bob)}
        stop = asyncio.Event()

        async def keep_sending(sender: Client, who: str) -> None:
            try:
                while not stop.is_set():
                    text = f"{who} {len(sent)}"
                    if (await sender.message(bob, text))["status"] == "sent":
                        sent.append(text)
            except ConnectionError:
                pass

        senders = [
            asyncio.create_task(keep_sending(clients[alice], "near")),
            asyncio.create_task(keep_sending(watcher, "far")),
        ]
        await clients[bob].texts(50)
        first.terminate()
        moved: dict[str, Client] = {}
        for user_id, client in clients.items():
            assert await client.closed() == 1012
            (farewell,) = client.seen("server_shutdown")
            assert set(farewell) == {"retryAfterMs"}
            assert 0 < farewell["retryAfterMs"] <= 2000
            assert client.frames[-1]["event"] == "server_shutdown"
            moved[user_id] = await dial_as(second.url, user_id, resume=position(client))
        assert await asyncio.to_thread(first.process.wait, 20) == 0
        far = len(sent)
        await watcher.until(lambda: len(sent) > far + 50)
        stop.set()
        await asyncio.gather(*senders)

        assert moved[bob].seen("connected")[0]["recovered"]
        old = clients[bob].seen("message")
        new = await moved[bob].pushed("message", len(sent) - len(old))
        messages = old + new
        assert [message["seq"] for message in messages] == list(range(1, len(messages) + 1))
        texts = [message["message"] for message in messages]
        # One that was under way may have been stored without its answer getting out.
        assert len(texts) - len(sent) in (0, 1)
        assert set(sent) <= set(texts)
        assert len(set(texts)) == len(texts)
        # Whoever was buried with the process would be offline before this one.
        async with connect_as(second.url, name("dora")):
            assert watcher.statuses_of(alice) == watcher.statuses_of(bob) == ["online"]
        for client in moved.values():
            await client.socket.close()
        for user_id in (alice, bob):
            await watcher.status_of(user_id, "offline")
            assert watcher.statuses_of(user_id) == ["online", "offline"]


def position(client: Client) -> dict[str, Any]:
    messages = client.seen("message")
    connected = client.seen("connected")[0]
    return {
        "epoch": connected["epoch"],
        "seq": messages[-1]["seq"] if messages else connected["seq"],
    }


async def test_who_does_not_return_is_offline_after_the_grace(
    deployment: Deployment, name: Name
) -> None:
    first, second = deployment.start_pair(OFFLINE_GRACE="1", NODE_LEASE="3")
    deployment.befriend(name("bob"), name("alice"))
    async with connect_as(second.url, name("bob")) as bob:
        alice = await dial_as(first.url, name("alice"))
        await bob.status_of(name("alice"), "online")
        first.terminate()
        assert await alice.closed() == 1012
        await bob.status_of(name("alice"), "offline")
        assert bob.statuses_of(name("alice")) == ["online", "offline"]
