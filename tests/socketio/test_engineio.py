"""The Engine.IO protocol's list of what a server must do, on both transports."""

import asyncio
import json
from contextlib import suppress

import pytest
import websockets

from tests.e2e.client import eventually, token
from tests.e2e.gateways import GatewayProcess
from tests.socketio.conftest import both_transports
from tests.socketio.raw import (
    RawPolling,
    ask,
    connected,
    event,
    is_closed,
    open_polling,
    open_websocket,
    opened,
    request,
    target,
)

# --- handshake ------------------------------------------------------------------------------------


@both_transports
async def test_a_session_opens(gateways: GatewayProcess, transport: str) -> None:
    for port in (gateways.port, gateways.internal_port):
        async with opened(transport, port) as raw:
            upgrades = ["websocket"] if transport == "polling" else []
            assert raw.handshake.pop("sid")
            assert raw.handshake.pop("maxPayload") > 65_536
            assert raw.handshake == {
                "upgrades": upgrades,
                "pingInterval": 25_000,
                "pingTimeout": 20_000,
            }


@pytest.mark.parametrize("path", ["/socket.io/", "/socket.io"])
@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("transport=polling", 5),
        ("EIO=abc&transport=polling", 5),
        ("EIO=3&transport=polling", 5),
        ("EIO=4", 0),
        ("EIO=4&transport=abc", 0),
        ("EIO=4&transport=websocket", 0),
        ("EIO=4&transport=polling&sid=unknown", 1),
    ],
)
async def test_a_wrong_query_is_refused(
    gateways: GatewayProcess, path: str, query: str, code: int
) -> None:
    answer = await request(gateways.port, "GET", f"{path}?{query}")
    assert (answer.status, answer.json["code"]) == (400, code)


@pytest.mark.parametrize(
    "query",
    [
        "transport=websocket",
        "EIO=abc&transport=websocket",
        "EIO=4",
        "EIO=4&transport=abc",
        "EIO=4&transport=polling",
        "EIO=4&transport=websocket&sid=unknown",
    ],
)
async def test_a_websocket_with_a_wrong_query_is_refused(
    gateways: GatewayProcess, query: str
) -> None:
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(f"ws://127.0.0.1:{gateways.port}/socket.io/?{query}")
    assert refused.value.response.status_code == 400
    assert "handshake" not in gateways.logs()  # it is an everyday thing, and no error


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_a_wrong_method_is_refused(gateways: GatewayProcess, method: str) -> None:
    answer = await request(gateways.port, method, target("polling"))
    assert (answer.status, answer.json["code"]) == (400, 2)
    raw = await open_polling(gateways.port)
    if method != "POST":
        answer = await request(gateways.port, method, target("polling", raw.sid))
        assert (answer.status, answer.json["code"]) == (400, 3)
    await raw.close()


# --- messages -------------------------------------------------------------------------------------


@both_transports
async def test_a_message_is_answered(gateways: GatewayProcess, transport: str) -> None:
    async with connected(transport, gateways.port) as raw:
        assert set(await ask(raw, "ping")) == {"timestamp"}


async def test_a_payload_of_several_packets_is_answered_in_order(gateways: GatewayProcess) -> None:
    async with connected("polling", gateways.port) as raw:
        assert isinstance(raw, RawPolling)
        answer = await raw.post("\x1e".join(f'42{ack}["ping"]' for ack in range(20)))
        assert (answer.status, answer.body) == (200, "ok")
        received = [await raw.receive() for _ in range(20)]
        assert [packet.partition("[")[0] for packet in received] == [f"43{n}" for n in range(20)]


@both_transports
@pytest.mark.parametrize("packet", ["abc", "7", "0", "2", "5", "é"])
async def test_a_packet_that_is_none_of_a_clients_closes(
    gateways: GatewayProcess, transport: str, packet: str
) -> None:
    async with connected(transport, gateways.port) as raw:
        with suppress(ConnectionError):
            await raw.send(packet)
        assert await is_closed(raw)


@both_transports
async def test_a_noop_is_nothing(gateways: GatewayProcess, transport: str) -> None:
    """As of a client that wants its polls answered before it changes over."""
    async with connected(transport, gateways.port) as raw:
        await raw.send("6")
        assert set(await ask(raw, "ping")) == {"timestamp"}


@pytest.mark.parametrize("payload", ["", "4\x1e", "b!"])
async def test_a_malformed_payload_closes(gateways: GatewayProcess, payload: str) -> None:
    raw = await open_polling(gateways.port)
    assert (await raw.post(payload)).status == 400
    assert await is_closed(raw)


async def test_two_polls_at_once_close(gateways: GatewayProcess) -> None:
    async with connected("polling", gateways.port) as raw:
        assert isinstance(raw, RawPolling)
        answers = await asyncio.gather(raw.poll(), raw.poll())
        assert sorted(answer.status for answer in answers) == [200, 400]
        assert [answer.body for answer in answers if answer.status == 200] == ["1"]
        assert (await raw.poll()).json["code"] == 1


