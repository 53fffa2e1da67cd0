"""Traces: what happens to one user at all nodes, and what they may not do to a node."""

import asyncio
import dataclasses
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from gateways import trail as trails
from gateways.config import Config
from gateways.domain import tracing
from gateways.gateway import Gateway
from gateways.store.errors import StoreUnavailable
from gateways.trail import Step, Trail
from tests.conftest import MakeGateway
from tests.gateways.consumers.client import Client, connect_as, connect_service, until
from tests.gateways.nodes import abandon, die


class Trace:
    """The steps that arrived so far."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.dropped = 0

    async def seen(self, step: str, count: int = 1, **details: Any) -> list[Step]:
        """Those steps with these details, once there are `count` of them."""

        def matching() -> list[Step]:
            return [
                each
                for each in self.steps
                if each.step == step and details.items() <= each.details.items()
            ]

        await until(lambda: len(matching()) >= count, f"{step} {details} in {self.steps}")
        return matching()


@asynccontextmanager
async def tracing_of(operator: Gateway, user_id: str, *nodes: Gateway) -> AsyncIterator[Trace]:
    """Once all these nodes follow the user."""
    trace = Trace()

    async def follow() -> None:
        async with aclosing(operator.tracing.follow(user_id)) as reports:
            async for report in reports:
                trace.steps += report.steps
                trace.dropped += report.dropped

    task = asyncio.create_task(follow())
    try:
        await trace.seen("followed", len(nodes))
        assert {step.node for step in trace.steps} == {node.node_id for node in nodes}
        yield trace
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
async def operator(make_gateway: MakeGateway) -> Gateway:
    """As a command has it."""
    return await make_gateway(start=False)


async def test_one_trace_has_what_happens_at_two_nodes(
    make_gateway: MakeGateway, operator: Gateway
) -> None:
    one, other = await make_gateway(), await make_gateway()
    await one.friends.set("carol", ["bob"])
    async with connect_as(other, "alice") as alice, tracing_of(operator, "bob", one, other) as seen:
        await alice.request("send_message", {"recipientIds": ["bob"], "message": "canary"})
        (queued,) = await seen.seen("queued", seq=1, sender="alice")
        assert queued.node == other.node_id
        async with connect_as(one, "bob", deviceId="phone") as bob:
            (connected,) = await seen.seen("connected", device_id="phone", seq=1, position=0)
            assert connected.node == one.node_id
            await seen.seen("announced", status="online", friends=1)
            await seen.seen("handed", seq=1, how=trails.READ)
            receipt = await alice.request(
                "send_message", {"recipientIds": ["bob"], "message": "canary"}
            )
            (stored,) = await seen.seen("stored", seq=2, nodes=one.node_id)
            (handed,) = await seen.seen("handed", seq=2, how=trails.PUSHED)
            assert (stored.node, handed.node) == (other.node_id, one.node_id)
            assert stored.details["message_id"] == receipt["messageId"]
            assert handed.details["message_id"] == receipt["messageId"]
            await bob.request("send_message", {"recipientIds": ["alice"], "message": "canary"})
            await seen.seen("sent", sent=1, queued=0, failed=0)
            await bob.request("send_message", {"recipientIds": []})
            await seen.seen("refused", code="invalid_payload", event_name="send_message")
            await bob.leave(1006)
        await seen.seen("disconnected", by="client", code=1006)
        await seen.seen("grace begun", seconds=0.3)
        await seen.seen("announced", status="offline")
        assert "canary" not in repr(seen.steps)
        assert {step.user_id for step in seen.steps} == {"bob"}


async def test_whoever_is_ended_by_an_operator_is_told_why(
    gateway: Gateway, operator: Gateway
) -> None:
    async with connect_as(gateway, "bob"), tracing_of(operator, "bob", gateway) as seen:
        await operator.sessions.disconnect("bob", reason="Told to.")
        await seen.seen("disconnected", by="gateway", code=4403, reason="Told to.")


async def test_a_watcher_hears_of_friends(gateway: Gateway, operator: Gateway) -> None:
    await gateway.friends.set("bob", ["alice"])
    async with (
        connect_as(gateway, "bob"),
        tracing_of(operator, "bob", gateway) as seen,
        connect_as(gateway, "alice"),
    ):
        await seen.seen("told", friend_id="alice", status="online")


async def test_a_services_message_names_it(
    gateway: Gateway, operator: Gateway, herald: object
) -> None:
    async with (
        connect_service(gateway, "herald") as service,
        tracing_of(operator, "bob", gateway) as seen,
    ):
        await service.request("send_message", {"recipientIds": ["bob"], "message": "x"})
        await seen.seen("queued", sender="service herald")


async def test_a_message_that_is_sent_again(gateway: Gateway, operator: Gateway) -> None:
    async with connect_as(gateway, "bob") as bob, tracing_of(operator, "bob", gateway) as seen:
        for _ in range(2):
            request = {"recipientIds": ["bob"], "message": "x", "messageId": "mine"}
            await bob.request("send_message", request)
        await seen.seen("sent again", message_id="mine")
        await seen.seen("handed", message_id="mine")


async def test_a_burial_is_in_it(make_gateway: MakeGateway, operator: Gateway) -> None:
    dead, living = await make_gateway(), await make_gateway()
    bob = Client(dead)
    await bob.authenticate("bob")
    async with tracing_of(operator, "bob", dead, living) as seen:
        await die(dead)
        await living.node._nodes.drop_lease(dead.node_id, grace_seconds=0)
        await living.node._renew()
        await seen.seen("buried", dead_node=dead.node_id)
        (offline,) = await seen.seen("announced", status="offline")
        assert offline.node == living.node_id
    await abandon(bob)


async def test_a_trace_whose_command_died_runs_out(
    gateway: Gateway, operator: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trails, "TRACE_SECONDS", 0.5)
    monkeypatch.setattr(tracing, "RENEW_SECONDS", 0.1)
    async with tracing_of(operator, "bob", gateway):
        await asyncio.sleep(1.0)  # longer than it takes to run out
        assert gateway.trail.on
        assert gateway.trail.watches("bob")
        assert not gateway.trail.watches("alice")
    await until(lambda: not gateway.trail.on, "the trace to run out")
    assert not gateway.trail.watches("bob")
    assert not gateway.trail._waiting


async def test_a_node_that_comes_later_joins(
    make_gateway: MakeGateway, operator: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "RENEW_SECONDS", 0.1)
    one = await make_gateway()
    async with tracing_of(operator, "bob", one) as seen:
        late = await make_gateway()
        assert late.node_id in {step.node for step in await seen.seen("followed", 2)}


async def test_what_comes_too_fast_is_dropped_and_counted() -> None:
    published: list[trails.Report] = []
    going_on = asyncio.Event()

    async def publish(_user_id: str, report: bytes) -> None:
        await going_on.wait()
        published.append(trails.decode(report))

    trail = Trail("node", publish)
    trail.follow("bob")
    await asyncio.sleep(0)  # its first step is under way, and stays so
    for number in range(10_000):
        trail.note("handed", "bob", seq=number)
    assert sum(map(len, trail._waiting.values())) == trails.MAX_WAITING
    going_on.set()
    await until(lambda: len(published) == 2)
    assert [step.step for step in published[0].steps] == ["followed"]
    assert [step.details["seq"] for step in published[1].steps] == list(range(trails.MAX_WAITING))
    assert published[1].dropped == 10_000 - trails.MAX_WAITING
    await trail.stop()


async def test_what_the_store_does_not_take_is_counted() -> None:
    outcomes: list[trails.Report] = []

    async def publish(_user_id: str, report: bytes) -> None:
        outcomes.append(trails.decode(report))
        if len(outcomes) == 1:
            raise StoreUnavailable("away")

    trail = Trail("node", publish)
    trail.follow("bob")
    await until(lambda: len(outcomes) == 1)
    trail.note("handed", "bob", seq=1)
    await until(lambda: len(outcomes) == 2)
    assert outcomes[1].dropped == 1
    await trail.stop()


async def test_so_many_are_followed_and_what_they_say_is_bounded() -> None:
    published: Counter[str] = Counter()
    texts: list[Any] = []

    async def publish(user_id: str, report: bytes) -> None:
        published[user_id] += 1
        texts.extend(step.details.get("reason") for step in trails.decode(report).steps)

    trail = Trail("node", publish)
    for number in range(trails.MAX_FOLLOWED + 5):
        trail.follow(f"user{number}")
    trail.note("disconnected", "user0", reason="x" * 10_000)
    await until(lambda: len(published) == trails.MAX_FOLLOWED)
    assert "x" * trails.MAX_TEXT in texts
    assert "x" * (trails.MAX_TEXT + 1) not in texts
    await trail.stop()


async def test_a_trace_without_a_store_says_so(config: Config, make_gateway: MakeGateway) -> None:
    operator = await make_gateway(
        dataclasses.replace(config, redis_url="redis://127.0.0.1:1/0"), start=False
    )
    with pytest.raises(StoreUnavailable):
        await anext(operator.tracing.follow("bob"))
