"""The Socket.IO protocol's list of what a server must do, on both transports, with our events."""

import asyncio
import json
from typing import Any

import pytest

from tests.e2e.client import connect_as, token
from tests.e2e.conftest import Name, Pair
from tests.e2e.gateways import GatewayProcess
from tests.socketio.conftest import HERALD_KEY, both_transports
from tests.socketio.raw import RawWebSocket, ask, connected, event, is_closed, opened

# --- connect --------------------------------------------------------------------------------------


@both_transports
@pytest.mark.parametrize("packet", ["40", "40{}", '40{"mine":"a"}', "40/,"])
async def test_a_client_connects(gateways: GatewayProcess, transport: str, packet: str) -> None:
    for port in (gateways.port, gateways.internal_port):
        async with opened(transport, port) as raw:
            await raw.send(packet)
            greeting = await raw.receive()
            assert greeting.startswith("40")
            assert set(json.loads(greeting[2:])) == {"sid"}


@both_transports
async def test_the_auth_of_a_connect_packet_authenticates(
    gateways: GatewayProcess, transport: str, name: Name
) -> None:
    auth = {"token": token(name("alice"), email="a@b.c"), "deviceId": "phone"}
    async with opened(transport, gateways.port) as raw:
        await raw.send("40" + json.dumps(auth))
        greeting = json.loads((await raw.receive())[2:])
        connected_ = await event(raw, "connected")
        assert connected_["user"] == {
            "userId": name("alice"),
            "email": "a@b.c",
            "socketId": greeting["sid"],
        }
        (session,) = (await ask(raw, "get_sessions"))["sessions"]
        assert session["deviceId"] == "phone"


@both_transports
@pytest.mark.parametrize("packet", ["40/other,", '40/other,{"token":"t"}'])
async def test_another_namespace_is_refused_and_the_connection_goes_on(
    gateways: GatewayProcess, transport: str, packet: str
) -> None:
    async with opened(transport, gateways.port) as raw:
        await raw.send(packet)
        assert await raw.receive() == '44/other,{"message":"Invalid namespace"}'
        await raw.send("40")
        assert (await raw.receive()).startswith('40{"sid":')


@both_transports
async def test_an_auth_that_does_not_fit_is_refused_by_name(
    gateways: GatewayProcess, transport: str
) -> None:
    async with opened(transport, gateways.port) as raw:
        await raw.send('40{"token":7}')
        refusal = json.loads((await raw.receive()).removeprefix("44"))
        assert "token" in refusal["message"]
        assert refusal["data"]["code"] == "invalid_payload"
        await raw.send("40")
        assert (await raw.receive()).startswith('40{"sid":')


@both_transports
@pytest.mark.parametrize("packet", ["4", "4abc", "49", '42["ping"]', "40[]", "40null", "41", "4x"])
async def test_an_invalid_handshake_closes(
    gateways: GatewayProcess, transport: str, packet: str
) -> None:
    async with opened(transport, gateways.port) as raw:
        await raw.send(packet)
        assert await is_closed(raw)


# --- disconnect -----------------------------------------------------------------------------------


@both_transports
async def test_a_client_disconnects_and_may_connect_again(
    gateways: GatewayProcess, transport: str, name: Name
) -> None:
    async with connected(transport, gateways.port, {"token": token(name("alice"))}) as raw:
        await event(raw, "connected")
        await raw.send("41")
        await raw.send("40")
        assert (await raw.receive()).startswith('40{"sid":')
        assert (await ask(raw, "get_sessions"))["code"] == "unauthenticated"


@both_transports
async def test_a_disconnect_packet_is_a_goodbye_and_a_lost_connection_is_none(
    pair: Pair, transport: str, name: Name
) -> None:
    pair.deployment.befriend(name("watcher"), name("alice"))
    async with connect_as(pair.second.url, name("watcher")) as watcher:
        for goodbye in (True, False):
            auth = {"token": token(name("alice"))}
            async with connected(transport, pair.first.port, auth) as raw:
                await event(raw, "connected")
                await watcher.status_of(name("alice"), "online")
                if goodbye:
                    await raw.send("41")
                    await watcher.status_of(name("alice"), "offline")
                else:
                    if isinstance(raw, RawWebSocket):
                        raw.socket.transport.abort()
                    else:
                        await raw.close()
                    # Within the grace it is no absence.
                    async with connected(transport, pair.second.port, auth) as again:
                        await event(again, "connected")
                        assert watcher.statuses_of(name("alice"))[-1] == "online"
                        assert watcher.statuses_of(name("alice")).count("offline") == 1