async def test_a_poll_that_is_given_up_closes(gateways: GatewayProcess) -> None:
    async with connected("polling", gateways.port) as raw:
        assert isinstance(raw, RawPolling)
        polling = asyncio.create_task(raw.poll())
        await asyncio.sleep(0.2)  # it is on its way, and there is no seeing it arrive
        polling.cancel()

        async def is_gone() -> bool:
            answer = await request(gateways.port, "POST", target("polling", raw.sid), "3")
            return answer.status == 400 and answer.json["code"] == 1

        await eventually(is_gone, "the session to end")


# --- heartbeat ------------------------------------------------------------------------------------


@both_transports
async def test_pings_are_sent_and_pongs_keep_the_session(
    impatient: GatewayProcess, transport: str
) -> None:
    async with connected(transport, impatient.port, {"token": token("pinged")}) as raw:
        await event(raw, "connected")
        for _ in range(5):
            assert await raw.receive() == "2"
            await raw.send("3")
        assert set(await ask(raw, "ping")) == {"timestamp"}


@both_transports
async def test_without_pongs_the_session_ends(impatient: GatewayProcess, transport: str) -> None:
    async with opened(transport, impatient.port) as raw:
        assert await is_closed(raw)


# --- close ----------------------------------------------------------------------------------------


async def test_a_close_packet_ends_a_polling_session_and_its_poll(
    gateways: GatewayProcess,
) -> None:
    async with connected("polling", gateways.port) as raw:
        assert isinstance(raw, RawPolling)
        polling = asyncio.create_task(raw.poll())
        await asyncio.sleep(0)
        assert (await raw.post("1")).body == "ok"
        assert (await polling).body in {"6", "1"}
        assert (await raw.poll()).json["code"] == 1


async def test_a_close_packet_ends_a_websocket_session(gateways: GatewayProcess) -> None:
    async with connected("websocket", gateways.port) as raw:
        await raw.send("1")
        assert await is_closed(raw)


# --- upgrade --------------------------------------------------------------------------------------


async def test_polling_is_upgraded_and_goes_on_where_it_was(gateways: GatewayProcess) -> None:
    async with connected("polling", gateways.port) as raw:
        assert isinstance(raw, RawPolling)
        url = f"ws://127.0.0.1:{gateways.port}{target('websocket', raw.sid)}"
        async with websockets.connect(url, compression=None) as socket:
            polling = asyncio.create_task(raw.poll())
            await socket.send("2probe")
            assert await socket.recv() == "3probe"
            assert (await polling).body == "6"
            await raw.post('421["ping"]')  # unfetched at the upgrade
            await socket.send("5")
            assert str(await socket.recv()).startswith("431[")
            await socket.send('422["ping"]')
            assert str(await socket.recv()).startswith("432[")
            for method in ("GET", "POST"):
                answer = await request(gateways.port, method, target("polling", raw.sid), "3")
                assert (answer.status, answer.json["code"]) == (400, 3)
            with pytest.raises(websockets.InvalidStatus):
                await websockets.connect(url)
            await socket.send('423["ping"]')
            assert str(await socket.recv()).startswith("433[")


@pytest.mark.parametrize("packets", [["5"], ["2"], ["2probe", "4x"], ["2probe", "2probe"]])
async def test_a_failed_probe_leaves_the_session_as_it_was(
    gateways: GatewayProcess, packets: list[str]
) -> None:
    async with connected("polling", gateways.port) as raw:
        url = f"ws://127.0.0.1:{gateways.port}{target('websocket', raw.sid)}"
        async with websockets.connect(url, compression=None) as socket:
            for packet in packets:
                await socket.send(packet)
            with suppress(websockets.ConnectionClosed):
                while True:
                    await socket.recv()
        assert set(await ask(raw, "ping")) == {"timestamp"}


async def test_a_websocket_session_is_not_upgraded(gateways: GatewayProcess) -> None:
    raw = await open_websocket(gateways.port)
    with pytest.raises(websockets.InvalidStatus):
        await websockets.connect(f"ws://127.0.0.1:{gateways.port}{target('websocket', raw.sid)}")
    await raw.close()


# --- bounds ---------------------------------------------------------------------------------------


async def test_a_payload_that_is_too_large_closes(gateways: GatewayProcess) -> None:
    raw = await open_polling(gateways.port)
    answer = await raw.post("4" + "x" * raw.handshake["maxPayload"])
    assert answer.status == 413
    assert await is_closed(raw)


async def test_a_frame_that_is_too_large_closes(gateways: GatewayProcess) -> None:
    raw = await open_websocket(gateways.port)
    await raw.send("4" + "x" * raw.handshake["maxPayload"])
    assert await is_closed(raw)
    assert raw.socket.close_code == 1009


async def test_one_that_never_connects_is_closed(impatient: GatewayProcess) -> None:
    for transport in ("polling", "websocket"):
        async with opened(transport, impatient.port) as raw:
            closing = asyncio.create_task(is_closed(raw))
            async with asyncio.timeout(10):
                assert await closing


async def test_the_handshake_is_json(gateways: GatewayProcess) -> None:
    answer = await request(gateways.port, "GET", target("polling"))
    assert answer.headers["content-type"].lower() == "text/plain; charset=utf-8"
    assert json.loads(answer.body[1:])["sid"]
