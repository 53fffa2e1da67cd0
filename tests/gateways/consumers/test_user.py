"""The user gateway's sockets, from handshake to goodbye, over a plain ASGI server."""

import time
from typing import Any

import pytest
from redis.asyncio import Redis

from gateways.config import Config
from gateways.consumers import user as users
from gateways.consumers.user import UserConsumer
from gateways.gateway import Gateway
from gateways.protocol.plain import PlainCodec
from gateways.store.errors import StoreUnavailable
from gateways.store.keys import Keys
from tests.gateways.consumers.client import Client, connect, connect_as, token, until
from tests.gateways.consumers.conftest import MakeWith

# --- before authentication ------------------------------------------------------------------------


async def test_a_ping_needs_no_authentication(gateway: Gateway) -> None:
    async with connect(gateway) as client:
        reply = await client.request("ping")
        assert reply.keys() == {"timestamp"}


@pytest.mark.parametrize("event", sorted(set(UserConsumer.handlers) - {"authenticate", "ping"}))
async def test_everything_else_does(gateway: Gateway, event: str) -> None:
    async with connect(gateway) as client:
        reply = await client.request(event, {"whatever": 1})
        assert (reply["status"], reply["code"]) == ("error", "unauthenticated")


@pytest.mark.parametrize("event", ["disconnect_user", "broadcast", "__call__", "put_back", ""])
async def test_what_is_no_event_here_is_unknown(gateway: Gateway, event: str) -> None:
    async with connect_as(gateway, "alice") as alice:
        if event:
            assert (await alice.request(event))["code"] == "unknown_event"
        else:
            alice.send({"event": event, "id": 1})
            assert (await alice.pushed("error"))[0]["code"] == "invalid_frame"


async def test_who_does_not_authenticate_in_time_is_closed(make_with: MakeWith) -> None:
    gateway = await make_with(auth_timeout_seconds=0.05)
    async with connect(gateway) as client:
        assert await client.closed() == 4401


async def test_whoever_is_refused_is_told_why_and_closed(gateway: Gateway) -> None:
    async with connect(gateway) as client:
        reply = await client.request("authenticate", {"token": "nonsense"})
        assert (reply["status"], reply["code"]) == ("error", "unauthenticated")
        (pushed,) = client.seen("authentication_error")
        assert pushed.keys() == {"code", "error"}
        assert await client.closed() == 4401
        assert [frame["event"] for frame in client.frames] == [
            "authentication_error",
            "authenticate",
        ]


async def test_a_session_begins_with_connected_and_the_same_reply(gateway: Gateway) -> None:
    async with connect(gateway) as client:
        reply = await client.authenticate("alice", claims={"email": "a@x"})
        (pushed,) = client.seen("connected")
        assert pushed == reply
        assert reply["user"]["userId"] == "alice"
        assert reply["user"]["email"] == "a@x"
        assert (reply["seq"], reply["missed"], reply["recovered"]) == (0, 0, False)
        assert "reason" not in reply
        assert client.accepted == {"type": "websocket.accept", "subprotocol": None}


@pytest.mark.parametrize("how", ["header", "subprotocol"])
async def test_a_token_may_come_with_the_handshake(gateway: Gateway, how: str) -> None:
    options: dict[str, Any] = (
        {"headers": [(b"authorization", b"Bearer " + token("alice").encode())]}
        if how == "header"
        else {"subprotocols": ["scarfall.v1", f"bearer.{token('alice')}"]}
    )
    async with connect(gateway, **options) as client:
        (connected,) = await client.pushed("connected")
        assert connected["user"]["userId"] == "alice"
        assert len(client.frames) == 1
        assert client.accepted is not None
        assert client.accepted["subprotocol"] == ("scarfall.v1" if how == "subprotocol" else None)


async def test_a_bad_token_of_the_handshake_is_pushed_and_closed(gateway: Gateway) -> None:
    async with connect(gateway, subprotocols=["bearer.bad"]) as client:
        assert await client.closed() == 4401
        assert [frame["event"] for frame in client.frames] == ["authentication_error"]


async def test_a_token_in_the_address_is_refused_unless_it_is_allowed(
    gateway: Gateway, make_with: MakeWith
) -> None:
    query = f"token={token('alice')}".encode()
    async with connect(gateway, query=query) as client:
        assert await client.closed() == 4401
    async with connect(await make_with(allow_query_token=True), query=query) as client:
        await client.pushed("connected")


