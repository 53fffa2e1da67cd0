"""Connection state recovery of the stock client, whichever end its connections come to."""

import asyncio
from typing import Any

import pytest

from tests.e2e.client import connect_as, dial_as, token
from tests.e2e.conftest import Name, Pair
from tests.e2e.gateways import Deployment, GatewayProcess
from tests.socketio.clients import JsClient, Node
from tests.socketio.stock_load import turning

#: So that a test needs not wait for the client; by itself it begins with a second.
QUICK: dict[str, Any] = {"reconnectionDelay": 100, "reconnectionDelayMax": 500}


def at(gateway: GatewayProcess) -> str:
    return f"http://127.0.0.1:{gateway.port}"


def texts(client: JsClient) -> list[str]:
    return [given[0]["message"] for given in client.seen("message")]


both_ways = pytest.mark.parametrize("in_auth", [True, False], ids=["by auth", "by an event"])


async def recovering(
    node: Node, url: str, user_id: str, *, in_auth: bool = True, **options: Any
) -> JsClient:
    auth: dict[str, Any] = {"recovery": True}
    if in_auth:
        auth["token"] = token(user_id)
    client = node.open(url, auth=auth, **QUICK, **options)
    if not in_auth:
        await client.once("connect")
        client.emit("authenticate", {"token": token(user_id)})
    await client.given("connected")
    return client


@both_ways
@pytest.mark.parametrize("transports", [["polling", "websocket"], ["websocket"], ["polling"]])
async def test_a_client_recovers_by_itself(
    pair: Pair, node: Node, name: Name, *, in_auth: bool, transports: list[str]
) -> None:
    user_id = name("bob")
    bob = await recovering(node, at(pair.first), user_id, in_auth=in_auth, transports=transports)
    async with connect_as(pair.second.url, name("alice")) as alice:
        for round_ in range(1, 4):
            await alice.message(user_id, f"before {round_}")
            await bob.until(lambda: texts(bob)[-1:] == [f"before {round_}"], "the message")  # noqa: B023
            bob.tell("drop")
            await bob.once("disconnect", round_)
            await alice.message(user_id, f"meanwhile {round_}")
            connect = await bob.once("connect", round_ + 1)
            assert connect["recovered"] is True
        await alice.message(user_id, "after")
        await bob.until(lambda: texts(bob)[-1:] == ["after"], "the last message")
        # It is authenticated as it was.
        receipt = await bob.ask("send_message", {"recipientIds": [user_id], "message": "end"})
        assert receipt["status"] == "sent"
    expected = [f"{when} {n}" for n in (1, 2, 3) for when in ("before", "meanwhile")]
    assert texts(bob)[:7] == [*expected, "after"]
    epoch = bob.seen("connected")[0][0]["epoch"]
    for message, offset in bob.seen("message"):
        assert offset == f"{epoch}:{message['seq']}"
    greetings = [greeting["data"] for greeting in bob.of_kind("greeting")]
    assert {frozenset(greeting) for greeting in greetings} == {frozenset({"sid", "pid"})}
    assert len({greeting["pid"] for greeting in greetings}) == 1


@both_ways
@pytest.mark.parametrize("transports", [["polling", "websocket"], ["websocket"], ["polling"]])
async def test_a_client_recovers_at_another_process(
    pair: Pair, node: Node, name: Name, *, in_auth: bool, transports: list[str]
) -> None:
    """Where the balancer turns it, there and back."""
    bob_id, here, there = name("bob"), pair.first, pair.second
    async with turning(here.port) as proxy, connect_as(there.url, name("alice")) as alice:
        url = f"http://127.0.0.1:{proxy.port}"
        bob = await recovering(node, url, bob_id, in_auth=in_auth, transports=transports)
        for number, gateway in enumerate((there, here), start=1):
            await alice.message(bob_id, f"before {number}")
            await bob.given("message", 2 * number - 1)
            proxy.turn(gateway.port)
            await alice.message(bob_id, f"meanwhile {number}")
            assert (await bob.once("connect", number + 1))["recovered"] is True
            await bob.given("message", 2 * number)
        receipt = await bob.ask("send_message", {"recipientIds": [bob_id], "message": "end"})
        assert receipt["status"] == "sent"
        await bob.given("message", 5)
    assert texts(bob) == ["before 1", "meanwhile 1", "before 2", "meanwhile 2", "end"]


