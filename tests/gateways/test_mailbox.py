"""The mailbox on the shipped channel layer: what is sent arrives, deafness is seen and healed."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from channels_redis.pubsub import RedisPubSubChannelLayer
from django.conf import settings
from redis.asyncio import Redis

from gateways import mailbox as mailboxes
from gateways.connections import Connections
from gateways.mailbox import Mailbox
from gateways.nudges import BroadcastNudge, CloseNudge, Echo, MessageNudge, Nudge, StatusNudge
from gateways.protocol.events import ServerShutdown
from gateways.store.errors import StoreUnavailable
from services_registry import notices
from tests.gateways.consumers.client import until
from tests.valkey import Valkey, running_valkey


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    """A server of this module's own: its tests do what others could not bear."""
    with running_valkey() as server:
        yield server


class Received:
    """Takes what arrives, as the hub does."""

    waiting_bytes = 0

    def __init__(self) -> None:
        self.nudges: list[Nudge] = []
        self.fail = False
        self.failed: list[Nudge] = []

    def take(self, nudge: Nudge) -> None:
        if self.fail:
            self.failed.append(nudge)
            raise ZeroDivisionError
        self.nudges.append(nudge)

    on_message = on_status = on_broadcast = take

    def end(self, code: int, reason: str) -> None:
        self.take(CloseNudge("other.1", code, reason))

    def shut_down(self, farewell: ServerShutdown) -> None:
        raise AssertionError(farewell)


class Node:
    def __init__(self, layer: Any, node_id: str, prefix: str) -> None:
        self.id = node_id
        self.layer = layer
        self.received = Received()
        self.heard_again = 0
        self.changed: list[str] = []
        self.traced: list[str] = []
        self.connections = Connections()
        self.mailbox = Mailbox(
            layer,
            self.received,
            self.connections,
            node_id=node_id,
            prefix=prefix,
            timeout_seconds=5,
            on_hearing_again=self._hear_again,
            on_service_changed=self.changed.append,
            on_trace=self.traced.append,
        )

    def _hear_again(self) -> None:
        self.heard_again += 1

    async def stop(self) -> None:
        await self.mailbox.stop()
        await self.layer.flush()


MakeNode = Callable[[str], Awaitable[Node]]


def shipped_layer(url: str, prefix: str) -> Any:
    """The channel layer as settings.CHANNEL_LAYERS has it, at the tests' own server."""
    config: Any = settings.CHANNEL_LAYERS["default"]["CONFIG"]
    return RedisPubSubChannelLayer(hosts=[{**config["hosts"][0], "address": url}], prefix=prefix)


@pytest.fixture
async def make_node(valkey: Valkey) -> AsyncIterator[MakeNode]:
    prefix = f"test-{secrets.token_hex(4)}:"
    nodes: list[Node] = []

    async def make(node_id: str) -> Node:
        node = Node(shipped_layer(valkey.url, prefix), node_id, prefix)
        nodes.append(node)
        await node.mailbox.start()
        return node

    yield make
    for node in nodes:
        await node.stop()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailboxes, "ECHO_SECONDS", 0.05)
    monkeypatch.setattr(mailboxes, "DEAF_SECONDS", 0.3)


def message(number: int) -> MessageNudge:
    return MessageNudge(b"%d" % number, [("bob", number, "e")])


async def test_a_nudge_of_every_kind_arrives_at_the_node_it_is_for(make_node: MakeNode) -> None:
    one, other = await make_node("one"), await make_node("other")
    other.connections.join("other.1", other.received)
    sent: list[Nudge] = [
        MessageNudge(b'{"a":"\xf0\x9f\x98\x80"}', [("}مرحبا{", 7, "e"), ("bob", 2**53, "e")]),
        StatusNudge("alice", True, 3, None, 1000, ["bob"]),
        BroadcastNudge(b"{}"),
        CloseNudge("other.1", 4403, "Revoked."),
    ]
    for nudge in sent:
        one.mailbox.send("other", nudge)
    await one.mailbox.flushed(timeout_seconds=5)
    await until(lambda: len(other.received.nudges) == len(sent))
    assert other.received.nudges == sent
    assert one.received.nudges == []


async def test_what_is_for_the_node_itself_takes_no_detour(make_node: MakeNode) -> None:
    node = await make_node("one")
    node.mailbox.send("one", message(1))
    assert node.received.nudges == [message(1)]


async def test_many_nudges_arrive_in_order(make_node: MakeNode) -> None:
    one, other = await make_node("one"), await make_node("other")
    for number in range(2 * mailboxes.MAX_BATCH + 1):
        one.mailbox.send("other", message(number))
        if number % 100 == 0:
            await asyncio.sleep(0)
    await until(lambda: len(other.received.nudges) == 2 * mailboxes.MAX_BATCH + 1)
    assert other.received.nudges == [message(n) for n in range(2 * mailboxes.MAX_BATCH + 1)]


