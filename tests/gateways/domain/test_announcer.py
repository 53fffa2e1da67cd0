"""Changes are told until the store takes them, by whoever can, and to each watcher once."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from redis.asyncio import Redis

from gateways.domain import announcer as announcers
from gateways.gateway import Gateway
from gateways.protocol.events import now_ms
from gateways.store.errors import StoreUnavailable
from gateways.store.keys import Keys
from gateways.store.records import SessionRecord, Transition
from tests.conftest import MakeGateway
from tests.gateways.consumers.client import connect_as, until
from tests.gateways.nodes import die


async def test_of_changes_that_wait_only_the_newest_is_told(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []

    async def tell(transitions: Sequence[Transition]) -> None:
        told.extend(transition.generation for transition in transitions)

    monkeypatch.setattr(gateway.announcer, "_tell_watchers", tell)
    for generation in (1, 3, 2, 5, 4):
        gateway.announcer.announce(Transition("alice", False, generation, None, 0))
    await gateway.announcer.settle()
    assert told == [5]


async def test_a_change_that_comes_while_the_last_one_is_told_is_told_after_it(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    telling, go_on = asyncio.Event(), asyncio.Event()

    async def tell(transitions: Sequence[Transition]) -> None:
        telling.set()
        await go_on.wait()
        told.extend(transition.generation for transition in transitions)

    monkeypatch.setattr(gateway.announcer, "_tell_watchers", tell)
    gateway.announcer.announce(Transition("alice", True, 1, None, 0))
    await telling.wait()
    gateway.announcer.announce(Transition("alice", False, 2, None, 0))
    go_on.set()
    await gateway.announcer.announced("alice")
    assert told == [1, 2]


async def test_a_change_is_announced_until_the_store_takes_it(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcers, "RETRY_SECONDS", 0.01)
    real, failures = gateway.announcer._friends.watchers, iter(range(3))
    told: list[str] = []

    async def watchers(user_ids: Sequence[str]) -> list[list[str]]:
        if next(failures, None) is not None:
            raise StoreUnavailable
        told.extend(user_ids)
        return await real(user_ids)

    monkeypatch.setattr(gateway.announcer._friends, "watchers", watchers)
    gateway.announcer.announce(Transition("alice", False, 1, None, 0))
    await gateway.presence.settle(timeout_seconds=5)
    assert told == ["alice"]
    assert await gateway.presence._sessions.untold(["alice"]) == []


async def test_settling_gives_up_in_time(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(_: Any) -> list[list[str]]:
        raise StoreUnavailable

    monkeypatch.setattr(gateway.announcer._friends, "watchers", fail)
    gateway.announcer.announce(Transition("alice", False, 1, None, 0))
    await gateway.presence.settle(timeout_seconds=0.05)
    assert len(gateway.announcer) == 1
    await gateway.announcer.stop()  # or the gateway's own stop would wait as long


async def test_after_a_failure_the_newest_is_told(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcers, "RETRY_SECONDS", 0.01)
    told: list[int] = []
    failures = iter(range(1))

    async def tell(transitions: Sequence[Transition]) -> None:
        if next(failures, None) is not None:
            gateway.announcer.announce(Transition("alice", False, 2, None, 0))
            raise StoreUnavailable
        told.extend(transition.generation for transition in transitions)

    monkeypatch.setattr(gateway.announcer, "_tell_watchers", tell)
    gateway.announcer.announce(Transition("alice", True, 1, None, 0))
    await gateway.announcer.announced("alice")
    assert told == [2]
    assert "alice" not in gateway.announcer


async def test_many_are_told_together(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []

    async def tell(transitions: Sequence[Transition]) -> None:
        batches.append(len(transitions))

    monkeypatch.setattr(gateway.announcer, "_tell_watchers", tell)
    monkeypatch.setattr(announcers, "MAX_BATCH", 8)
    for number in range(20):
        gateway.announcer.announce(Transition(f"user-{number}", True, 1, None, 0))
    assert len(gateway.announcer) == 20
    await asyncio.gather(*[gateway.announcer.announced(f"user-{n}") for n in range(20)])
    assert batches == [8, 8, 4]


async def test_what_is_more_than_the_store_takes_at_once_is_told_by_fewer(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcers, "RETRY_SECONDS", 0.001)
    told: list[str] = []

    async def tell(transitions: Sequence[Transition]) -> None:
        names = [transition.user_id for transition in transitions]
        if "popular" in names and len(names) > 1:
            raise StoreUnavailable
        told.extend(names)

    monkeypatch.setattr(gateway.announcer, "_tell_watchers", tell)
    for name in ("popular", *(f"user-{number}" for number in range(20))):
        gateway.announcer.announce(Transition(name, True, 1, None, 0))
    await gateway.announcer.settle()
    assert sorted(told) == sorted(["popular", *(f"user-{number}" for number in range(20))])


async def test_one_whose_keys_are_broken_keeps_nobody_else_from_being_told(
    gateway: Gateway, redis: "Redis", keys: Keys
) -> None:
    await gateway.friends.set("watcher", ["alice", "carol"])
    await redis.set(keys.friend_of("bob"), "no set")
    async with connect_as(gateway, "watcher") as watcher:
        for name in ("alice", "bob", "carol"):
            gateway.announcer.announce(Transition(name, True, now_ms() + 60_000, None, 0))
        await gateway.announcer.settle()
        heard = [update["userId"] for update in await watcher.pushed("user_status_update", count=2)]
        assert heard == ["alice", "carol"]


# --- what a dead node did not come to -------------------------------------------------------------


def statuses(updates: list[Any]) -> list[str]:
    return [update["status"] for update in updates]


async def open_untold(gateway: Gateway, user_id: str) -> None:
    """As by a node that dies between the store's answer and its announcement."""
    node_id = gateway.node_id
    await gateway.node._nodes.hold(node_id, user_id)
    await gateway.presence._sessions.open(
        user_id,
        f"{node_id}.ghost",
        SessionRecord(None, None, 0),
        email=None,
        new_epoch="e",
        resume=None,
    )


