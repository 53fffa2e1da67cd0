"""HTTP long-polling: what a request may be, and what it costs its session where it is wrong."""

import asyncio
import json

import pytest
import websockets

from tests.e2e.client import connect_as, eventually, token
from tests.e2e.conftest import Name
from tests.e2e.gateways import GatewayProcess
from tests.socketio.conftest import both_transports
from tests.socketio.raw import (
    RawPolling,
    ask,
    begun,
    connected,
    event,
    is_known,
    open_polling,
    opened,
    request,
    target,
)

# --- handshake ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "query", "code", "message"),
    [
        ("GET", "EIO=4&transport=pigeon", 0, "Transport unknown"),
        ("GET", "EIO=4&transport=polling&sid=unknown", 1, "Session ID unknown"),
        ("POST", "EIO=4&transport=polling&sid=unknown", 1, "Session ID unknown"),
        ("POST", "EIO=4&transport=polling", 2, "Bad handshake method"),
        ("HEAD", "EIO=4&transport=polling", 2, "Bad handshake method"),
        ("PUT", "EIO=4&transport=polling&sid=unknown", 3, "Bad request"),
        ("GET", "EIO=3&transport=polling", 5, "Unsupported protocol version"),
    ],
)
async def test_a_refusal_is_json_that_says_why(
    gateways: GatewayProcess, method: str, query: str, code: int, message: str
) -> None:
    for port in (gateways.port, gateways.internal_port):
        answer = await request(port, method, f"/socket.io/?{query}")
        assert answer.status == 400
        assert answer.headers["content-type"] == "application/json"
        if method != "HEAD":
            assert answer.json == {"code": code, "message": message}


@both_transports
async def test_the_slash_at_the_end_of_the_path_may_be_missing(
    gateways: GatewayProcess, transport: str
) -> None:
    path = target(transport).replace("/?", "?")
    if transport == "polling":
        answer = await request(gateways.port, "GET", path)
        assert answer.status == 200
        packet = answer.body
    else:
        async with websockets.connect(f"ws://127.0.0.1:{gateways.port}{path}") as socket:
            packet = str(await socket.recv())
    assert json.loads(packet.removeprefix("0"))["sid"]


@both_transports
async def test_the_heartbeat_that_is_configured_is_told(
    impatient: GatewayProcess, transport: str
) -> None:
    async with opened(transport, impatient.port) as raw:
        assert (raw.handshake["pingInterval"], raw.handshake["pingTimeout"]) == (300, 1000)


async def test_a_session_of_one_port_is_unknown_at_the_other(gateways: GatewayProcess) -> None:
    async with opened("polling", gateways.port) as raw:
        answer = await request(gateways.internal_port, "GET", target("polling", raw.sid))
        assert (answer.status, answer.json["code"]) == (400, 1)
        assert await is_known(raw, gateways.port)


# --- requests -------------------------------------------------------------------------------------


async def test_a_poll_waits_until_there_is_something(gateways: GatewayProcess) -> None:
    async with connected("polling", gateways.port) as raw:
        assert isinstance(raw, RawPolling)
        polling = asyncio.create_task(raw.poll())
        assert (await request(gateways.port, "GET", "/healthz")).status == 200
        assert not polling.done()
        await raw.post('421["ping"]')
        answer = await polling
        assert answer.body.startswith("431[")
        assert answer.headers["cache-control"] == "no-store"


async def test_posts_that_overlap_close(gateways: GatewayProcess) -> None:
    """A POST is under way from its first byte: what it brings would come out of turn."""
    async with connected("polling", gateways.port) as raw:
        assert isinstance(raw, RawPolling)
        first_body = b'421["ping"]'
        headers = {"content-length": str(len(first_body))}
        path = target("polling", raw.sid)
        async with begun(gateways.port, "POST", path, headers, body=first_body[:4]):
            await request(gateways.port, "GET", "/healthz")  # by then its beginning was read
            answer = await raw.post('422["ping"]')
            assert answer.status == 400, answer.body
            assert answer.json["code"] == 3
            assert (await raw.poll()).json["code"] == 1