@both_transports
async def test_a_bad_token_is_told_and_disconnected(
    gateways: GatewayProcess, transport: str
) -> None:
    async with connected(transport, gateways.port, {"token": "bad"}) as raw:
        refusal = await event(raw, "authentication_error")
        assert refusal["code"] == "unauthenticated"
        assert await raw.receive() == "41"
        assert await is_closed(raw)


@both_transports
async def test_a_bad_key_is_told_and_disconnected(gateways: GatewayProcess, transport: str) -> None:
    async with connected(transport, gateways.internal_port) as raw:
        answer = await ask(
            raw, "authenticate_service", {"serviceName": "herald", "serviceKey": "x"}
        )
        assert answer["code"] == "unauthenticated"
        assert await raw.receive() == "41"


@both_transports
async def test_a_service_authenticates(gateways: GatewayProcess, transport: str) -> None:
    credentials = {"serviceName": "herald", "serviceKey": HERALD_KEY}
    async with connected(transport, gateways.internal_port) as raw:
        answer = await ask(raw, "authenticate_service", credentials)
        assert answer["serviceName"] == "herald"
        assert (await ask(raw, "ping"))["service"]["name"] == "herald"


# --- events ---------------------------------------------------------------------------------------


@both_transports
async def test_requests_are_acknowledged_and_without_an_id_carried_out(
    gateways: GatewayProcess, transport: str, name: Name
) -> None:
    async with connected(transport, gateways.port, {"token": token(name("alice"))}) as raw:
        await event(raw, "connected")
        receipt = await ask(
            raw, "send_message", {"recipientIds": [name("alice")], "message": "one"}
        )
        assert receipt["recipients"]["sent"] == [name("alice")]
        message = await event(raw, "message")
        assert (message["seq"], message["message"]) == (1, "one")
        data = {"recipientIds": [name("alice")], "message": "two"}
        await raw.send("42" + json.dumps(["send_message", data]))
        assert (await event(raw, "message"))["message"] == "two"
        await raw.send('42["nonsense"]')
        assert (await event(raw, "error"))["code"] == "unknown_event"
        assert (await ask(raw, "nonsense"))["code"] == "unknown_event"
        assert (await ask(raw, "send_message", {"message": 7}))["code"] == "invalid_payload"


@both_transports
async def test_attachments_are_taken_and_answered_with_a_refusal(
    gateways: GatewayProcess, transport: str
) -> None:
    async with connected(transport, gateways.port) as raw:
        await raw.send('452-7["ping",{"a":{"_placeholder":true,"num":0}}]')
        await raw.send(b"\x01\x02")
        await raw.send(b"\x03")
        answer = await raw.receive()
        assert answer.startswith("437[")
        assert json.loads(answer[3:])[0]["code"] == "invalid_payload"
        assert set(await ask(raw, "ping")) == {"timestamp"}


@both_transports
@pytest.mark.parametrize("packet", ["43[]", '4399["x"]', '450-["ping"]'])
async def test_what_asks_for_nothing_does_no_harm(
    gateways: GatewayProcess, transport: str, packet: str
) -> None:
    async with connected(transport, gateways.port) as raw:
        await raw.send(packet)
        assert set(await ask(raw, "ping")) == {"timestamp"}


MALFORMED: list[str | bytes] = [
    "4abc",
    "42",
    "42{}",
    "42[]",
    '42abc["ping"]',
    '42["ping"',
    '42/other,["ping"]',
    "40",
    "44{}",
    "47",
    '4511-["ping"]',
    "43x[]",
    b"\x01",
]


@both_transports
@pytest.mark.parametrize("packet", MALFORMED)
async def test_a_malformed_packet_closes(
    gateways: GatewayProcess, transport: str, packet: str | bytes
) -> None:
    async with connected(transport, gateways.port) as raw:
        await raw.send(packet)
        assert await is_closed(raw)


# --- what must not be left behind -----------------------------------------------------------------


@both_transports
async def test_nobody_stays_online_who_has_gone(pair: Pair, transport: str, name: Name) -> None:
    users = [name(f"u{number}") for number in range(20)]

    async def visit(user_id: str) -> Any:
        async with connected(transport, pair.first.port, {"token": token(user_id)}) as raw:
            await event(raw, "connected")

    await asyncio.gather(*map(visit, users))
    async with connect_as(pair.second.url, name("watcher")) as watcher:
        await watcher.sees_gone(*users)
