"""Socket.IO packets beyond the protocol's own list: what is answered, what closes, who is sent away
for good and who is to come back.
"""

import asyncio
import json
from contextlib import suppress

import pytest

from tests.e2e.client import connect_as, token
from tests.e2e.conftest import Name
from tests.e2e.gateways import Deployment, GatewayProcess
from tests.socketio.conftest import both_transports
from tests.socketio.raw import (
    Raw,
    RawPolling,
    RawWebSocket,
    ask,
    connected,
    event,
    is_closed,
    next_packet,
    opened,
)

PONG = {"timestamp"}


async def rest(raw: Raw) -> list[str]:
    """All that still comes until the server closes; pings aside."""
    packets = raw.backlog[:]
    with suppress(ConnectionError):
        while True:
            packets.append(await raw.receive())
    return [packet for packet in packets if packet != "2"]


async def sent_all(raw: Raw, *packets: str | bytes) -> None:
    """Send as much as the connection lives to take."""
    with suppress(ConnectionError):
        for packet in packets:
            await raw.send(packet)


async def sent_at_once(raw: Raw, *packets: str) -> None:
    if isinstance(raw, RawPolling):
        await raw.send("\x1e".join(packets))
    else:
        await sent_all(raw, *packets)


# --- namespaces -----------------------------------------------------------------------------------


@both_transports
@pytest.mark.parametrize("packet", ["40/other,", "40/other", '40/other,{"token":"t"}'])
async def test_a_connected_client_is_refused_another_namespace_and_stays_connected(
    gateways: GatewayProcess, transport: str, packet: str
) -> None:
    """As stock clients ask for one, beside the default one and on the same connection."""
    async with connected(transport, gateways.port) as raw:
        await raw.send(packet)
        assert await raw.receive() == '44/other,{"message":"Invalid namespace"}'
        assert set(await ask(raw, "ping")) == PONG


@both_transports
@pytest.mark.parametrize("packet", ["41/other,", "41x", '41{"a":1}', "41[]"])
async def test_a_disconnect_packet_of_anything_else_is_no_goodbye(
    gateways: GatewayProcess, transport: str, packet: str
) -> None:
    async with connected(transport, gateways.port) as raw:
        await sent_all(raw, packet, "40")
        async with asyncio.timeout(5):  # less than an unauthenticated socket has anyway
            assert not [packet for packet in await rest(raw) if packet.startswith("40")]


@both_transports
async def test_the_default_namespace_may_be_named(gateways: GatewayProcess, transport: str) -> None:
    async with opened(transport, gateways.port) as raw:
        await raw.send("40/,{}")
        assert (await raw.receive()).startswith('40{"sid":')
        await raw.send('42/,7["ping"]')
        assert (await raw.receive()).startswith("437[")


# --- events ---------------------------------------------------------------------------------------


@both_transports
async def test_a_failure_is_acknowledged_or_pushed_whole(
    gateways: GatewayProcess, transport: str
) -> None:
    async with connected(transport, gateways.port) as raw:
        refusal = await ask(raw, "send_message", {"recipientIds": ["a"], "message": "b"})
        assert set(refusal) == {"status", "code", "error", "timestamp"}
        assert (refusal["status"], refusal["code"]) == ("error", "unauthenticated")
        await raw.send('42["get_sessions"]')
        pushed = await event(raw, "error")
        assert set(pushed) == {"status", "code", "error", "timestamp"}
        assert pushed["code"] == "unauthenticated"


@both_transports
async def test_null_is_no_data(gateways: GatewayProcess, transport: str) -> None:
    async with connected(transport, gateways.port) as raw:
        await raw.send('42["ping",null]')
        await raw.send('421["ping",null]')
        answer = await raw.receive()
        assert set(json.loads(answer.removeprefix("431"))[0]) == PONG


@both_transports
async def test_more_than_one_argument_is_an_invalid_payload(
    gateways: GatewayProcess, transport: str
) -> None:
    async with connected(transport, gateways.port) as raw:
        for more in ("{},{}", "null,null", '{},"a",1'):
            await raw.send(f'421["ping",{more}]')
            answer = await next_packet(raw, "431[")
            assert json.loads(answer[3:])[0]["code"] == "invalid_payload"
            await raw.send(f'42["ping",{more}]')
            assert (await event(raw, "error"))["code"] == "invalid_payload"
        assert set(await ask(raw, "ping")) == PONG


@both_transports
async def test_an_event_of_the_other_gateway_is_unknown(
    gateways: GatewayProcess, transport: str
) -> None:
    async with connected(transport, gateways.port) as raw:
        assert (await ask(raw, "authenticate_service", {}))["code"] == "unknown_event"
    async with connected(transport, gateways.internal_port) as raw:
        assert (await ask(raw, "authenticate", {}))["code"] == "unknown_event"


# --- acknowledgements -----------------------------------------------------------------------------


@both_transports
@pytest.mark.parametrize("ack", [0, 1, 2**53 - 1])
async def test_an_acknowledgement_has_the_id_that_was_given(
    gateways: GatewayProcess, transport: str, ack: int
) -> None:
    async with connected(transport, gateways.port) as raw:
        assert set(await ask(raw, "ping", ack=ack)) == PONG


@both_transports
@pytest.mark.parametrize("ack", [str(2**53), "9" * 17, "9" * 400, "-1", "1.5", "1e3", "٣", " 1"])
async def test_an_id_that_is_none_closes(
    gateways: GatewayProcess, transport: str, ack: str
) -> None:
    async with connected(transport, gateways.port) as raw:
        await sent_all(raw, f'42{ack}["ping"]')
        async with asyncio.timeout(5):
            assert not [packet for packet in await rest(raw) if packet.startswith("43")]


