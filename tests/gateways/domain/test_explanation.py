"""Explanations: each way in which a user looks offline, or does not get messages, by its reason."""

import asyncio
import dataclasses
from typing import Any

import pytest
from redis.asyncio import Redis

from gateways.config import Config
from gateways.domain.delivery import Sender
from gateways.domain.explanation import Explanation, Verdict
from gateways.gateway import Gateway
from gateways.protocol.errors import RateLimited
from gateways.protocol.events import SendMessage, now_ms
from gateways.store.keys import Keys
from gateways.store.limits import Rate
from tests.conftest import MakeGateway
from tests.gateways.consumers.client import Client, connect_as, until
from tests.gateways.nodes import abandon, die


async def explain(gateway: Gateway, user_id: str = "bob") -> Explanation:
    return await gateway.explanations.of(user_id)


def verdict(explanation: Explanation, subject: str) -> Verdict:
    return next(each for each in explanation.verdicts if each.subject == subject)


async def looks(gateway: Gateway, start: str, user_id: str = "bob") -> Verdict:
    """The verdict on presence, once it begins so."""

    async def said() -> bool:
        return verdict(await explain(gateway, user_id), "presence").because.startswith(start)

    await until(said, start)
    return verdict(await explain(gateway, user_id), "presence")


async def write(gateway: Gateway, count: int = 1, recipient: str = "bob") -> None:
    for _ in range(count):
        request = SendMessage([recipient], "a canary's song")
        await gateway.delivery.send(Sender.user("alice"), request)


async def drop(client: Client) -> None:
    """Without a goodbye."""
    await client.leave(1006)


async def befriend(gateway: Gateway) -> None:
    await gateway.friends.set("alice", ["bob"])


async def test_who_was_never_seen_is_unknown(gateway: Gateway) -> None:
    explanation = await explain(gateway)
    assert not explanation.known
    (only,) = explanation.verdicts
    assert only.because.startswith("Unknown")


async def test_whoever_was_written_to_has_never_connected(gateway: Gateway) -> None:
    await write(gateway, 2)
    explanation = await explain(gateway)
    assert explanation.known
    assert "never connected" in verdict(explanation, "presence").because
    assert "2 messages for want of a session" in verdict(explanation, "messages").because
    assert explanation.nodes == []


async def test_online_and_fine(gateway: Gateway) -> None:
    await befriend(gateway)
    async with connect_as(gateway, "bob", deviceId="phone"):
        await write(gateway)
        await looks(gateway, "Looks online, and is.")

        async def handed() -> bool:
            return (await explain(gateway)).inbox.handed_seq == 1  # type: ignore[union-attr]

        await until(handed)
        explanation = await explain(gateway)
        assert all(each.fine for each in explanation.verdicts), explanation.verdicts
        assert explanation.nodes == [gateway.node_id]
        (session,) = explanation.sessions
        assert session.device_id == "phone"
        assert session.node_lives
        assert session.node_says.startswith("holds its lease")
        assert explanation.inbox is not None
        assert (explanation.inbox.waiting, explanation.inbox.lost) == (0, 0)
        assert explanation.presence is not None
        assert explanation.presence.friend_of == 1


async def test_on_nobodys_list(gateway: Gateway) -> None:
    async with connect_as(gateway, "bob"):
        said = await looks(gateway, "Looks offline to all")
        assert not said.fine


async def test_a_node_that_died_and_is_not_buried(
    make_gateway: MakeGateway, config: Config, redis: "Redis", keys: Keys
) -> None:
    quick = dataclasses.replace(config, node_lease_seconds=0.5)
    node = await make_gateway(quick)
    bob = Client(node)
    await bob.authenticate("bob")
    await looks(node, "Looks offline to all")  # what is under way is done
    await die(node)
    said = await looks(node, "Looks online, but no socket")
    assert "no other node lives to bury it" in said.because
    await redis.hset(keys.claims, node.node_id, "other")
    # Whoever claims it puts its lease off, so that nobody else buries it.
    await redis.zadd(keys.leases, {node.node_id: now_ms() + 60_000})
    assert not (await explain(node)).sessions[0].node_lives
    assert "being buried by node other" in (await looks(node, "Looks online, but")).because
    await redis.hdel(keys.claims, node.node_id)
    await redis.zadd(keys.leases, {node.node_id: 1})
    other = await make_gateway(dataclasses.replace(config, node_lease_seconds=60))
    said = await looks(other, "Looks offline because no session stands")  # buried by the other
    assert not said.fine
    await abandon(bob)


async def test_in_its_grace_and_after_it(make_gateway: MakeGateway, config: Config) -> None:
    gateway = await make_gateway(dataclasses.replace(config, offline_grace_seconds=1.0))
    async with connect_as(gateway, "bob") as bob:
        await drop(bob)
    said = await looks(gateway, "Looks online still")
    assert "without a goodbye" in said.because
    assert "the grace ends in" in said.because
    said = await looks(gateway, "Looks offline because no session stands")
    assert said.advice is not None


