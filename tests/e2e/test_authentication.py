"""How a client says who it is."""

import json
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from jwt import api_jws

from tests.e2e.client import TOKEN_SECRET, Client, connect, connect_as, token
from tests.e2e.conftest import Deploy, Name, Pair
from tests.e2e.gateways import GatewayProcess

HANDSHAKES: dict[str, Callable[[str], dict[str, Any]]] = {
    "header": lambda text: {"additional_headers": {"Authorization": f"Bearer {text}"}},
    "subprotocol": lambda text: {"subprotocols": ["scarfall.v1", f"bearer.{text}"]},
}


@pytest.fixture(scope="module")
def hasty(deploy: Deploy) -> GatewayProcess:
    """Waits a second for a token, takes it in the query too, and logs all it can."""
    return deploy(
        AUTH_TIMEOUT="1", ALLOW_QUERY_TOKEN="true", LOG_LEVEL="debug", WEB_CONCURRENCY="2"
    ).start()


async def refused(client: Client) -> Any:
    """The `authentication_error`, after which the socket is closed with 4401."""
    assert await client.closed() == 4401
    (error,) = client.seen("authentication_error")
    assert set(error) == {"code", "error"}
    assert error["code"] == "unauthenticated"
    return error


async def first_frame(client: Client) -> Any:
    await client.until(lambda: bool(client.frames))
    return client.frames[0]


async def test_connected_is_pushed_and_then_replied(pair: Pair, name: Name) -> None:
    async with connect(pair.first.url) as client:
        claims = {"email": "alice@example.com"}
        reply = await client.authenticate(name("alice"), claims=claims)
        push, answer = client.frames
        assert push == {"event": "connected", "data": reply}
        assert answer["data"] == reply
        assert set(reply) == {
            *("user", "sessionId", "epoch", "seq", "recovered", "missed", "timestamp"),
        }
        assert reply["user"] == {
            "userId": name("alice"),
            "email": "alice@example.com",
            "socketId": reply["sessionId"],
        }
        assert (reply["seq"], reply["recovered"], reply["missed"]) == (0, False, 0)


@pytest.mark.parametrize("way", HANDSHAKES)
async def test_token_in_the_handshake(pair: Pair, name: Name, way: str) -> None:
    async with connect(pair.first.url, **HANDSHAKES[way](token(name("alice")))) as client:
        (connected,) = await client.pushed("connected")
        assert connected["user"]["userId"] == name("alice")
        assert "timestamp" in await client.request("ping")
        assert len(client.frames) == 2
        assert client.socket.subprotocol == ("scarfall.v1" if way == "subprotocol" else None)


@pytest.mark.parametrize("way", HANDSHAKES)
async def test_bad_token_in_the_handshake(pair: Pair, way: str) -> None:
    async with connect(pair.first.url, **HANDSHAKES[way]("nonsense")) as client:
        await refused(client)


async def test_subprotocol_without_token(pair: Pair, name: Name) -> None:
    async with connect(pair.first.url, subprotocols=["scarfall.v1"]) as client:
        assert client.socket.subprotocol == "scarfall.v1"
        assert "user" in await client.authenticate(name("alice"))


async def test_token_in_the_query_is_refused(pair: Pair, name: Name) -> None:
    async with connect(f"{pair.first.url}?token={token(name('alice'))}") as client:
        await refused(client)
        assert not client.seen("connected")


async def test_token_in_the_query_where_it_is_allowed(hasty: GatewayProcess, name: Name) -> None:
    async with connect(f"{hasty.url}?token={token(name('alice'))}") as client:
        await client.pushed("connected")


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "nonsense",
        "a.b.c",
        "x" * 100_000,
        token("alice") + "x",
        token("alice", lifetime_seconds=-10),
        token("alice", token_type="refresh"),
        token(""),
        token("x" * 129),
        token("line\nbreak"),
        token("alice", exp=None),
        token("alice", nbf=4_000_000_000),
    ],
)
async def test_bad_token(pair: Pair, bad: str) -> None:
    async with connect(pair.first.url) as client:
        reply = await client.request("authenticate", {"token": bad})
        error = await refused(client)
        assert (reply["status"], reply["code"]) == ("error", "unauthenticated")
        assert reply["error"] == error["error"]