@both_transports
async def test_acknowledgements_of_the_client_are_passed_over(
    gateways: GatewayProcess, transport: str
) -> None:
    async with connected(transport, gateways.port) as raw:
        await raw.send("430[]")
        await raw.send('4317["a",{"b":null}]')
        await raw.send('461-3["a",{"_placeholder":true,"num":0}]')
        await raw.send(b"\x01")
        assert set(await ask(raw, "ping")) == PONG
        assert not raw.backlog


@both_transports
@pytest.mark.parametrize("packet", ["43{}", "43x[]", "43-1[]", "431[", '431["a"', "431[]x"])
async def test_a_malformed_acknowledgement_closes(
    gateways: GatewayProcess, transport: str, packet: str
) -> None:
    """For good: the stock client would come back otherwise."""
    async with connected(transport, gateways.port) as raw:
        await sent_all(raw, packet)
        async with asyncio.timeout(5):
            assert await rest(raw) == ["41"]
        if isinstance(raw, RawWebSocket):
            assert raw.socket.close_code == 4400


# --- attachments ----------------------------------------------------------------------------------


async def test_an_event_and_its_attachments_may_come_in_one_payload(
    gateways: GatewayProcess,
) -> None:
    async with connected("polling", gateways.port) as raw:
        assert isinstance(raw, RawPolling)
        packets = ['452-1["ping",{"_placeholder":true,"num":0}]', "bAQI=", "bAw==", '422["ping"]']
        assert (await raw.post("\x1e".join(packets))).body == "ok"
        assert json.loads((await raw.receive())[3:])[0]["code"] == "invalid_payload"
        assert (await raw.receive()).startswith("432[")


@both_transports
@pytest.mark.parametrize("between", ['421["ping"]', '42["ping"]', "431[]", "41", "40", '450-["a"]'])
async def test_nothing_comes_between_an_event_and_its_attachments(
    gateways: GatewayProcess, transport: str, between: str
) -> None:
    """It closes, and what came in between is not carried out."""
    async with connected(transport, gateways.port) as raw:
        await sent_all(raw, '451-["ping",{"_placeholder":true,"num":0}]', between)
        async with asyncio.timeout(5):
            assert not [packet for packet in await rest(raw) if packet.startswith(("40", "43"))]


@both_transports
async def test_a_heartbeat_may_come_between_them(gateways: GatewayProcess, transport: str) -> None:
    async with connected(transport, gateways.port) as raw:
        await raw.send('451-1["ping",{"_placeholder":true,"num":0}]')
        await raw.send("3")
        await raw.send(b"")
        assert (await raw.receive()).startswith("431[")


# --- who is sent away -----------------------------------------------------------------------------


@both_transports
async def test_a_client_that_is_shut_out_is_disconnected_for_good(
    gateways: GatewayProcess, transport: str, name: Name
) -> None:
    async with (
        connected(transport, gateways.port, {"token": token(name("bob"))}) as raw,
        connect_as(gateways.url, name("bob")) as other,
    ):
        session_id = (await event(raw, "connected"))["sessionId"]
        await other.request("close_session", {"sessionId": session_id})
        assert await rest(raw) == ["41"]
        if isinstance(raw, RawWebSocket):
            assert raw.socket.close_code == 4403


@both_transports
async def test_who_does_not_authenticate_in_time_is_disconnected_for_good(
    impatient: GatewayProcess, transport: str
) -> None:
    async with connected(transport, impatient.port) as raw:
        assert await rest(raw) == ["41"]
        if isinstance(raw, RawWebSocket):
            assert raw.socket.close_code == 4401


@both_transports
async def test_who_begins_again_and_again_does_not_stay_either(
    impatient: GatewayProcess, transport: str
) -> None:
    async with connected(transport, impatient.port) as raw:
        with suppress(ConnectionError):
            async with asyncio.timeout(10):
                while True:
                    await sent_at_once(raw, "41", "40")
                    while not (packet := await raw.receive()).startswith("40"):
                        if packet == "2":
                            await raw.send("3")
        assert await is_closed(raw)


@both_transports
async def test_whose_token_expires_is_told_and_disconnected(
    gateways: GatewayProcess, transport: str, name: Name
) -> None:
    auth = {"token": token(name("bob"), lifetime_seconds=2)}
    async with connected(transport, gateways.port, auth) as raw:
        assert await event(raw, "session_expired") == {"reason": "token"}
        assert (await rest(raw))[-1] == "41"


async def test_a_server_that_goes_away_disconnects_nobody_for_good(
    deployment: Deployment, name: Name
) -> None:
    """Nor one that polls: it fetches the news, and then the end."""
    gateway = deployment.start()

    async def told(raw: Raw) -> list[str]:
        assert (await event(raw, "server_shutdown"))["retryAfterMs"] > 0
        return await rest(raw)

    async with (
        connected("websocket", gateway.port, {"token": token(name("bob"))}) as socket,
        connected("polling", gateway.port, {"token": token(name("carol"))}) as polling,
    ):
        for raw in (socket, polling):
            await event(raw, "connected")
        telling = [asyncio.create_task(told(raw)) for raw in (socket, polling)]
        gateway.terminate()
        assert [await task for task in telling] == [[], []]
        assert isinstance(socket, RawWebSocket)
        assert socket.socket.close_code == 1012