async def test_a_nudge_to_a_node_that_is_gone_harms_nobody(make_node: MakeNode) -> None:
    one, other = await make_node("one"), await make_node("other")
    one.mailbox.send("gone", message(1))
    one.mailbox.send("other", message(2))
    await until(lambda: other.received.nudges == [message(2)])
    await one.mailbox.flushed(timeout_seconds=5)


async def test_a_nudge_that_fails_does_not_stop_the_next(make_node: MakeNode) -> None:
    one, other = await make_node("one"), await make_node("other")
    other.received.fail = True
    one.mailbox.send("other", message(1))
    await until(lambda: other.received.failed == [message(1)])
    other.received.fail = False
    await other.layer.send(other.mailbox._channel("other"), {"type": "nudges", "nudges": b"\xc1"})
    one.mailbox.send("other", message(2))
    await until(lambda: other.received.nudges == [message(2)])


async def test_what_waits_for_one_node_is_bounded(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailboxes, "MAX_WAITING", 5)
    one, other = await make_node("one"), await make_node("other")
    for number in range(20):
        one.mailbox.send("other", message(number))
    await one.mailbox.flushed(timeout_seconds=5)
    await until(lambda: len(other.received.nudges) == 5)
    assert other.received.nudges == [message(number) for number in range(5)]