async def test_a_client_that_got_nothing_yet_recovers(pair: Pair, node: Node, name: Name) -> None:
    bob = await recovering(node, at(pair.first), name("bob"))
    bob.tell("drop")
    await bob.once("disconnect")
    async with connect_as(pair.second.url, name("alice")) as alice:
        await alice.message(name("bob"), "meanwhile")
    assert (await bob.once("connect", 2))["recovered"] is True
    await bob.given("message")
    assert texts(bob) == ["meanwhile"]


async def test_a_fresh_token_keeps_recovery_going(pair: Pair, node: Node, name: Name) -> None:
    auth = {"recovery": True, "token": token(name("bob"), lifetime_seconds=5)}
    bob = node.open(at(pair.first), auth=auth, **QUICK)
    await bob.given("connected")
    await bob.ask("authenticate", {"token": token(name("bob"))})
    with pair.deployment.store.client() as redis:
        kept = [
            redis.ttl(key)
            for key in redis.scan_iter(f"{pair.deployment.prefix}recovery:*")
            if name("bob").encode() in (redis.get(key) or b"")
        ]
    assert len(kept) == 1
    assert kept[0] > 5


async def test_who_does_not_ask_for_it_gets_one_argument_and_no_pid(
    pair: Pair, node: Node, name: Name
) -> None:
    bob = node.open(at(pair.first), auth={"token": token(name("bob"))}, **QUICK)
    await bob.given("connected")
    async with connect_as(pair.second.url, name("alice")) as alice:
        await alice.message(name("bob"), "one")
        (given,) = await bob.given("message")
        assert len(given) == 1
        bob.tell("drop")
        assert (await bob.once("connect", 2))["recovered"] is not True
        # The token is in its auth, and what nobody was handed comes all the same.
        await alice.message(name("bob"), "two")
        assert [len(given) for given in await bob.given("message", 2)] == [1, 1]
        assert [set(greeting["data"]) for greeting in bob.of_kind("greeting")] == [{"sid"}] * 2


async def test_it_may_be_on_for_everybody(node: Node, deployment: Deployment, name: Name) -> None:
    gateway = await asyncio.to_thread(deployment.start, SOCKETIO_RECOVERY="true")
    bob = node.open(at(gateway), auth={"token": token(name("bob"))}, **QUICK)
    await bob.given("connected")
    bob.tell("drop")
    assert (await bob.once("connect", 2))["recovered"] is True


async def test_a_goodbye_is_not_recovered(pair: Pair, node: Node, name: Name) -> None:
    """Nor is who was sent away for good."""
    bob = await recovering(node, at(pair.first), name("bob"))
    other = await dial_as(pair.second.url, name("bob"))
    session_id = bob.seen("connected")[0][0]["sessionId"]
    assert (await other.request("close_session", {"sessionId": session_id}))["status"] == "success"
    assert (await bob.once("disconnect"))["reason"] == "io server disconnect"
    bob.tell("connect")
    assert (await bob.once("connect", 2))["recovered"] is not True
    bob.tell("disconnect")
    await bob.once("disconnect", 2)
    bob.tell("connect")
    assert (await bob.once("connect", 3))["recovered"] is not True
    await other.socket.close()


async def test_a_resume_in_the_auth_is_exact(pair: Pair, node: Node, name: Name) -> None:
    async with connect_as(pair.second.url, name("alice")) as alice:
        first = node.open(at(pair.first), auth={"token": token(name("bob"))})
        ((connected,),) = await first.given("connected")
        for number in range(1, 6):
            await alice.message(name("bob"), f"{number}")
        await first.given("message", 5)
    resume = {"epoch": connected["epoch"], "seq": 2}
    by_auth = node.open(at(pair.second), auth={"token": token(name("bob")), "resume": resume})
    by_event = node.open(at(pair.second))
    await by_event.once("connect")
    by_event.emit("authenticate", {"token": token(name("bob")), "resume": resume})
    for client in (by_auth, by_event):
        ((again,),) = await client.given("connected")
        assert (again["recovered"], again["missed"]) == (True, 3)
        await client.given("message", 3)
        assert texts(client) == ["3", "4", "5"]