async def test_a_grace_that_nobody_ends(
    make_gateway: MakeGateway, config: Config, redis: "Redis", keys: Keys
) -> None:
    gateway = await make_gateway(dataclasses.replace(config, offline_grace_seconds=60))
    async with connect_as(gateway, "bob") as bob:
        await drop(bob)
    await looks(gateway, "Looks online still")
    await redis.hset(keys.state("bob"), "vacated_by", "gone")
    said = await looks(gateway, "Looks online without a session")
    assert "node gone is gone; the sweep" in said.because


async def test_what_is_not_told_yet(gateway: Gateway, redis: "Redis", keys: Keys) -> None:
    async with connect_as(gateway, "bob"):
        await looks(gateway, "Looks offline to all")
        await redis.hset(keys.state("bob"), "announced", 1)
        await looks(gateway, "Looks offline still")


async def test_a_session_that_lags(gateway: Gateway, redis: "Redis", keys: Keys) -> None:
    async with connect_as(gateway, "bob"):
        await redis.hset(keys.state("bob"), "seq", 3)
        for seq in (1, 2, 3):
            await redis.xadd(keys.inbox("bob"), {"b": "{}", "t": 1_700_000_000_000}, f"{seq}-0")
        said = verdict(await explain(gateway), "messages")
        assert said.because.startswith("Does not get 3 messages though a session stands")
        # What waits now has just come.
        await redis.hset(keys.state("bob"), mapping={"seq": 4, "handed": 3})
        await redis.xadd(keys.inbox("bob"), {"b": "{}", "t": now_ms()}, "4-0")
        said = verdict(await explain(gateway), "messages")
        assert said.fine
        assert said.because == "1 message on the way just now."


@pytest.mark.parametrize("kept", [2, 5])
async def test_an_inbox_that_was_too_small(
    make_gateway: MakeGateway, config: Config, kept: int
) -> None:
    gateway = await make_gateway(dataclasses.replace(config, inbox_max_messages=kept))
    await write(gateway, kept + 3)
    explanation = await explain(gateway)
    lost, queued = [each for each in explanation.verdicts if each.subject == "messages"]
    assert (
        f"Does not get 3 messages: gone before they were fetched, since an inbox keeps {kept}"
        in (lost.because)
    )
    assert lost.advice is not None
    assert "INBOX_MAX_MESSAGES" in lost.advice
    assert f"Does not get {kept} messages for want of a session" in queued.because


async def test_an_inbox_that_expired(make_gateway: MakeGateway, config: Config) -> None:
    gateway = await make_gateway(dataclasses.replace(config, inbox_ttl_seconds=0.2))
    async with connect_as(gateway, "bob"):
        pass
    await write(gateway, 2)

    async def gone() -> bool:
        return (await explain(gateway)).inbox.kept == 0  # type: ignore[union-attr]

    await until(gone)
    said = verdict(await explain(gateway), "messages")
    assert "Does not get 2 messages: gone" in said.because
    assert said.advice is not None
    assert "INBOX_TTL" in said.advice


async def test_who_sends_too_much(make_gateway: MakeGateway, config: Config) -> None:
    gateway = await make_gateway(dataclasses.replace(config, messages=Rate(3, 60)))
    await write(gateway, 3)
    fine = await explain(gateway, "alice")
    with pytest.raises(RateLimited) as refused:
        await write(gateway)
    explanation = await explain(gateway, "alice")
    said = verdict(explanation, "sending")
    assert "too many messages" in said.because
    messages = next(each for each in explanation.limits if each.name == "messages")
    assert (messages.left, messages.of) == (0, 3)
    assert refused.value.retry_after_ms is not None
    assert messages.refused_for_seconds == pytest.approx(refused.value.retry_after_ms / 1000, abs=2)
    assert fine.limits


async def test_a_bucket_that_fills_again(make_gateway: MakeGateway, config: Config) -> None:
    gateway = await make_gateway(dataclasses.replace(config, messages=Rate(1, 0.2)))
    await write(gateway)
    await befriend(gateway)
    async with connect_as(gateway, "alice"):
        await asyncio.sleep(0)

        async def fine() -> bool:
            return not any(
                e.subject == "sending" for e in (await explain(gateway, "alice")).verdicts
            )

        await until(fine)


async def test_without_inboxes(make_gateway: MakeGateway, config: Config) -> None:
    gateway = await make_gateway(dataclasses.replace(config, inbox_ttl_seconds=0))
    async with connect_as(gateway, "bob"):
        assert verdict(await explain(gateway), "messages").fine
    await looks(gateway, "Looks offline because")
    assert not verdict(await explain(gateway), "messages").fine


async def test_a_key_of_another_kind(gateway: Gateway, redis: "Redis", keys: Keys) -> None:
    await redis.set(keys.inbox("bob"), "x")
    (only,) = (await explain(gateway)).verdicts
    assert "of another kind" in only.because


async def test_nothing_of_a_message_is_in_it(gateway: Gateway) -> None:
    claims: dict[str, Any] = {"email": "canary@example.org"}
    async with connect_as(gateway, "bob", claims=claims):
        await write(gateway)
        assert "canary" not in repr(await explain(gateway))
