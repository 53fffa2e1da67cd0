"""Presence between users: one word a change, no flapping, no ghosts, whatever answers are lost."""

import asyncio
import dataclasses
from typing import Any

import pytest

from gateways.config import Config
from gateways.domain import presence as presences
from gateways.gateway import Gateway
from gateways.store.errors import StoreUnavailable
from gateways.store.sessions import SessionStore
from tests.conftest import MakeGateway
from tests.gateways.consumers.client import Client, connect, connect_as, until
from tests.valkey import Valkey, stopped


def statuses(watcher: Client, user_id: str = "alice") -> list[str]:
    updates = watcher.seen("user_status_update")
    return [update["status"] for update in updates if update["userId"] == user_id]


def busy(gateway: Gateway) -> bool:
    return bool(gateway.presence._leaving) or len(gateway.announcer) > 0


async def online(gateway: Gateway, user_id: str = "alice") -> bool:
    (state,) = await gateway.presence._sessions.states([user_id])
    (listed,) = await gateway.directory._directory.contains([user_id])
    assert state.online == listed or busy(gateway), "state and directory differ"
    return state.online


@pytest.fixture
async def pair(make_gateway: MakeGateway) -> tuple[Gateway, Gateway]:
    one, other = await make_gateway(), await make_gateway()
    await one.friends.set("watcher", ["alice"])
    return one, other


async def test_those_who_have_a_user_on_their_list_hear_of_it_on_every_node_and_nobody_else(
    pair: tuple[Gateway, Gateway],
) -> None:
    one, other = pair
    async with (
        connect_as(one, "watcher") as near,
        connect_as(other, "watcher") as far,
        connect_as(other, "stranger") as stranger,
    ):
        async with connect_as(one, "alice", claims={"email": "a@example.org"}):
            for watcher in (near, far):
                (update,) = await watcher.pushed("user_status_update")
                assert update["userId"] == "alice"
                assert (update["status"], update["email"]) == ("online", "a@example.org")
                assert update["lastSeen"].endswith("Z")
        await until(lambda: statuses(near) == statuses(far) == ["online", "offline"])
        assert stranger.seen("user_status_update") == []


async def test_a_goodbye_is_offline_at_once(pair: tuple[Gateway, Gateway], config: Config) -> None:
    one, _ = pair
    async with connect_as(one, "watcher") as watcher, connect(one) as alice:
        await alice.authenticate("alice")
        await alice.leave(1000)
        await one.presence.settle(timeout_seconds=5)
        assert not one.presence._graces
        await until(lambda: statuses(watcher) == ["online", "offline"])
        assert not await online(one)


async def test_a_return_within_the_grace_was_never_away(pair: tuple[Gateway, Gateway]) -> None:
    one, other = pair
    async with connect_as(one, "watcher") as watcher:
        async with connect_as(one, "alice"):
            await until(lambda: statuses(watcher) == ["online"])
        async with connect_as(other, "alice"):
            await until(lambda: not one.presence._graces and not busy(one))
            assert await online(one)
            assert statuses(watcher) == ["online"]
        await until(lambda: statuses(watcher) == ["online", "offline"])


async def test_a_second_device_changes_nothing(pair: tuple[Gateway, Gateway]) -> None:
    one, other = pair
    async with connect_as(other, "watcher") as watcher, connect_as(one, "alice"):
        async with connect(other) as second:
            await second.authenticate("alice")
            await second.leave(1000)
        await other.presence.settle(timeout_seconds=5)
        assert await online(one)
        assert statuses(watcher) == ["online"]


async def test_a_user_who_comes_and_goes_fast_ends_as_it_should(
    pair: tuple[Gateway, Gateway],
) -> None:
    one, other = pair
    async with connect_as(one, "watcher") as watcher:
        for _ in range(10):
            for gateway in pair:
                async with connect(gateway) as alice:
                    await alice.authenticate("alice")
                    await alice.leave(1000)
        for gateway in pair:
            await gateway.presence.settle(timeout_seconds=5)
        await until(lambda: statuses(watcher)[-1:] == ["offline"])
        assert not await online(one)
        async with connect_as(other, "alice"):
            await until(lambda: statuses(watcher)[-1:] == ["online"])
            await other.presence.settle(timeout_seconds=5)
            assert await online(one)


