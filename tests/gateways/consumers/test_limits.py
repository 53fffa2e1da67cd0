"""What peers that take too much are told, and that the others notice nothing."""

import asyncio

from gateways.consumers.internal import InternalConsumer
from gateways.domain.limits import MAX_REFUSED
from gateways.gateway import Gateway
from gateways.store.limits import Rate
from tests.gateways.consumers.client import Client, connect, connect_as, token, until
from tests.gateways.consumers.conftest import MakeWith

SLOW = Rate(3, 3600)


async def test_frames_beyond_the_limit_are_refused_and_change_nothing(
    make_with: MakeWith,
) -> None:
    gateway = await make_with(frames=Rate(5, 3600))
    async with connect_as(gateway, "alice") as alice, connect_as(gateway, "bob") as bob:
        message = {"recipientIds": ["bob"], "message": "hello"}
        replies = [await alice.request("send_message", message) for _ in range(6)]
        # The token came in a frame, too.
        assert [reply["status"] for reply in replies] == ["sent"] * 4 + ["error"] * 2
        assert replies[-1]["code"] == "rate_limited"
        assert 0 < replies[-1]["retryAfterMs"] <= 720_001
        assert "timestamp" in await bob.request("ping")
        assert len(await bob.pushed("message", 4)) == 4


async def test_bytes_are_counted(make_with: MakeWith) -> None:
    gateway = await make_with(frame_bytes=Rate(10_000, 3600))
    async with connect_as(gateway, "alice") as alice:
        message = {"recipientIds": ["bob"], "message": "x" * 4000}
        replies = [await alice.request("send_message", message) for _ in range(4)]
        assert [reply["status"] for reply in replies] == ["sent", "sent", "error", "error"]


async def test_who_sends_on_and_on_is_closed(make_with: MakeWith) -> None:
    gateway = await make_with(frames=SLOW)
    async with connect_as(gateway, "alice") as alice, connect_as(gateway, "bob") as bob:
        for _ in range(MAX_REFUSED + 10):
            alice.request_soon("ping")
        assert await alice.closed() == 4429
        assert bob.close_code is None


async def test_a_users_messages_are_limited_whatever_sockets_they_come_by(
    make_with: MakeWith,
) -> None:
    gateway = await make_with(messages=SLOW)
    async with connect_as(gateway, "alice") as one, connect_as(gateway, "alice") as other:
        message = {"recipientIds": ["bob"], "message": "hello", "messageId": "m"}
        first = await one.request("send_message", message)
        assert first["status"] == "sent"
        del message["messageId"]
        for socket in (one, other):
            assert (await socket.request("send_message", message))["status"] == "sent"
        for socket in (one, other):
            assert (await socket.request("send_message", message))["code"] == "rate_limited"
        # What was accepted may be asked about as often as its frames come.
        assert await other.request("send_message", {**message, "messageId": "m"}) == first


async def test_questions_about_presence_have_a_limit_of_their_own(make_with: MakeWith) -> None:
    gateway = await make_with(presence_queries=SLOW)
    async with connect_as(gateway, "alice") as alice:
        for event in ("get_online_users", "get_all_online_users", "get_detailed_online_users"):
            assert (
                "users" in await alice.request(event) or "onlineFriends" in alice.frames[-1]["data"]
            )
        assert (await alice.request("get_online_users"))["code"] == "rate_limited"
        assert "timestamp" in await alice.request("ping")


async def test_a_user_has_so_many_sessions(make_with: MakeWith) -> None:
    gateway = await make_with(sessions_of_a_user=2)
    async with (
        connect_as(gateway, "alice") as alice,
        connect_as(gateway, "alice"),
        connect(gateway) as third,
    ):
        refusal = await third.authenticate("alice")
        assert refusal["code"] == "rate_limited"
        assert await third.closed() == 4503
        assert len(gateway.hub.of_user("alice")) == 2
        assert "timestamp" in await alice.request("ping")
    async with connect_as(gateway, "alice"):
        pass


async def test_an_address_has_so_many_connections(make_with: MakeWith) -> None:
    gateway = await make_with(connections_at_once=2)
    async with (
        connect(gateway, address="10.0.0.1") as one,
        connect(gateway, address="10.0.0.1"),
        connect(gateway, address="10.0.0.2") as elsewhere,
    ):
        refused = Client(gateway, address="10.0.0.1")
        assert await refused.closed() == 4503
        (error,) = refused.seen("error")
        assert "address" in error["error"]
        assert error["retryAfterMs"] > 0
        for client in (one, elsewhere):
            assert "timestamp" in await client.request("ping")
    await until(lambda: gateway.door._open == {})


async def test_bad_tokens_close_the_door_for_a_while(make_with: MakeWith) -> None:
    gateway = await make_with(failed_tokens=SLOW)
    for _ in range(SLOW.count):
        async with connect(gateway, address="10.0.0.1") as client:
            await client.request("authenticate", {"token": "bad"})
            assert await client.closed() == 4401
    refused = Client(gateway, address="10.0.0.1")
    assert await refused.closed() == 4503
    async with connect(gateway, address="10.0.0.2") as other:
        assert "user" in await other.authenticate("alice")


async def test_a_storm_is_admitted_little_by_little(make_with: MakeWith) -> None:
    """Those who are told to come back come in when they do; those who are in stay."""
    gateway = await make_with(admissions=Rate(5, 0.5))
    async with connect_as(gateway, "inside") as inside:
        turned_away = 0

        async def come(number: int) -> None:
            nonlocal turned_away
            while True:
                async with connect(gateway) as client:
                    reply = await client.authenticate(f"user-{number}")
                    if "user" in reply:
                        return
                    assert reply["code"] == "rate_limited"
                    assert await client.closed() == 4503
                    turned_away += 1
                    await asyncio.sleep(reply["retryAfterMs"] / 1000)

        await asyncio.gather(*map(come, range(15)))
        assert turned_away >= 10
        assert "timestamp" in await inside.request("ping")


async def test_a_token_in_the_handshake_is_turned_away_as_well(make_with: MakeWith) -> None:
    gateway = await make_with(admissions=Rate(1, 3600))
    async with connect_as(gateway, "inside"):
        headers = [(b"authorization", b"Bearer " + token("alice").encode())]
        refused = Client(gateway, headers=headers)
        assert await refused.closed() == 4503
        (error,) = refused.seen("error")
        assert error["code"] == "rate_limited"
        assert error["retryAfterMs"] > 0


async def test_the_platforms_services_are_no_strangers(make_with: MakeWith) -> None:
    gateway = await make_with(
        frames=Rate(1, 3600), connections=Rate(1, 3600), connections_at_once=1
    )
    for _ in range(3):
        async with connect(gateway, consumer=InternalConsumer, address="10.0.0.1") as service:
            for _ in range(5):
                assert (await service.request("ping"))["timestamp"]


async def test_by_default_nobody_who_behaves_notices(gateway: Gateway) -> None:
    async with connect_as(gateway, "alice") as alice:
        for _ in range(200):
            message = {"recipientIds": ["bob"], "message": "hello"}
            assert (await alice.request("send_message", message))["status"] == "sent"
