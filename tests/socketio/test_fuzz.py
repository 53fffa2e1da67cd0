"""Whatever is sent to it, the gateway neither fails nor keeps anything of it. That its logs have no
trace is looked at when it stops.
"""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote_from_bytes

import pytest
import websockets
from hypothesis import given, settings, strategies as st

from tests.e2e.client import connect_as, eventually, token
from tests.e2e.conftest import Name, Pair
from tests.e2e.gateways import GatewayProcess
from tests.socketio.conftest import both_transports
from tests.socketio.raw import (
    SEPARATOR,
    Raw,
    RawPolling,
    RawWebSocket,
    ask,
    begun,
    connected,
    event,
    is_known,
    open_polling,
    open_websocket,
    probing,
    request,
    target,
)

BEGINNINGS = [
    "", *"0123456789", "40", "40/", "40/a,", "41", "42", "421", "42/a,", "43", "431", "44", "45",
    "451-", "4510-", "451-1", "46", "461-2", "47", "2probe", "3probe", "b", "b4", '42["ping"',
    '421["ping",', '422["send_message",', '423["authenticate",', '40{"token":', '40{"resume":',
]  # fmt: skip
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
ends = st.text(max_size=20) | json_values.map(json.dumps) | json_values.map(lambda v: f"{v}]")
texts = st.builds(str.__add__, st.sampled_from(BEGINNINGS), ends)
packets = st.lists(texts | st.binary(max_size=20), min_size=1, max_size=8)
many = settings(max_examples=60, deadline=None)

AGAIN = '429999["ping"]'


async def assert_it_serves(port: int) -> None:
    async with connected("websocket", port) as raw:
        assert set(await ask(raw, "ping")) == {"timestamp"}


async def drained(raw: Raw) -> None:
    """Read until it is closed, or has come to the last thing that was sent."""
    with suppress(ConnectionError):
        await raw.send(AGAIN)
        while not (packet := await raw.receive()).startswith("439999["):
            assert "internal_error" not in packet


@pytest.mark.parametrize("internal", [False, True])
@given(packets=packets, connects=st.booleans())
@many
def test_any_packets_over_a_websocket(
    gateways: GatewayProcess, internal: bool, packets: list[str | bytes], connects: bool
) -> None:
    port = gateways.internal_port if internal else gateways.port

    async def run() -> None:
        raw = await open_websocket(port)
        with suppress(ConnectionError):
            if connects:
                await raw.send("40" if internal else "40" + json.dumps({"token": token("fuzzy")}))
            for packet in packets:
                await raw.send(packet)
        await drained(raw)
        raw.socket.transport.abort()
        await raw.socket.wait_closed()
        await assert_it_serves(port)

    asyncio.run(run())


@given(packets=packets, connects=st.booleans())
@many
def test_any_payload_over_polling(
    gateways: GatewayProcess, packets: list[str | bytes], connects: bool
) -> None:
    async def run() -> None:
        raw = await open_polling(gateways.port)
        if connects:
            await raw.send("40" + json.dumps({"token": token("fuzzy")}))
        parts = [
            packet if isinstance(packet, str) else "b" + base64.b64encode(packet).decode()
            for packet in packets
        ]
        assert (await raw.post(SEPARATOR.join(parts))).status in {200, 400}
        await drained(raw)
        await raw.close()
        assert not await is_known(raw, gateways.port)
        await assert_it_serves(gateways.port)

    asyncio.run(run())


@given(body=st.binary(max_size=200))
@many
def test_any_bytes_in_a_post(gateways: GatewayProcess, body: bytes) -> None:
    async def run() -> None:
        raw = await open_polling(gateways.port)
        assert (await raw.post(body)).status in {200, 400}
        await raw.close()
        assert not await is_known(raw, gateways.port)

    asyncio.run(run())