async def test_a_post_that_is_broken_off_closes(gateways: GatewayProcess) -> None:
    async with connected("polling", gateways.port) as raw:
        path = target("polling", raw.sid)
        headers = {"content-length": "100"}
        async with begun(gateways.port, "POST", path, headers, body=b'421["'):
            pass

        async def is_gone() -> bool:
            return not await is_known(raw, gateways.port)

        await eventually(is_gone, "the session to end")


async def test_a_poll_that_is_given_up_at_once_closes(gateways: GatewayProcess) -> None:
    async with connected("polling", gateways.port) as raw:
        async with begun(gateways.port, "GET", target("polling", raw.sid)):
            pass

        async def is_gone() -> bool:
            return not await is_known(raw, gateways.port)

        await eventually(is_gone, "the session to end")


@pytest.mark.parametrize("payload", [b"4\xff", b"\x1e", b"3\x1e\x1e3", b"bAQI", b"b\xc3\xa9"])
async def test_a_payload_that_is_none_closes(gateways: GatewayProcess, payload: bytes) -> None:
    raw = await open_polling(gateways.port)
    answer = await raw.post(payload)
    assert (answer.status, answer.json["code"]) == (400, 3)
    assert (await raw.poll()).json["code"] == 1


async def test_what_comes_after_a_close_packet_is_not_looked_at(gateways: GatewayProcess) -> None:
    async with connected("polling", gateways.port) as raw:
        assert isinstance(raw, RawPolling)
        polling = asyncio.create_task(raw.poll())
        assert (await raw.post('3\x1e1\x1e421["ping"]')).body == "ok"
        assert "431[" not in (await polling).body
        assert not await is_known(raw, gateways.port)


# --- heartbeat ------------------------------------------------------------------------------------


@both_transports
async def test_a_pong_that_nobody_asked_for_does_no_harm(
    gateways: GatewayProcess, transport: str
) -> None:
    async with connected(transport, gateways.port) as raw:
        for _ in range(3):
            await raw.send("3")
        assert set(await ask(raw, "ping")) == {"timestamp"}


async def test_who_vanishes_between_two_polls_does_not_stay_online(
    impatient: GatewayProcess, name: Name
) -> None:
    raw = await open_polling(impatient.port)
    await raw.send("40" + json.dumps({"token": token(name("ghost"))}))
    await event(raw, "connected")
    async with connect_as(impatient.url, name("watcher")) as watcher:
        assert name("ghost") in await watcher.listed()
        await watcher.sees_gone(name("ghost"))


# --- messages -------------------------------------------------------------------------------------


@both_transports
async def test_text_of_any_kind_arrives_as_it_was_sent(
    gateways: GatewayProcess, transport: str, name: Name
) -> None:
    """The separator of payloads among it, which only JSON's escapes keep out of them."""
    texts = [
        "a\x1eb",
        "\x00\x1f\x7f",
        "\u2028\u2029",
        "😀é漢",
        '"\\/',
        '42["ping"]',
        " ",
    ]
    async with (
        connected(transport, gateways.port, {"token": token(name("bob"))}) as bob,
        connect_as(gateways.url, name("alice")) as alice,
    ):
        await event(bob, "connected")
        for text in texts:
            metadata = {"said": text, text: 1}
            receipt = await alice.message(name("bob"), text, metadata=metadata)
            assert receipt["status"] == "sent"
            message = await event(bob, "message")
            assert message["message"] == text
            assert metadata.items() <= message["metadata"].items()
            back = {"recipientIds": [name("alice")], "message": text, "metadata": metadata}
            assert (await ask(bob, "send_message", back))["status"] == "sent"
        assert await alice.texts(len(texts)) == texts


@both_transports
async def test_many_messages_arrive_in_order(
    gateways: GatewayProcess, transport: str, name: Name
) -> None:
    texts = [str(number) for number in range(200)]
    async with (
        connected(transport, gateways.port, {"token": token(name("bob"))}) as bob,
        connect_as(gateways.url, name("alice")) as alice,
    ):
        await event(bob, "connected")
        sending = asyncio.gather(*(alice.message(name("bob"), text) for text in texts))
        messages = [await event(bob, "message") for _ in texts]
        await sending
        assert [message["message"] for message in messages] == texts
        assert [message["seq"] for message in messages] == list(range(1, 201))