async def test_whoever_opens_the_next_session_tells_it(make_gateway: MakeGateway) -> None:
    dying, other = await make_gateway(), await make_gateway()
    await other.friends.set("watcher", ["alice"])
    async with connect_as(other, "watcher") as watcher:
        await open_untold(dying, "alice")
        await die(dying)
        async with connect_as(other, "alice"):
            (update,) = await watcher.pushed("user_status_update")
            assert update["status"] == "online"


async def test_the_sweep_tells_it(make_gateway: MakeGateway) -> None:
    dying, other = await make_gateway(), await make_gateway()
    await other.friends.set("watcher", ["alice"])
    async with connect_as(other, "watcher") as watcher:
        await open_untold(dying, "alice")
        await other.announcer.index(["alice"])
        async for _ in other.sessions.sweep():
            pass
        await watcher.pushed("user_status_update")
        async for _ in other.sessions.sweep():
            pass
        await other.announcer.settle()
        assert statuses(watcher.seen("user_status_update")) == ["online"]


async def test_a_nudge_that_the_layer_lost_is_sent_again(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = await make_gateway(), await make_gateway()
    await one.friends.set("watcher", ["alice"])
    real, failures = one.mailbox._layer.send, iter(range(1))

    async def send(channel: str, message: dict[str, Any]) -> None:
        if channel.endswith(other.node_id) and next(failures, None) is not None:
            raise ConnectionError
        await real(channel, message)

    monkeypatch.setattr(one.mailbox._layer, "send", send)
    async with connect_as(other, "watcher") as watcher, connect_as(one, "alice"):
        await watcher.pushed("user_status_update")
        await until(lambda: next(failures, None) is None)
        assert statuses(watcher.seen("user_status_update")) == ["online"]