async def test_a_node_holds_its_users_until_their_grace_is_over(gateway: Gateway) -> None:
    async def held() -> list[str]:
        nodes = gateway.node._nodes
        return [user async for page in nodes.users(gateway.node_id) for user in page]

    async with connect_as(gateway, "alice"):
        assert await held() == ["alice"]
    assert await held() == ["alice"]

    async def let_go() -> bool:
        return await held() == []

    await until(let_go)


# --- answers that are lost ------------------------------------------------------------------------
#
# Redis carries a call out, and its answer does not arrive. The call is made again, and the second
# answer says that there was nothing to do: what the first one did must be told all the same.


def lose_the_first_answer(monkeypatch: pytest.MonkeyPatch, gateway: Gateway, call: str) -> None:
    store = gateway.presence._sessions
    real, losses = getattr(store, call), iter(range(1))

    async def lossy(*args: Any, **options: Any) -> Any:
        answer = await real(*args, **options)
        if next(losses, None) is not None:
            raise StoreUnavailable
        return answer

    monkeypatch.setattr(presences, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(store, call, lossy)


@pytest.mark.parametrize("code", [1000, 1001])
async def test_a_close_whose_answer_was_lost_is_told_all_the_same(
    pair: tuple[Gateway, Gateway], monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    one, other = pair
    async with connect_as(other, "watcher") as watcher, connect(one) as alice:
        await alice.authenticate("alice")
        await until(lambda: statuses(watcher) == ["online"])
        lose_the_first_answer(monkeypatch, one, "close")
        await alice.leave(code)
        await until(lambda: statuses(watcher) == ["online", "offline"])
        await until(lambda: not busy(one))
        assert not await online(one)


async def test_a_grace_whose_end_was_lost_is_told_all_the_same(
    pair: tuple[Gateway, Gateway], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = pair
    async with connect_as(other, "watcher") as watcher:
        lose_the_first_answer(monkeypatch, one, "bury_vacant")
        async with connect_as(one, "alice"):
            await until(lambda: statuses(watcher) == ["online"])
        await until(lambda: statuses(watcher) == ["online", "offline"])
        await until(lambda: not busy(one))
        assert not await online(one)


async def test_an_arrival_whose_answer_was_lost_is_told_all_the_same(
    pair: tuple[Gateway, Gateway], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = pair
    async with connect_as(other, "watcher") as watcher, connect(one) as alice:
        lose_the_first_answer(monkeypatch, one, "open")
        assert (await alice.authenticate("alice"))["code"] == "unavailable"
        async with connect_as(other, "alice"):
            await until(lambda: statuses(watcher) == ["online"])
            await until(lambda: not busy(one) and not busy(other))
            assert await online(one)


async def test_presence_is_right_after_redis_stood_still(
    own_valkey: Valkey, config: Config, make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presences, "RETRY_SECONDS", 0.1)
    config = dataclasses.replace(config, redis_url=own_valkey.url, redis_timeout_seconds=0.5)
    one = await make_gateway(config)
    users = [f"user{number}" for number in range(20)]
    clients = [Client(one) for _ in users]
    for client, user_id in zip(clients, users, strict=True):
        await client.authenticate(user_id)
    async with stopped(own_valkey):
        for number, client in enumerate(clients):
            await client.leave(1000 + number % 2)
        await asyncio.sleep(1.2)  # two time-outs, so that calls are made again

    async def all_gone() -> bool:
        try:
            states = await one.presence._sessions.states(users)
            return not any(state.online for state in states) and not (
                await one.directory._directory.total()
            )
        except StoreUnavailable:
            return False

    await until(all_gone)


async def test_a_socket_that_authenticates_again_after_an_outage_has_one_session(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    store: SessionStore = gateway.presence._sessions
    lose_the_first_answer(monkeypatch, gateway, "open")
    async with connect(gateway) as alice:
        assert (await alice.authenticate("alice"))["code"] == "unavailable"
        assert "user" in await alice.authenticate("alice")
        await gateway.presence.settle(timeout_seconds=5)
        assert [len(ids) for ids in await store.ids_of_users(["alice"])] == [1]


async def test_a_socket_that_closes_before_it_knows_whether_it_has_a_session_leaves_none(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    store: SessionStore = gateway.presence._sessions
    lose_the_first_answer(monkeypatch, gateway, "open")
    async with connect(gateway) as alice:
        assert (await alice.authenticate("alice"))["code"] == "unavailable"
        assert [len(ids) for ids in await store.ids_of_users(["alice"])] == [1]
    await gateway.presence.settle(timeout_seconds=5)
    assert await store.ids_of_users(["alice"]) == [[]]
