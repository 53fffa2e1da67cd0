"""From long-polling to a WebSocket: nothing is lost, and an attempt that fails changes nothing."""

import asyncio
import json
from contextlib import suppress

import pytest
import websockets

from tests.e2e.client import connect_as, eventually, token
from tests.e2e.conftest import Name
from tests.e2e.gateways import GatewayProcess
from tests.socketio.conftest import ORIGIN
from tests.socketio.raw import (
    RawPolling,
    ask,
    begun,
    connected,
    event,
    is_closed,
    is_known,
    open_polling,
    opened,
    probing,
    target,
)


async def test_a_poll_that_comes_after_the_probe_is_released(gateways: GatewayProcess) -> None:
    async with connected("polling", gateways.port) as raw:
        assert isinstance(raw, RawPolling)
        async with probing(raw) as upgraded:
            assert (await raw.poll()).body == "6"
            await upgraded.send("5")
            assert set(await ask(upgraded, "ping")) == {"timestamp"}


async def test_a_poll_that_waits_at_the_upgrade_ends_empty_handed(gateways: GatewayProcess) -> None:
    async with connected("polling", gateways.port) as raw:
        assert isinstance(raw, RawPolling)
        async with probing(raw) as upgraded:
            polling = asyncio.create_task(raw.poll())
            await upgraded.send("5")
            answer = await polling
            # Whichever came first: it was released, or there is nothing to poll any more.
            assert answer.body == "6" or answer.status == 400
            assert set(await ask(upgraded, "ping")) == {"timestamp"}


async def test_a_session_may_be_upgraded_before_it_connects(gateways: GatewayProcess) -> None:
    async with opened("polling", gateways.port) as raw:
        assert isinstance(raw, RawPolling)
        async with probing(raw) as upgraded:
            await upgraded.send("5")
            await upgraded.send("40")
            assert (await upgraded.receive()).startswith('40{"sid":')


async def test_requests_and_answers_are_in_order_across_an_upgrade(
    gateways: GatewayProcess,
) -> None:
    async with connected("polling", gateways.port) as raw:
        assert isinstance(raw, RawPolling)
        await raw.post("\x1e".join(f'42{ack}["ping"]' for ack in range(50)))
        async with probing(raw) as upgraded:
            await raw.post("\x1e".join(f'42{ack}["ping"]' for ack in range(50, 100)))
            await upgraded.send("5")
            for ack in range(100, 150):
                await upgraded.send(f'42{ack}["ping"]')
            packets = [await upgraded.receive() for _ in range(150)]
    assert [packet.partition("[")[0] for packet in packets] == [f"43{ack}" for ack in range(150)]


async def test_a_request_that_is_on_its_way_at_the_upgrade_is_not_lost(
    gateways: GatewayProcess,
) -> None:
    async with connected("polling", gateways.port) as raw:
        assert isinstance(raw, RawPolling)
        packet = '421["ping"]'
        headers = {"content-length": str(len(packet))}
        path = target("polling", raw.sid)
        async with (
            probing(raw) as upgraded,
            begun(gateways.port, "POST", path, headers, body=b"42") as post,
        ):
            assert (await raw.poll()).body == "6"  # which came after its beginning
            await upgraded.send("5")
            await post.send(packet[2:].encode())
            assert (await post.answer()).body == "ok"
            assert (await upgraded.receive()).startswith("431[")


async def test_messages_that_come_meanwhile_are_neither_lost_nor_doubled(
    gateways: GatewayProcess, name: Name
) -> None:
    count = 150
    async with (
        connected("polling", gateways.port, {"token": token(name("bob"))}) as raw,
        connect_as(gateways.url, name("alice")) as alice,
    ):
        assert isinstance(raw, RawPolling)
        await event(raw, "connected")

        async def send_all() -> None:
            for number in range(count):
                await alice.message(name("bob"), str(number))

        sending = asyncio.create_task(send_all())
        packets: list[str] = []
        for _ in range(5):
            packets += (await raw.poll()).body.split("\x1e")
        async with probing(raw) as upgraded:
            packets += (await raw.poll()).body.split("\x1e")  # as a client that pauses its polls
            await upgraded.send("5")
            while len([packet for packet in packets if packet.startswith("42")]) < count:
                packets.append(await upgraded.receive())
            await sending
            assert set(await ask(upgraded, "ping")) == {"timestamp"}
            assert not upgraded.backlog
    events = [json.loads(packet[2:]) for packet in packets if packet != "6"]
    assert [data["message"] for _, data in events] == [str(number) for number in range(count)]


async def test_the_heartbeat_goes_on_over_the_websocket(
    impatient: GatewayProcess, name: Name
) -> None:
    async with connected("polling", impatient.port, {"token": token(name("bob"))}) as raw:
        assert isinstance(raw, RawPolling)
        await event(raw, "connected")
        async with probing(raw) as upgraded:
            await upgraded.send("5")
            for _ in range(5):
                assert await upgraded.receive() == "2"
                await upgraded.send("3")
            assert await is_closed(upgraded)  # it answers no more


async def test_a_websocket_that_is_lost_in_its_probe_leaves_polling(
    gateways: GatewayProcess,
) -> None:
    async with connected("polling", gateways.port) as raw:
        assert isinstance(raw, RawPolling)
        async with probing(raw) as lost:
            lost.socket.transport.abort()
        assert set(await ask(raw, "ping")) == {"timestamp"}
        async with probing(raw) as upgraded:
            await upgraded.send("5")
            assert set(await ask(upgraded, "ping")) == {"timestamp"}


async def test_of_two_websockets_one_takes_over(gateways: GatewayProcess) -> None:
    async with connected("polling", gateways.port) as raw:
        assert isinstance(raw, RawPolling)
        async with probing(raw) as winner, probing(raw) as loser:
            await winner.send("5")
            assert set(await ask(winner, "ping")) == {"timestamp"}
            await loser.send("5")
            assert await is_closed(loser)
            assert set(await ask(winner, "ping", ack=2)) == {"timestamp"}


async def test_an_upgraded_session_ends_with_its_websocket(gateways: GatewayProcess) -> None:
    async with connected("polling", gateways.port) as raw:
        assert isinstance(raw, RawPolling)
        async with probing(raw) as upgraded:
            await upgraded.send("5")
            assert set(await ask(upgraded, "ping")) == {"timestamp"}
            assert await is_known(raw, gateways.port)
            upgraded.socket.transport.abort()

        async def is_gone() -> bool:
            return not await is_known(raw, gateways.port)

        await eventually(is_gone, "the session to end")


@pytest.mark.parametrize("packet", ["1", "41\x1e1", "abc"])
async def test_a_session_that_ends_while_it_is_probed_is_not_upgraded(
    gateways: GatewayProcess, packet: str
) -> None:
    async with connected("polling", gateways.port) as raw:
        assert isinstance(raw, RawPolling)
        async with probing(raw) as upgraded:
            await raw.post(packet)
            with suppress(ConnectionError):
                await upgraded.send("5")
            assert await is_closed(upgraded)
        assert not await is_known(raw, gateways.port)


async def test_a_websocket_of_another_origin_upgrades_nothing(gateways: GatewayProcess) -> None:
    raw = await open_polling(gateways.port)
    url = f"ws://127.0.0.1:{gateways.port}{target('websocket', raw.sid)}"
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(url, origin=websockets.Origin("http://elsewhere.example"))
    assert refused.value.response.status_code == 403
    async with websockets.connect(url, origin=websockets.Origin(ORIGIN)) as socket:
        await socket.send("2probe")
        assert await socket.recv() == "3probe"
    await raw.close()