async def test_another_origin_is_turned_away_before_the_socket_opens(make_with: MakeWith) -> None:
    gateway = await make_with(cors_origins=("https://game.example",))
    async with connect(gateway, headers=[(b"origin", b"https://evil.example")]) as client:
        assert await client.closed() == 4403
        assert client.accepted is None
    async with connect(gateway, headers=[(b"origin", b"https://game.example")]) as client:
        assert "timestamp" in await client.request("ping")


async def test_a_gateway_that_cannot_start_closes_with_4503() -> None:
    sent: list[dict[str, Any]] = []

    async def start() -> Gateway:
        raise StoreUnavailable("Redis does not answer: " + "store.internal.example " * 10)

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    consumer = UserConsumer.as_asgi(start=start, codec=PlainCodec())
    await consumer({"type": "websocket", "headers": []}, receive, send)
    assert [(m["type"], m.get("code")) for m in sent] == [
        ("websocket.accept", None),
        ("websocket.close", 4503),
    ]
    assert sent[1]["reason"] == "The gateway has not started yet."


# --- frames ---------------------------------------------------------------------------------------


async def test_ten_invalid_frames_in_a_row_are_abuse(gateway: Gateway) -> None:
    async with connect_as(gateway, "alice") as alice:
        for _ in range(9):
            alice.send("not json")
        assert "timestamp" in await alice.request("ping")  # and the count begins anew
        for number in range(10):
            if number % 2:
                alice.send("[]")
            else:
                alice.send_binary(b"\x00")
        assert await alice.closed() == 4400
        errors = alice.seen("error")
        assert len(errors) == 19
        assert {error["code"] for error in errors} == {"invalid_frame"}


async def test_a_failure_without_an_id_is_pushed(gateway: Gateway) -> None:
    async with connect_as(gateway, "alice") as alice:
        alice.send({"event": "send_message", "data": {"recipientIds": [], "message": ""}})
        (error,) = await alice.pushed("error")
        assert error["code"] == "invalid_payload"
        assert error["error"].startswith("recipientIds")
        alice.send({"event": "send_message", "data": {"recipientIds": ["bob"], "message": "x"}})
        await alice.request("ping")  # what it did without an id was done in silence
        assert [frame["event"] for frame in alice.frames].count("send_message") == 0


@pytest.mark.parametrize("request_id", [0, "", "é", -5])
async def test_replies_carry_the_id_that_was_given(gateway: Gateway, request_id: Any) -> None:
    async with connect(gateway) as client:
        client.send({"event": "ping", "id": request_id})
        await until(lambda: bool(client.frames))
        assert client.frames[0]["id"] == request_id


async def test_requests_are_answered_in_order(gateway: Gateway) -> None:
    async with connect_as(gateway, "alice") as alice:
        ids = [alice.request_soon(("ping", "get_sessions")[n % 2]) for n in range(20)]
        await until(lambda: alice.reply(ids[-1]) is not None)
        assert [frame["id"] for frame in alice.frames if "id" in frame][-20:] == ids


async def test_a_defect_is_told_by_a_reference_and_nothing_else(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: Any) -> None:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(gateway.delivery, "send", fail)
    async with connect_as(gateway, "alice") as alice:
        reply = await alice.request("send_message", {"recipientIds": ["bob"], "message": ""})
        assert reply["code"] == "internal_error"
        assert "secret" not in str(reply)
        assert reply["ref"] in caplog.text
        assert "timestamp" in await alice.request("ping")


