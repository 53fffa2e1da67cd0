"""docs/migration.md, followed to the letter: what stands in for the old service and the gateway,
side by side behind one nginx, with unchanged clients on both sides.
"""

import asyncio
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from tests.deploy.old_service import (
    BACK,
    CLEAN_UP,
    COUNT,
    IMPORT,
    KEYS,
    OFFICE,
    OFFICE_ADDRESS,
    PROXY,
    SHARE,
    SWITCH,
    Machine,
    running_machine,
    running_old_service,
)
from tests.e2e.client import connect_as, token
from tests.e2e.gateways import Deployment, listening_port
from tests.socketio.clients import JsClient, Node
from tests.socketio.raw import Raw, ask, connected, event
from tests.valkey import Valkey, running_valkey

# The stand-in's packages are installed from npm, once.
pytestmark = pytest.mark.timeout(180)

#: On Linux all of them are this machine's, and a client may come from each.
ADDRESSES = [f"127.0.0.{number}" for number in range(1, 41)]


@pytest.fixture
def old_valkey() -> Iterator[Valkey]:
    """The old service's, with its keys."""
    with running_valkey() as valkey, valkey.client() as redis:
        for key, value in KEYS.items():
            redis.set(key, value, ex=86_400 if ":session:" in key else None)
        yield valkey


@pytest.fixture
def machine(old_valkey: Valkey, tmp_path: Path) -> Iterator[Machine]:
    with running_machine(tmp_path, old_valkey) as machine:
        yield machine


@pytest.fixture
def old_service(machine: Machine) -> Iterator[subprocess.Popen[str]]:
    with running_old_service(machine.valkey, machine.old) as process:
        yield process


def side_of(connected: Any) -> str:
    """Whose `connected` it is: the stand-in's holds next to nothing."""
    return "new" if "sessionId" in connected else "old"


def player(node: Node, machine: Machine, user_id: str, *transports: str) -> JsClient:
    """An unchanged client, as it comes but for its transports."""
    options: dict[str, Any] = {"transports": transports} if transports else {}
    return node.open(machine.url, auth={"token": token(user_id)}, **options)


async def arrived(client: JsClient, side: str, times: int = 1) -> Any:
    """Its newest `connected`, once it has come so often, at last to this side."""
    await client.given("connected", times)
    await client.until(lambda: side_of(client.seen("connected")[-1][0]) == side, f"the {side} side")
    return client.seen("connected")[-1][0]


async def send(client: JsClient, recipient_ids: list[str], text: str) -> Any:
    return await client.ask("send_message", {"recipientIds": recipient_ids, "message": text})


def texts(client: JsClient) -> list[str]:
    return [message["message"] for (message,) in client.seen("message")]


def statuses(client: JsClient) -> list[tuple[str, str]]:
    return [(update["userId"], update["status"]) for (update,) in client.seen("user_status_update")]


async def test_the_switch(machine: Machine, old_service: subprocess.Popen[str], node: Node) -> None:
    counted = machine.run(COUNT)
    assert dict(re.findall(r"'(\w+)': (\d+)", counted)) == {
        "friends": "3", "user": "1", "status": "1"
    }  # fmt: skip
    await asyncio.to_thread(machine.start)
    assert machine.run(IMPORT) == machine.run(IMPORT) == "3 lists imported.\n"
    await asyncio.to_thread(machine.turn, PROXY)

    alice = player(node, machine, "alice", "websocket")
    carol = player(node, machine, "carol", "polling")
    phone = player(node, machine, "erin", "websocket")
    for client in (alice, carol, phone):
        await arrived(client, "old")
    assert (await send(alice, ["carol"], "on the old side"))["status"] == "sent"
    await carol.given("message")

    with machine.valkey.client() as redis:  # a friend more, since the first import
        redis.set("friends:bob", '[{"_id": "carol"}, {"_id": "alice"}]')
    assert (await asyncio.to_thread(machine.turn, SWITCH)) == "3 lists imported.\n"
    bob, laptop = player(node, machine, "bob"), player(node, machine, "erin")
    for client in (bob, laptop):
        await arrived(client, "new")
    # What ends her poll; the next one is the new side's.
    await send(alice, ["carol"], "still on the old side")
    await arrived(carol, "new", 2)

    # Alice's WebSocket stands, so she stays, and nothing but what waits for her crosses.
    friends = (await bob.ask("get_online_friends_only"))["users"]
    assert [friend["userId"] for friend in friends] == ["carol"]
    receipt = await send(bob, ["alice", "carol", "erin"], "to all")
    assert receipt["recipients"] == {
        "total": 3, "sent": ["carol", "erin"], "queued": ["alice"], "failed": []
    }  # fmt: skip
    await carol.until(lambda: "to all" in texts(carol), "Bob's message")
    await laptop.given("message")
    assert (await send(alice, ["bob"], "into the void"))["status"] == "sent"

    await asyncio.to_thread(old_service.terminate)
    assert (await arrived(alice, "new", 2))["missed"] == 1
    assert (await arrived(phone, "new", 2))["missed"] == 0
    await alice.given("message")
    await bob.until(lambda: ("alice", "online") in statuses(bob), "word of Alice")
    assert (await send(alice, ["bob"], "here I am"))["recipients"]["sent"] == ["bob"]
    await bob.given("message")
    assert texts(bob) == ["here I am"]
    assert texts(alice) == ["to all"]
    assert (texts(carol)[0], texts(carol)[-1]) == ("on the old side", "to all")
    for client, connections in ((alice, 2), (bob, 1), (carol, 2), (phone, 2), (laptop, 1)):
        assert len(client.of_kind("connect")) == connections

    machine.run(CLEAN_UP)
    with machine.valkey.client() as redis:
        assert redis.keys() == [b"status:dora"]
    assert (await send(bob, ["alice"], "who is clean"))["recipients"]["sent"] == ["alice"]
    with Redis(port=machine.valkey.port, db=1) as redis:
        ours = set(redis.scan_iter())
    assert len(ours) > 10
    assert {key for key in ours if not key.startswith(b"scarfall:")} == set()