keys = st.sampled_from(["EIO", "transport", "sid", "t", "token", "b64"]) | st.text(max_size=5)
values = st.sampled_from(["4", "3", "polling", "websocket"]) | st.text(max_size=10)


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH", "TRACE"]),
    query=st.lists(st.tuples(keys, values), max_size=5),
    raw_query=st.binary(max_size=10),
    headers=st.dictionaries(
        st.sampled_from(
            ["origin", "authorization", "content-type", "access-control-request-headers", "accept"]
        ),
        st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20),
    ),
)
@many
def test_any_request(
    gateways: GatewayProcess,
    method: str,
    query: list[tuple[str, str]],
    raw_query: bytes,
    headers: dict[str, str],
) -> None:
    async def run() -> None:
        pairs = "&".join(
            "=".join(quote_from_bytes(part.encode()) for part in pair) for pair in query
        )
        path = f"/socket.io/?{pairs}&{quote_from_bytes(raw_query)}"
        answer = await request(gateways.port, method, path, headers=headers)
        assert answer.status in {200, 204, 400, 403}

    asyncio.run(run())


# --- what is left behind --------------------------------------------------------------------------


async def close_packet(raw: Raw) -> None:
    with suppress(ConnectionError):
        await raw.send("1")


async def disconnect_packet_then_close(raw: Raw) -> None:
    with suppress(ConnectionError):
        await raw.send("41")
        await raw.send("1")


async def garbage(raw: Raw) -> None:
    with suppress(ConnectionError):
        await raw.send("abc")


async def no_event(raw: Raw) -> None:
    with suppress(ConnectionError):
        await raw.send("42{}")


async def attachments_that_do_not_come(raw: Raw) -> None:
    with suppress(ConnectionError):
        await raw.send('452-["ping"]')
        await raw.send(b"1")
        await raw.send("1")


async def end_the_websocket(raw: Raw) -> None:
    if isinstance(raw, RawWebSocket):
        raw.socket.transport.abort()
        return
    assert isinstance(raw, RawPolling)
    async with probing(raw) as upgraded:
        await upgraded.send("5")
        assert set(await ask(upgraded, "ping")) == {"timestamp"}
        upgraded.socket.transport.abort()


async def give_up_a_request(raw: Raw) -> None:
    if isinstance(raw, RawWebSocket):
        await raw.socket.close()
        return
    assert isinstance(raw, RawPolling)
    async with begun(raw.port, "GET", target("polling", raw.sid)):
        pass


async def too_much(raw: Raw) -> None:
    with suppress(ConnectionError, websockets.ConnectionClosed):
        await raw.send("4" + "x" * raw.handshake["maxPayload"])


ENDINGS: list[Callable[[Raw], Awaitable[None]]] = [
    close_packet,
    disconnect_packet_then_close,
    garbage,
    no_event,
    attachments_that_do_not_come,
    end_the_websocket,
    give_up_a_request,
    too_much,
]


def connections_of(gateway: GatewayProcess) -> int:
    """How many the kernel has whose end at the gateway is not closed by it (proc(5), net/tcp)."""
    here = f":{gateway.port:04X}"
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(here) and row[3] in {"01", "08"} for row in rows)


@both_transports
async def test_however_a_session_ends_nothing_of_it_is_left(
    pair: Pair, transport: str, name: Name
) -> None:
    port = pair.first.port
    users = [name(f"u{number}") for number in range(3 * len(ENDINGS))]
    ended: list[Raw] = []

    async def visit(user_id: str, end: Callable[[Raw], Awaitable[None]]) -> None:
        raw: Raw = await (open_polling if transport == "polling" else open_websocket)(port)
        await raw.send("40" + json.dumps({"token": token(user_id)}))
        await event(raw, "connected")
        await end(raw)
        ended.append(raw)

    before = connections_of(pair.first)
    async with connect_as(pair.second.url, name("watcher")) as watcher:
        await asyncio.gather(*map(visit, users, 3 * ENDINGS))
        assert len(ended) == len(users)

        async def nobody_is_known() -> bool:
            return not any([await is_known(raw, port) for raw in ended])

        async def no_connection_is_left() -> bool:
            return connections_of(pair.first) <= before

        await eventually(nobody_is_known, "every session to be unknown")
        await watcher.sees_gone(*users)
        for raw in ended:
            if isinstance(raw, RawWebSocket):
                await raw.socket.close()
        await eventually(no_connection_is_left, "every connection to be closed")