async def test_a_store_that_is_away_is_unavailable(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> None:
        raise StoreUnavailable("10.0.0.7 does not answer")

    monkeypatch.setattr(gateway.delivery, "send", fail)
    async with connect_as(gateway, "alice") as alice:
        reply = await alice.request("send_message", {"recipientIds": ["bob"], "message": ""})
        assert (reply["code"], reply["retryAfterMs"]) == ("unavailable", 1000)
        assert "10.0.0.7" not in str(reply)


# --- sessions -------------------------------------------------------------------------------------


async def test_every_request_has_its_reply(gateway: Gateway) -> None:
    await gateway.friends.set("alice", ["bob"])
    async with connect_as(gateway, "alice") as alice, connect_as(gateway, "bob"):
        await gateway.presence.settle(timeout_seconds=5)
        for event in ("get_online_users", "get_online_friends_only"):
            assert [u["userId"] for u in (await alice.request(event))["users"]] == ["bob"]
        page = await alice.request("get_all_online_users", {"limit": 1})
        assert page["total"] == 2
        assert len(page["users"]) == 1
        assert page["nextCursor"]
        detailed = await alice.request("get_detailed_online_users")
        assert {u["userId"] for u in detailed["users"]} == {"alice", "bob"}
        sessions = (await alice.request("get_sessions"))["sessions"]
        assert [session["current"] for session in sessions] == [True]
        receipt = await alice.request("send_message", {"recipientIds": ["bob"], "message": "x"})
        assert receipt["recipients"]["sent"] == ["bob"]


async def test_a_session_closes_another_of_its_user(gateway: Gateway) -> None:
    async with connect_as(gateway, "alice") as one, connect_as(gateway, "alice") as other:
        other_id = other.seen("connected")[0]["sessionId"]
        reply = await one.request("close_session", {"sessionId": other_id})
        assert reply["status"] == "success"
        assert await other.closed() == 4403
        assert (await one.request("close_session", {"sessionId": other_id}))["code"] == (
            "invalid_payload"
        )


async def test_messages_that_waited_come_before_what_is_new(gateway: Gateway) -> None:
    async with connect_as(gateway, "alice") as alice:
        for number in range(120):
            alice.request_soon("send_message", {"recipientIds": ["bob"], "message": str(number)})
        last = alice.request_soon("ping")
        await until(lambda: alice.reply(last) is not None)
        async with connect_as(gateway, "bob") as bob:
            assert bob.seen("connected")[0]["missed"] == 120
            await alice.request("send_message", {"recipientIds": ["bob"], "message": "120"})
            messages = await bob.pushed("message", 121)
            assert [m["seq"] for m in messages] == list(range(1, 122))
            assert [m["message"] for m in messages] == [str(n) for n in range(121)]
            assert bob.frames[0]["event"] == "connected"


async def test_a_resume_gets_what_came_after_and_a_plain_return_what_was_not_handed(
    gateway: Gateway,
) -> None:
    async with connect_as(gateway, "alice") as alice:
        async with connect_as(gateway, "bob") as bob:
            epoch = bob.seen("connected")[0]["epoch"]
            for number in range(3):
                await alice.request(
                    "send_message", {"recipientIds": ["bob"], "message": str(number)}
                )
            await bob.pushed("message", 3)
        await gateway.presence.settle(timeout_seconds=5)
        await alice.request("send_message", {"recipientIds": ["bob"], "message": "3"})
        async with connect(gateway) as bob:
            reply = await bob.authenticate("bob", resume={"epoch": epoch, "seq": 1})
            assert (reply["recovered"], reply["missed"], reply["seq"]) == (True, 3, 4)
            assert [m["seq"] for m in await bob.pushed("message", 3)] == [2, 3, 4]
        await gateway.presence.settle(timeout_seconds=5)
        async with connect(gateway) as bob:
            reply = await bob.authenticate("bob")
            assert (reply["recovered"], reply["missed"]) == (False, 0)
        async with connect(gateway) as bob:
            reply = await bob.authenticate("bob", resume={"epoch": "another", "seq": 4})
            assert (reply["recovered"], reply["reason"], reply["missed"]) == (False, "epoch", 4)
            assert [m["seq"] for m in await bob.pushed("message", 4)] == [1, 2, 3, 4]


async def test_a_fresh_token_of_the_same_user_extends_the_session(gateway: Gateway) -> None:
    async with connect(gateway) as client:
        first = await client.authenticate("alice", claims={"exp": time.time() + 30})
        assert len(await client.pushed("token_expiring")) == 1
        again = await client.authenticate("alice")
        assert again["sessionId"] == first["sessionId"]
        assert len(client.seen("connected")) == 2
        (session,) = gateway.hub.of_user("alice")
        assert session.identity.expires_at > time.time() + 3000
        other = await client.authenticate("bob")
        assert other["code"] == "forbidden"
        assert client.close_code is None


async def test_a_session_that_is_extended_while_its_history_comes_claims_no_more_than_came(
    gateway: Gateway,
) -> None:
    async with connect_as(gateway, "alice") as alice:
        for number in range(120):
            alice.request_soon("send_message", {"recipientIds": ["bob"], "message": str(number)})
        last = alice.request_soon("ping")
        await until(lambda: alice.reply(last) is not None)
    async with connect(gateway) as bob:
        for _ in range(2):
            bob.request_soon("authenticate", {"token": token("bob")})
        await bob.pushed("message", 120)
        place, extended_at = 0, []
        for frame in bob.frames:
            if frame["event"] == "message":
                place = frame["data"]["seq"]
            elif frame["event"] == "connected":
                assert frame["data"]["seq"] - frame["data"]["missed"] == place
                extended_at.append(place)
        assert len(extended_at) == 2
        assert extended_at[1] < 120


async def test_a_token_that_ends_is_announced_and_ends_its_session(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(users, "TOKEN_WARNING_SECONDS", 0.9)
    async with connect_as(gateway, "alice", claims={"exp": time.time() + 1.2}) as alice:
        (expiring,) = await alice.pushed("token_expiring")
        assert expiring["expiresAt"].endswith("Z")
        assert await alice.closed() == 4401
        assert alice.seen("session_expired") == [{"reason": "token"}]


async def test_a_session_ends_after_its_time(make_with: MakeWith) -> None:
    gateway = await make_with(session_expiry_seconds=0.1)
    async with connect_as(gateway, "alice") as alice:
        assert await alice.closed() == 4408
        assert alice.seen("session_expired") == [{"reason": "expired"}]


async def test_a_session_that_idles_ends_and_requests_keep_it(make_with: MakeWith) -> None:
    gateway = await make_with(idle_timeout_seconds=0.4)
    async with connect_as(gateway, "idler") as idler, connect_as(gateway, "alice") as alice:
        begun = time.monotonic()
        while idler.close_code is None:
            await alice.request("ping")
        assert await idler.closed() == 4408
        assert time.monotonic() - begun >= 0.3
        assert idler.seen("session_expired") == [{"reason": "idle"}]
        assert alice.close_code is None
        assert await alice.closed() == 4408


async def test_a_slow_reader_is_closed_and_slows_nobody_else(make_with: MakeWith) -> None:
    gateway = await make_with(max_outbound_bytes=20_000)
    async with (
        connect_as(gateway, "alice") as alice,
        connect_as(gateway, "slow") as slow,
        connect_as(gateway, "bob") as bob,
    ):
        epoch = slow.seen("connected")[0]["epoch"]
        slow.reading.clear()
        for _ in range(30):
            await alice.request(
                "send_message", {"recipientIds": ["slow", "bob"], "message": "x" * 1000}
            )
        await bob.pushed("message", 30)
        (session,) = gateway.hub.of_user("slow")
        assert session.outbound.closed
        slow.reading.set()
        assert await slow.closed() == 4508
        taken = len(slow.seen("message"))
        assert taken < 30
        async with connect(gateway) as back:
            reply = await back.authenticate("slow", resume={"epoch": epoch, "seq": taken})
            assert (reply["recovered"], reply["missed"]) == (True, 30 - taken)
            assert len(await back.pushed("message", 30 - taken)) == 30 - taken


async def test_what_a_slow_reader_was_not_sent_comes_back_without_a_resume_too(
    make_with: MakeWith,
) -> None:
    gateway = await make_with(max_outbound_bytes=20_000)
    async with connect_as(gateway, "alice") as alice, connect_as(gateway, "slow") as slow:
        slow.reading.clear()
        for _ in range(30):
            await alice.request("send_message", {"recipientIds": ["slow"], "message": "x" * 1000})
        slow.reading.set()
        assert await slow.closed() == 4508
        taken = {message["seq"] for message in slow.seen("message")}
        async with connect_as(gateway, "slow") as back:
            unsent = set(range(1, 31)) - taken
            await until(lambda: {message["seq"] for message in back.seen("message")} >= unsent)


# --- what must not be left behind -----------------------------------------------------------------


async def test_a_session_that_the_store_refuses_leaves_nothing_behind(
    gateway: Gateway, config: Config
) -> None:
    async with Redis.from_url(config.redis_url) as redis:
        await redis.set(Keys(config.redis_prefix).state("broken"), "of the wrong type")
    async with connect(gateway) as client:
        assert (await client.authenticate("broken"))["code"] == "internal_error"
        assert len(gateway.hub) == 0


async def test_a_socket_that_could_not_be_taken_in_is_closed_with_4503(
    make_with: MakeWith, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = await make_with(auth_timeout_seconds=0.3)

    async def fail(*_: Any, **__: Any) -> None:
        raise StoreUnavailable

    monkeypatch.setattr(gateway.presence._sessions, "open", fail)
    async with connect(gateway) as client:
        assert (await client.authenticate("alice"))["code"] == "unavailable"
        assert len(gateway.hub) == 0
        assert await client.closed() == 4503


@pytest.mark.parametrize("code", [1000, 1001, 1005, 1006])
async def test_a_socket_that_closes_leaves_nothing_behind(gateway: Gateway, code: int) -> None:
    client = Client(gateway)
    await client.authenticate("alice")
    await client.leave(code)
    await gateway.presence.settle(timeout_seconds=5)
    assert len(gateway.hub) == 0
    assert len(gateway.connections) == 0
    (ids,) = await gateway.presence._sessions.ids_of_users(["alice"])
    assert ids == []
    assert bool(gateway.presence._graces) == (code not in (1000, 1005))
