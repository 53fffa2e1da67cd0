"""What a node and the store believe of each other is compared, and set right."""

import dataclasses

import pytest
from redis.asyncio import Redis

from gateways.config import Config
from gateways.gateway import Gateway
from gateways.nudges import StatusNudge
from gateways.store.keys import Keys
from gateways.store.records import SessionRecord
from tests.conftest import MakeGateway
from tests.gateways.consumers.client import Client, connect_as, until


@pytest.fixture
def config(config: Config) -> Config:
    """Nothing is compared but where a test asks for it."""
    return dataclasses.replace(config, reconcile_interval_seconds=3000)


async def send(sender: Client, *messages: str) -> None:
    for message in messages:
        data = {"recipientIds": ["alice"], "message": message}
        assert (await sender.request("send_message", data))["status"] == "sent"


async def test_a_session_that_only_the_store_knows_is_taken_out_of_it(gateway: Gateway) -> None:
    """A call that timed out may be carried out after the one that was to undo it."""
    sessions = gateway.presence._sessions
    record = SessionRecord(None, None, 0)
    await gateway.node._nodes.hold(gateway.node_id, "ghost")
    async with connect_as(gateway, "alice"):
        for user_id in ("alice", "ghost"):
            await sessions.open(
                user_id,
                f"{gateway.node_id}.late",
                record,
                email=None,
                new_epoch="e",
                resume=None,
            )
        gateway.node.reconcile_now()

        async def gone() -> bool:
            (ghosts, alices) = await sessions.counts(["ghost", "alice"])
            (state,) = await sessions.states(["ghost"])
            return (ghosts, alices, state.online) == (0, 1, False)

        await until(gone)


async def test_a_session_of_another_node_is_none_of_its_business(
    make_gateway: MakeGateway,
) -> None:
    one, other = await make_gateway(), await make_gateway()
    async with connect_as(one, "alice"), connect_as(other, "alice"):
        await one.node._reconciler.reconcile()
        await one.presence.settle(timeout_seconds=5)
        assert await one.presence._sessions.counts(["alice"]) == [2]


async def test_a_store_that_went_back_begins_another_epoch(
    make_gateway: MakeGateway, redis: "Redis", keys: Keys
) -> None:
    """As after a fail-over to a replica that lagged: seqs would be given out twice."""
    one, other = await make_gateway(), await make_gateway()
    async with (
        connect_as(one, "alice") as alice,
        connect_as(other, "alice") as tv,
        connect_as(one, "bob") as bob,
    ):
        await send(bob, "1", "2", "3")
        await alice.pushed("message", 3)
        await tv.pushed("message", 3)
        before = alice.seen("connected")[0]["epoch"]
        await redis.hset(keys.state("alice"), "seq", 1)
        await redis.delete(keys.inbox("alice"))
        await one.node._reconciler.reconcile()
        _, again = await alice.pushed("connected", 2)
        assert (again["recovered"], again["reason"]) == (False, "epoch")
        assert again["epoch"] != before
        await send(bob, "4")
        # The other node learns of it by the first message of that epoch.
        _, too = await tv.pushed("connected", 2)
        assert too["epoch"] == again["epoch"]
        for device in (alice, tv):
            *_, last = await device.pushed("message", 4)
            assert (last["message"], last["seq"]) == ("4", 2)


async def test_after_a_silence_watchers_hear_what_they_missed_and_nothing_else(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = await make_gateway(), await make_gateway()
    await one.friends.set("watcher", ["alice", "bob", "carol", "nobody"])
    async with (
        connect_as(other, "alice"),
        connect_as(one, "watcher") as watcher,
        connect_as(other, "carol"),
    ):
        await watcher.pushed("user_status_update")
        real, missed = one.hub.on_status, list[StatusNudge]()
        monkeypatch.setattr(one.hub, "on_status", missed.append)
        async with connect_as(other, "bob"):
            await until(lambda: [nudge.user_id for nudge in missed] == ["bob"])
            monkeypatch.setattr(one.hub, "on_status", real)
            one.node.reconcile_now(after_silence=True)
            _, update = await watcher.pushed("user_status_update", 2)
            assert (update["userId"], update["status"]) == ("bob", "online")
            await one.node._reconciler.tell_statuses()
            heard = [each["userId"] for each in watcher.seen("user_status_update")]
            assert heard == ["carol", "bob"]