@pytest.mark.parametrize("claims", [{"sub": 5}, {"sub": None}, {"exp": "tomorrow"}, {"exp": 1e300}])
async def test_claims_of_a_wrong_kind(pair: Pair, claims: dict[str, Any]) -> None:
    """PyJWT makes no such token; somebody else's library with the right key may."""
    payload = {"sub": "alice", "exp": 4_000_000_000, **claims}
    bad = api_jws.encode(json.dumps(payload).encode(), TOKEN_SECRET)
    async with connect(pair.first.url) as client:
        await client.request("authenticate", {"token": bad})
        await refused(client)


@pytest.mark.parametrize("user_id", ["x" * 128, "{a}:*?/%", "Ægir 漢字 🎮", "}", "a b"])
async def test_any_printable_user_id(pair: Pair, name: Name, user_id: str) -> None:
    async with (
        connect_as(pair.first.url, user_id) as client,
        connect_as(pair.second.url, name("bob")) as bob,
    ):
        receipt = await bob.message(user_id, "hello")
        assert receipt["recipients"]["sent"] == [user_id]
        (message,) = (await client.pushed("message"))[-1:]
        assert message["recipientId"] == user_id


async def test_again_with_a_fresh_token(pair: Pair, name: Name) -> None:
    async with connect_as(pair.first.url, name("alice"), claims={"lifetime_seconds": 3}) as client:
        (first,) = client.seen("connected")
        await client.pushed("token_expiring")
        reply = await client.authenticate(name("alice"))
        assert client.seen("connected") == [first, reply]
        assert reply["sessionId"] == first["sessionId"]
        async with connect_as(
            pair.second.url, name("bob"), claims={"lifetime_seconds": 4}
        ) as shorter:
            assert await shorter.closed() == 4401
        # Its own first token ended before bob's.
        assert "timestamp" in await client.request("ping")
        assert client.close_code is None


async def test_again_with_another_users_token(pair: Pair, name: Name) -> None:
    async with connect_as(pair.first.url, name("alice")) as client:
        reply = await client.authenticate(name("mallory"))
        assert (reply["status"], reply["code"]) == ("error", "forbidden")
        assert not client.seen("authentication_error")
        await client.message(name("alice"), "still me")
        assert await client.texts(1) == ["still me"]


async def test_a_token_ends(pair: Pair, name: Name) -> None:
    async with connect_as(pair.first.url, name("alice"), claims={"lifetime_seconds": 3}) as client:
        (expiring,) = await client.pushed("token_expiring")
        assert set(expiring) == {"expiresAt"}
        assert await client.closed() == 4401


async def test_a_token_that_lasts_is_not_said_to_expire(pair: Pair, name: Name) -> None:
    async with (
        connect_as(pair.first.url, name("alice"), claims={"lifetime_seconds": 90}) as lasting,
        connect_as(pair.first.url, name("bob"), claims={"lifetime_seconds": 62}) as ending,
    ):
        await ending.pushed("token_expiring")
        assert not lasting.seen("token_expiring")


async def test_who_says_nothing_is_closed(hasty: GatewayProcess) -> None:
    async with connect(hasty.url) as client:
        assert await client.closed() == 4401


async def test_ping_before_authentication_does_not_extend_the_time(hasty: GatewayProcess) -> None:
    async with connect(hasty.url) as client:
        assert await client.ping_until_closed() > 1
        assert await client.closed() == 4401


async def test_no_token_is_ever_logged(hasty: GatewayProcess, name: Name) -> None:
    tokens = [token(name("alice"), canary=secrets.token_hex(8)) for _ in range(6)]
    forged = [f"canary{secrets.token_hex(8)}" for _ in range(6)]
    for text in (*tokens, *forged):
        ways: list[tuple[str, dict[str, Any]]] = [
            (hasty.url, HANDSHAKES["header"](text)),
            (hasty.url, HANDSHAKES["subprotocol"](text)),
            (f"{hasty.url}?token={text}", {}),
        ]
        for url, options in ways:
            async with connect(url, **options) as client:
                await first_frame(client)
        async with connect(hasty.url) as client:
            await client.send({"event": "authenticate", "data": {"token": text}})
            await first_frame(client)
        assert hasty.get(f"/readyz?token={text}")[0] == 200
        assert hasty.get(f"/nothing?token={text}")[0] == 404
    logs = hasty.logs()
    assert logs
    for text in tokens:
        assert text.rpartition(".")[2] not in logs
    for text in forged:
        assert text not in logs