async def test_a_layer_that_fails_loses_the_nudge_and_nothing_else(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = await make_node("one"), await make_node("other")
    real = one.layer.send

    async def fail(*_: Any) -> None:
        raise ConnectionError

    monkeypatch.setattr(one.layer, "send", fail)
    one.mailbox.send("other", message(1))
    await one.mailbox.flushed(timeout_seconds=5)
    monkeypatch.setattr(one.layer, "send", real)
    one.mailbox.send("other", message(2))
    await until(lambda: other.received.nudges == [message(2)])


async def test_a_missed_echo_is_a_sign_that_other_things_were_missed(make_node: MakeNode) -> None:
    node = await make_node("one")
    node.mailbox._take(Echo(node.mailbox._heard + 1))
    assert node.heard_again == 0
    node.mailbox._take(Echo(node.mailbox._heard + 2))
    assert node.heard_again == 1


async def test_a_node_that_cannot_hear_itself_does_not_start(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node(shipped_layer(valkey.url, "test:"), "one", "test:")
    node.mailbox._timeout_seconds = 0.05

    async def nowhere(*_: Any) -> None:
        pass

    monkeypatch.setattr(node.layer, "send", nowhere)
    with pytest.raises(StoreUnavailable):
        await node.mailbox.start()
    assert node.mailbox.deaf
    await node.stop()


@pytest.mark.usefixtures("quick")
async def test_a_killed_subscription_is_noticed_and_heals(
    make_node: MakeNode, valkey: Valkey
) -> None:
    node, other = await make_node("one"), await make_node("other")
    for kills in range(1, 3):
        # redis-py's PubSub lets a subscribe and its own reader reconnect at once, and leaves one of
        # the two connections to the garbage collector: harmless, but an error in these tests.
        await until(lambda: node.mailbox._noticing and other.mailbox._noticing)
        async with Redis.from_url(valkey.url) as redis:
            assert await redis.client_kill_filter(_type="pubsub") >= 1
        # The reconcile is called for: nudges of between are gone.
        await until(lambda kills=kills: node.heard_again >= kills)  # type: ignore[misc]
        await until(lambda: not node.mailbox.deaf and not other.mailbox.deaf)
        other.mailbox.send("one", message(kills))
        await until(lambda kills=kills: node.received.nudges[-1:] == [message(kills)])  # type: ignore[misc]


@pytest.mark.usefixtures("quick")
async def test_a_subscription_that_redis_knows_nothing_of_is_started_anew(
    make_node: MakeNode, valkey: Valkey
) -> None:
    """As after a subscribe that failed in an outage: the layer believes that it listens."""
    node = await make_node("one")
    channel = node.mailbox._channel("one")
    (shard,) = node.layer._layers[asyncio.get_running_loop()]._shards
    await shard._pubsub.unsubscribe(channel)
    await until(lambda: node.mailbox.deaf)
    heard_again = node.heard_again
    await until(lambda: not node.mailbox.deaf)
    await until(lambda: node.heard_again > heard_again)


# --- what is not for users ------------------------------------------------------------------------


async def test_a_broadcast_and_a_close_for_the_node_itself_take_no_detour(
    make_node: MakeNode,
) -> None:
    node = await make_node("one")
    node.connections.join("other.1", node.received)
    node.mailbox.send("one", BroadcastNudge(b"{}"))
    node.mailbox.send("one", CloseNudge("other.1", 4403, "Revoked."))
    node.mailbox.send("one", CloseNudge("gone.1", 4403, "Revoked."))
    assert node.received.nudges == [BroadcastNudge(b"{}"), CloseNudge("other.1", 4403, "Revoked.")]


async def test_a_close_for_a_socket_that_is_gone_harms_nobody(make_node: MakeNode) -> None:
    one, other = await make_node("one"), await make_node("other")
    one.mailbox.send("other", CloseNudge("other.1", 4403, "Revoked."))
    one.mailbox.send("other", BroadcastNudge(b"{}"))
    await until(lambda: other.received.nudges == [BroadcastNudge(b"{}")])


async def notice(node: Node, service_name: str) -> None:
    """As the registry sends it, from wherever it runs."""
    await node.layer.group_send(notices.GROUP, {"type": notices.KIND, "service_name": service_name})


async def test_every_node_takes_notice_of_a_service_that_changed(make_node: MakeNode) -> None:
    nodes = [await make_node(node_id) for node_id in ("one", "two", "three")]
    await until(lambda: all(node.mailbox._noticing for node in nodes))
    for service_name in ("herald", "bank"):
        await notice(nodes[0], service_name)
    await until(lambda: all(node.changed == ["herald", "bank"] for node in nodes))
    assert all(node.received.nudges == [] for node in nodes)


@pytest.mark.usefixtures("quick")
async def test_a_notice_that_is_none_or_that_fails_does_not_stop_the_next(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await make_node("one")
    await until(lambda: node.mailbox._noticing)
    await node.layer.group_send(notices.GROUP, {"type": notices.KIND})
    real, failed = node.mailbox._on_service_changed, list[str]()

    def changed(service_name: str) -> None:
        if not failed:
            failed.append(service_name)
            raise ZeroDivisionError
        real(service_name)

    monkeypatch.setattr(node.mailbox, "_on_service_changed", changed)
    for service_name in ("herald", "bank"):
        await notice(node, service_name)
    await until(lambda: node.changed == ["bank"])
    assert failed == ["herald"]


@pytest.mark.usefixtures("quick")
async def test_a_node_that_could_not_join_the_notices_tries_again(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node(shipped_layer(valkey.url, "test-join:"), "one", "test-join:")
    real, failures = node.layer.group_add, [ConnectionError(), TimeoutError()]

    async def group_add(group: str, channel: str) -> None:
        if failures:
            raise failures.pop()
        await real(group, channel)

    monkeypatch.setattr(node.layer, "group_add", group_add)
    await node.mailbox.start()
    await until(lambda: node.mailbox._noticing)
    assert failures == []
    await notice(node, "herald")
    await until(lambda: node.changed == ["herald"])
    await node.stop()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("how", ["killed", "forgotten"])
async def test_notices_are_heard_again_after_the_subscription_was_lost(
    make_node: MakeNode, valkey: Valkey, how: str
) -> None:
    node = await make_node("one")
    await until(lambda: node.mailbox._noticing)
    heard_again = node.heard_again
    if how == "killed":
        async with Redis.from_url(valkey.url) as redis:
            assert await redis.client_kill_filter(_type="pubsub") >= 1
    else:  # of which Redis knows nothing, and the layer believes that it listens
        (shard,) = node.layer._layers[asyncio.get_running_loop()]._shards
        await shard._pubsub.unsubscribe()
    await until(lambda: node.heard_again > heard_again)
    await until(lambda: not node.mailbox.deaf and node.mailbox._noticing)
    await notice(node, "herald")
    await until(lambda: node.changed == ["herald"])


# --- stopping and idling --------------------------------------------------------------------------


async def test_a_cancellation_that_the_layer_loses_holds_nothing_up(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As redis-py does while it connects."""
    monkeypatch.setattr(mailboxes, "ECHO_SECONDS", 0.05)
    node = await make_node("one")
    real, losses = node.layer.receive, [1, 2]

    async def receive(channel: str) -> Any:
        while True:
            try:
                return await real(channel)
            except asyncio.CancelledError:
                if not losses:
                    raise
                losses.pop()

    monkeypatch.setattr(node.layer, "receive", receive)
    heard = node.mailbox._heard
    await until(lambda: node.mailbox._heard > heard + 1)  # by now it listens to the new one
    async with asyncio.timeout(10):
        await node.mailbox.stop()
    assert losses == []


# A real wait: redis-py's own time-out of 5 s once killed every subscriber that idled for longer.
async def test_a_mailbox_that_idled_for_15_seconds_still_hears(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mailboxes, "ECHO_SECONDS", 1000)  # else it would not idle
    with running_valkey() as own:
        one = Node(shipped_layer(own.url, "test:"), "one", "test:")
        other = Node(shipped_layer(own.url, "test:"), "other", "test:")
        await one.mailbox.start()
        await other.mailbox.start()
        await asyncio.sleep(15)
        assert not one.mailbox.deaf
        other.mailbox.send("one", message(1))
        await until(lambda: one.received.nudges == [message(1)])
        await one.stop()
        await other.stop()
