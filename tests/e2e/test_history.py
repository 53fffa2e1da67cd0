"""What a client that comes back gets: all that it missed, in order, and then what is new."""

import asyncio
import json
import socket
from typing import Any

import websockets

from tests.e2e.client import Client, connect_as, token
from tests.e2e.conftest import Deploy, Name, Pair
from tests.valkey import Valkey


def connected(client: Client) -> Any:
    return client.seen("connected")[-1]


def numbers(client: Client) -> list[int]:
    return [message["seq"] for message in client.seen("message")]


async def test_what_was_queued_comes_before_what_is_new(pair: Pair, name: Name) -> None:
    bob = name("bob")
    async with connect_as(pair.first.url, name("alice")) as alice:
        for n in range(120):
            assert (await alice.message(bob, str(n)))["recipients"]["queued"] == [bob]
        busy = asyncio.create_task(send(alice, bob, range(120, 300)))
        async with connect_as(pair.second.url, bob) as client:
            await busy
            assert await client.texts(300) == [str(n) for n in range(300)]
            assert numbers(client) == list(range(1, 301))
            start = connected(client)
            assert (start["recovered"], start["missed"]) == (False, start["seq"])
            assert "reason" not in start
            assert client.frames[0]["event"] == "connected"
            assert client.frames[1]["event"] == "authenticate"
        # What was handed over does not come again.
        async with connect_as(pair.first.url, bob) as client:
            assert (connected(client)["seq"], connected(client)["missed"]) == (300, 0)
            await alice.message(bob, "new")
            assert await client.texts(1) == ["new"]


async def send(client: Client, recipient: str, count: range) -> None:
    for n in count:
        assert (await client.message(recipient, str(n)))["status"] == "sent"


async def test_resume_is_exact_while_messages_keep_coming(pair: Pair, name: Name) -> None:
    bob, total = name("bob"), 1500
    async with connect_as(pair.first.url, name("alice")) as alice:
        async with connect_as(pair.first.url, bob) as client:
            position = {"epoch": connected(client)["epoch"], "seq": 0}

        async def keep_sending() -> None:
            for n in range(total):
                assert (await alice.message(bob, str(n)))["status"] == "sent"

        busy = asyncio.create_task(keep_sending())
        got: list[str] = []
        returns = 0
        while len(got) < total:
            url = (pair.second, pair.first)[returns % 2].url
            async with connect_as(url, bob, resume=position) as client:
                returns += 1
                assert connected(client)["recovered"]
                assert connected(client)["missed"] == connected(client)["seq"] - position["seq"]
                wanted = min(10 * returns, total - len(got))
                await client.pushed("message", wanted)
                if returns % 3:
                    client.drop()
            messages = client.seen("message")
            got += [message["message"] for message in messages]
            assert numbers(client) == list(range(position["seq"] + 1, len(got) + 1))
            position["seq"] = len(got)
        await busy
        assert got == [str(n) for n in range(total)]
        assert returns > 10


async def test_trimmed_and_ahead(deploy: Deploy, name: Name) -> None:
    bob = name("bob")
    gateway = deploy(INBOX_MAX_MESSAGES="5", WEB_CONCURRENCY="2").start()
    async with connect_as(gateway.url, name("alice")) as alice:
        async with connect_as(gateway.url, bob) as client:
            await alice.message(bob, "1")
            await client.texts(1)
            epoch = connected(client)["epoch"]
        await alice.sees_gone(bob)
        for n in range(2, 10):
            assert (await alice.message(bob, str(n)))["recipients"]["queued"] == [bob]
        for seq, reason, missed in (
            (4, None, 5),
            (9, None, 0),
            (3, "trimmed", 5),
            (0, "trimmed", 5),
            (10, "ahead", 5),
            (2**53 - 1, "ahead", 5),
        ):
            async with connect_as(gateway.url, bob, resume={"epoch": epoch, "seq": seq}) as client:
                start = connected(client)
                assert (start.get("reason"), start["missed"]) == (reason, missed)
                assert start["recovered"] == (reason is None)
                assert start["seq"] == 9
                await client.pushed("message", missed)
                assert numbers(client) == list(range(10 - missed, 10))
        for other in ("", "another", "\u20ac:{}"):
            resume = {"epoch": other, "seq": 9}
            async with connect_as(gateway.url, bob, resume=resume) as client:
                start = connected(client)
                assert (start["recovered"], start.get("reason")) == (False, "epoch")
                assert await client.texts(5) == ["5", "6", "7", "8", "9"]