async def test_going_back(machine: Machine, old_service: subprocess.Popen[str], node: Node) -> None:
    await asyncio.to_thread(machine.start)
    await asyncio.to_thread(machine.turn, PROXY)
    await asyncio.to_thread(machine.turn, SWITCH)
    alice, bob = (player(node, machine, who) for who in ("alice", "bob"))
    for client in (alice, bob):
        await arrived(client, "new")
    assert (await send(alice, ["dora"], "for later"))["recipients"]["queued"] == ["dora"]

    await asyncio.to_thread(machine.turn, BACK)
    await asyncio.to_thread(machine.stop)
    for client in (alice, bob):
        await arrived(client, "old", 2)
    await send(alice, ["bob"], "back again")
    await bob.given("message")

    await asyncio.to_thread(machine.start)
    await asyncio.to_thread(machine.turn, SWITCH)
    dora = player(node, machine, "dora")
    await arrived(dora, "new")
    await dora.given("message")
    assert texts(dora) == ["for later"]


async def test_a_side_goes_by_the_address(
    machine: Machine, old_service: subprocess.Popen[str]
) -> None:
    """A larger share takes more addresses over, and none back: who is on the new side stays."""
    await asyncio.to_thread(machine.start)
    sides = [await new_side(machine, block) for block in (PROXY, OFFICE, SHARE)]
    assert sides[:2] == [set(), {OFFICE_ADDRESS}]
    tenth = sides[2]
    async with AsyncExitStack() as stack:
        stay = [await stack.enter_async_context(poller(machine, at)) for at in sorted(tenth)]
        assert "10%" in SHARE
        half = await new_side(machine, SHARE.replace("10%", "50%"))
        for raw in stay:
            assert set(await ask(raw, "ping")) == {"timestamp"}
    everybody = {*ADDRESSES, OFFICE_ADDRESS}
    assert set() < tenth < half < everybody
    assert await new_side(machine, SWITCH) == everybody


def poller(machine: Machine, address: str) -> Any:
    """A client that polls, which is a connection of its own each time."""
    auth = {"token": token(f"from {address}")}
    return connected("polling", machine.proxy, auth, address=address)


async def new_side(machine: Machine, block: str) -> set[str]:
    """The addresses whose clients come to the new side, once the block was run."""
    await asyncio.to_thread(machine.turn, block)

    async def is_new(address: str) -> bool:
        raw: Raw
        async with poller(machine, address) as raw:
            return side_of(await event(raw, "connected")) == "new"

    addresses = [*ADDRESSES, OFFICE_ADDRESS]
    new = await asyncio.gather(*map(is_new, addresses))
    return {address for address, there in zip(addresses, new, strict=True) if there}


#: Players' ids which look like the old service's names, or would match many of them.
HOSTILE = ["alice", "*", "alice:session:x", "user:alice:session:x", "friends:alice", "{friends}:a"]


async def test_on_one_database_neither_touches_what_is_the_others(
    old_valkey: Valkey, tmp_path: Path, node: Node
) -> None:
    port = listening_port()
    deployment = Deployment(old_valkey, tmp_path, REDIS_PREFIX="scarfall:", OFFLINE_GRACE="0.1")
    with running_old_service(old_valkey, port), old_valkey.client() as redis:
        at_old = [
            node.open(f"http://127.0.0.1:{port}", auth={"token": token(who)}) for who in HOSTILE
        ]
        for client in at_old:
            await client.given("connected")
        theirs = everything(redis)
        assert Counter(key.partition(b":")[0] for key in theirs) == {
            b"friends": 3, b"user": 1 + len(HOSTILE), b"status": 1
        }  # fmt: skip
        try:
            gateway = await asyncio.to_thread(deployment.start)
            assert gateway.manage("import_friends", "--from-redis") == "3 lists imported.\n"
            async with AsyncExitStack() as stack:
                for who in HOSTILE:
                    here = await stack.enter_async_context(connect_as(gateway.url, who))
                    receipt = await here.message([*HOSTILE, "away"], f"by {who}", messageId=who)
                    assert receipt["recipients"]["queued"]
                # Each has what came before, since it waited, and what came after.
                await here.pushed("message", len(HOSTILE))
                channels = redis.pubsub_channels()
                gateway.manage("cleanup_sessions")
        finally:
            deployment.stop()
        now = everything(redis)
        assert {key: now.get(key) for key in theirs} == theirs
        ours = now.keys() - theirs.keys()
        assert len(ours) > 3 * len(HOSTILE)
        assert all(key.startswith(b"scarfall:") for key in ours)
        assert {re.split(rb"[:#-]", channel)[0] for channel in channels} == {
            b"scarfall", b"socket.io"
        }  # fmt: skip
        # And the old service finds its own, as ever.
        await send(at_old[2], ["alice"], "on the old side")
        await at_old[0].given("message")
        assert texts(at_old[0]) == ["on the old side"]
        # What is deleted in the end is theirs.
        machine = Machine(tmp_path, old_valkey)
        machine.prepare()
        machine.run(CLEAN_UP)
        assert set(redis.scan_iter()) == ours | {b"status:dora"}


def everything(redis: "Redis") -> dict[bytes, tuple[bytes | None, int]]:
    """Each key's value and end."""
    return {key: (redis.dump(key), redis.pexpiretime(key)) for key in redis.scan_iter()}