async def test_expired(deploy: Deploy, name: Name) -> None:
    bob = name("bob")
    gateway = deploy(INBOX_TTL="1").start()
    async with connect_as(gateway.url, name("alice")) as alice:
        async with connect_as(gateway.url, bob) as client:
            await alice.message(bob, "1")
            await client.texts(1)
            resume = {"epoch": connected(client)["epoch"], "seq": 1}
        await alice.message(bob, "too old")
        await asyncio.sleep(1.1)
        async with connect_as(gateway.url, bob, resume=resume) as client:
            start = connected(client)
            assert (start["recovered"], start["reason"]) == (False, "expired")
            assert (start["seq"], start["missed"]) == (2, 0)
        await alice.message(bob, "3")
        async with connect_as(gateway.url, bob, resume=resume) as client:
            assert connected(client)["reason"] == "expired"
            assert await client.texts(1) == ["3"]
            assert numbers(client) == [3]
            assert connected(client)["epoch"] == resume["epoch"]


async def test_the_store_lost_its_data(valkey: Valkey, deploy: Deploy, name: Name) -> None:
    """A live session is told its new epoch, and gets what comes in it, once and in order."""
    database = valkey.url.removesuffix("/0") + "/5"
    deployment = deploy(REDIS_URL=database, NODE_LEASE="3", RECONCILE_INTERVAL="1")
    first, second = deployment.start_pair()
    bob = name("bob")
    async with (
        connect_as(first.url, name("alice")) as alice,
        connect_as(second.url, bob) as client,
    ):
        for n in range(3):
            await alice.message(bob, f"old {n}")
        await client.texts(3)
        old = connected(client)
        with valkey.client() as redis:
            redis.execute_command("SELECT", 5)
            redis.flushdb()
        for n in range(20):
            await alice.message(bob, f"new {n}")
        await client.pushed("connected", 2)
        new = connected(client)
        assert (new["recovered"], new["reason"]) == (False, "epoch")
        assert new["epoch"] != old["epoch"]
        assert new["sessionId"] == old["sessionId"]
        assert await client.texts(23) == [
            *(f"old {n}" for n in range(3)),
            *(f"new {n}" for n in range(20)),
        ]
        assert (await alice.message(bob, "last"))["recipients"]["sent"] == [bob]
        assert (await client.texts(24))[-1] == "last"
    resume = {"epoch": old["epoch"], "seq": 3}
    async with connect_as(first.url, bob, resume=resume) as client:
        assert (connected(client)["recovered"], connected(client)["reason"]) == (False, "epoch")
        assert len(await client.texts(21)) == 21


async def test_a_long_history_reaches_a_slow_reader_whole(pair: Pair, name: Name) -> None:
    """Six times what may wait for one socket: it is read at the pace of the reader."""
    bob, count = name("bob"), 100
    async with connect_as(pair.first.url, name("alice")) as alice:
        for n in range(count):
            await alice.message(bob, f"{n} " + "x" * 60_000)
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        slow.connect(("127.0.0.1", pair.second.port))
        async with websockets.connect(pair.second.url, sock=slow, max_queue=1) as reader:
            await reader.send(json.dumps({"event": "authenticate", "data": {"token": token(bob)}}))
            seqs: list[int] = []
            while len(seqs) < count:
                if len(seqs) < 20:
                    # While it dawdles, another's messages pass.
                    await alice.message(name("alice"), "meanwhile")
                frame = json.loads(await reader.recv())
                if frame["event"] == "message":
                    seqs.append(frame["data"]["seq"])
            assert seqs == list(range(1, count + 1))


async def test_what_a_lagging_reader_was_not_sent_comes_without_a_resume_too(
    deploy: Deploy, name: Name
) -> None:
    """Its connection is lost while much waits for it. What the kernel had taken by then is gone
    with it, for a client that does not say how far it came; all the rest is not.
    """
    gateway = deploy(MAX_OUTBOUND_BYTES=str(64 * 2**20), OFFLINE_GRACE="1").start()
    bob, count = name("bob"), 200
    async with connect_as(gateway.url, name("alice")) as alice:
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        slow.connect(("127.0.0.1", gateway.port))
        async with websockets.connect(gateway.url, sock=slow, max_queue=1) as reader:
            await reader.send(json.dumps({"event": "authenticate", "data": {"token": token(bob)}}))
            assert json.loads(await reader.recv())["event"] == "connected"
            for _ in range(count):  # 12 MB: no kernel takes that for one socket
                assert (await alice.message(bob, "x" * 60_000))["recipients"]["sent"] == [bob]
            reader.transport.abort()
        async with connect_as(gateway.url, bob) as client:
            await client.texts(connected(client)["missed"])
            assert connected(client)["missed"] > count // 4
            assert numbers(client) == list(range(count - len(numbers(client)) + 1, count + 1))
