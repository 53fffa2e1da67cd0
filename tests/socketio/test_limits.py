"""What one client may cost: the largest payload, the most that waits for it, and what it leaves."""

import asyncio
import base64
import json
import socket
from contextlib import AsyncExitStack, suppress

import pytest
import websockets

from tests.e2e.client import connect, connect_as, eventually, token
from tests.e2e.conftest import Deploy, Name
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
    is_closed,
    is_known,
    open_polling,
    open_websocket,
    opened,
    request,
    target,
)

MAX_OUTBOUND_BYTES = 100_000


@pytest.fixture(scope="module")
def narrow(deploy: Deploy) -> GatewayProcess:
    """Little may wait for a reader, and no heartbeat ends one that reads nothing."""
    deployment = deploy(MAX_OUTBOUND_BYTES=str(MAX_OUTBOUND_BYTES), RATE_LIMITS="off")
    return deployment.start()


# --- what comes in --------------------------------------------------------------------------------


@both_transports
async def test_a_payload_as_large_as_it_may_be_is_taken(
    gateways: GatewayProcess, transport: str
) -> None:
    async with connected(transport, gateways.port) as raw:
        head, tail = '421["nonsense","', '"]'
        padding = "x" * (raw.handshake["maxPayload"] - len(head) - len(tail))
        await raw.send(head + padding + tail)
        assert json.loads((await raw.receive())[3:])[0]["code"] == "unknown_event"


async def test_one_byte_more_closes_a_polling_session(gateways: GatewayProcess) -> None:
    """Bytes are counted, not characters."""
    async with connected("polling", gateways.port) as raw:
        assert isinstance(raw, RawPolling)
        half = raw.handshake["maxPayload"] // 2
        assert half < 2 * half == raw.handshake["maxPayload"]
        answer = await raw.post("é" * half + "x")
        assert answer.status == 413
        assert answer.headers["content-type"] == "application/json"
        assert (await raw.poll()).json["code"] == 1


async def test_a_body_without_an_end_is_read_no_further_than_the_bound(
    gateways: GatewayProcess,
) -> None:
    raw = await open_polling(gateways.port)
    headers = {"transfer-encoding": "chunked"}
    chunk = b"1000\r\n" + b"x" * 0x1000 + b"\r\n"
    async with begun(gateways.port, "POST", target("polling", raw.sid), headers) as post:
        for _ in range(raw.handshake["maxPayload"] // 0x1000 + 1):
            await post.send(chunk)
        assert (await post.answer()).status == 413
    assert not await is_known(raw, gateways.port)


async def test_a_body_in_chunks_is_one(gateways: GatewayProcess) -> None:
    async with connected("polling", gateways.port) as raw:
        headers = {"transfer-encoding": "chunked"}
        async with begun(gateways.port, "POST", target("polling", raw.sid), headers) as post:
            for part in (b"421[", b'"pin', b'g"]'):
                await post.send(b"%x\r\n%b\r\n" % (len(part), part))
            await post.send(b"0\r\n\r\n")
            assert (await post.answer()).body == "ok"
        assert (await raw.receive()).startswith("431[")


@pytest.mark.parametrize("kind", ["binary", "fragments"])
async def test_a_message_over_the_bound_closes_a_websocket_whatever_its_frames(
    gateways: GatewayProcess, kind: str
) -> None:
    raw = await open_websocket(gateways.port)
    size = raw.handshake["maxPayload"]
    with suppress(websockets.ConnectionClosed):  # it need not be read to its end
        if kind == "binary":
            await raw.socket.send(b"x" * (size + 1))
        else:
            await raw.socket.send(["4" + "x" * (size // 2), "x" * (size // 2), "x"])
    assert await is_closed(raw)
    assert raw.socket.close_code == 1009


@both_transports
@pytest.mark.parametrize("count", [10, 11])
async def test_ten_attachments_are_taken_and_eleven_close(
    gateways: GatewayProcess, transport: str, count: int
) -> None:
    async with connected(transport, gateways.port) as raw:
        placeholders = [{"_placeholder": True, "num": number} for number in range(count)]
        packet = f"45{count}-7" + json.dumps(["ping", placeholders])
        if count > 10:
            with suppress(ConnectionError):
                await raw.send(packet)
            async with asyncio.timeout(5):
                assert await is_closed(raw)
        else:
            await raw.send(packet)
            for _ in range(count):
                await raw.send(b"x" * 1000)
            assert json.loads((await raw.receive()).removeprefix("437"))[0]["status"] == "error"
            assert set(await ask(raw, "ping")) == {"timestamp"}


async def test_a_payload_of_very_many_packets_holds_up_nobody(gateways: GatewayProcess) -> None:
    async with (
        connected("polling", gateways.port) as raw,
        connected("websocket", gateways.port) as other,
    ):
        assert isinstance(raw, RawPolling)
        packets = "\x1e".join(["3"] * (raw.handshake["maxPayload"] // 2))
        posting = asyncio.create_task(raw.post(packets))
        assert set(await ask(other, "ping")) == {"timestamp"}
        assert (await posting).body == "ok"
        assert set(await ask(raw, "ping")) == {"timestamp"}


@both_transports
async def test_data_that_is_nested_too_deeply_closes(
    gateways: GatewayProcess, transport: str
) -> None:
    for packet in ('42["ping",%s]', "40%s"):
        async with opened(transport, gateways.port) as raw:
            if packet.startswith("42"):
                await raw.send("40")
            with suppress(ConnectionError):
                await raw.send(packet % ("[" * 50_000 + "]" * 50_000))
            async with asyncio.timeout(5):
                assert await is_closed(raw)


# --- how much comes in, and how many --------------------------------------------------------------

FRAMES = 50
#: As MAX_REFUSED in gateways/domain/limits.py.
REFUSED = 100
CONNECTIONS = 3

no_events = pytest.mark.parametrize(
    "packets",
    [["3"], ["431[]"], ["40/x,"], ["461-1[]", b"x"]],
    ids=["pongs", "acknowledgements", "namespaces", "attachments"],
)


@pytest.fixture(scope="module")
def strict(deploy: Deploy) -> GatewayProcess:
    return deploy(
        LIMIT_FRAMES=f"{FRAMES}/60",
        MAX_ADDRESS_CONNECTIONS=str(CONNECTIONS),
        WS_PING_INTERVAL="300",
        # A busy machine needs so long until connections are there and counted.
        WS_PING_TIMEOUT="3000",
    ).start("all")


async def say(raw: Raw, packets: list[str | bytes]) -> None:
    """In one post, or in frames of their own."""
    if isinstance(raw, RawPolling):
        coded = ("b" + base64.b64encode(p).decode() if isinstance(p, bytes) else p for p in packets)
        answer = await raw.post(SEPARATOR.join(coded))
        if answer.status != 200:
            raise ConnectionError(answer.body)
    else:
        for packet in packets:
            await raw.send(packet)


@both_transports
@no_events
async def test_whoever_sends_too_much_that_is_no_event_is_sent_away_for_good(
    strict: GatewayProcess, transport: str, packets: list[str | bytes]
) -> None:
    async with connected(transport, strict.port) as raw:
        with suppress(ConnectionError):
            await say(raw, packets * (FRAMES + REFUSED))
        ended = False
        with suppress(ConnectionError):
            while not ended:
                ended = await raw.receive() == "41"
        assert ended
        if isinstance(raw, RawWebSocket):
            assert await is_closed(raw)
            assert raw.socket.close_code == 4429


@both_transports
async def test_so_is_one_that_has_not_connected(strict: GatewayProcess, transport: str) -> None:
    async with opened(transport, strict.port) as raw:
        with suppress(ConnectionError):
            await say(raw, ["40/x,"] * (FRAMES + REFUSED))
        assert await is_closed(raw)


@no_events
async def test_services_may_send_what_they_like(
    strict: GatewayProcess, packets: list[str | bytes]
) -> None:
    async with connected("websocket", strict.internal_port) as raw:
        await say(raw, packets * (FRAMES + REFUSED))
        assert set(await ask(raw, "ping")) == {"timestamp"}


async def test_all_that_a_connection_sends_is_counted_together(strict: GatewayProcess) -> None:
    """Whoever says goodbye and comes again on the same connection does not begin anew."""
    async with opened("websocket", strict.port) as raw:
        for _ in range(FRAMES // 3):
            await say(raw, ["40", '420["ping"]', "41"])
        await say(raw, ["40"])
        refused = await ask(raw, "ping", ack=1)
        while refused.get("code") is None:
            refused = await ask(raw, "ping", ack=1)
        assert refused["code"] == "rate_limited"


@both_transports
async def test_pongs_are_served_beyond_the_limit(strict: GatewayProcess, transport: str) -> None:
    """Too many events are refused; a client that goes on with its heartbeat stays."""
    async with connected(transport, strict.port) as raw:
        await say(raw, ['420["ping"]'] * (FRAMES + 5))
        answers: list[str] = []
        while len(answers) < 5:
            if (packet := await raw.receive()) == "2":
                await raw.send("3")
            elif "rate_limited" in packet:
                answers.append(packet)
        for _ in range(5):
            while await raw.receive() != "2":
                pass
            await raw.send("3")


@both_transports
async def test_an_address_has_so_many_connections_that_never_connect(
    strict: GatewayProcess, transport: str
) -> None:
    """One that ends leaves room for another, however it ends; and once only."""
    for how in ("closed", "lost", "closed"):
        async with AsyncExitStack() as stack:
            for _ in range(CONNECTIONS):
                await stack.enter_async_context(opened(transport, strict.port))
            await assert_full(strict.port)
            async with opened("polling", strict.port, address="127.0.0.2"):
                pass  # of another address
            if how == "lost":
                stack.pop_all()  # their pings are not answered
        await eventually(lambda: has_room(strict.port), "room for another")


async def test_a_connection_in_use_is_counted_once(strict: GatewayProcess) -> None:
    async with (
        connected("websocket", strict.port) as raw,
        connected("polling", strict.port),
    ):
        await say(raw, ["41", "40"])
        assert set(await ask(raw, "ping")) == {"timestamp"}
        async with connect(strict.url):
            await assert_full(strict.port)
        await eventually(lambda: has_room(strict.port), "room for another")


async def has_room(port: int) -> bool:
    answer = await request(port, "GET", target("polling"))
    if answer.status == 200:
        await request(port, "POST", target("polling", json.loads(answer.body[1:])["sid"]), "1")
    return answer.status == 200


async def assert_full(port: int) -> None:
    """By each of the ways in."""
    answer = await request(port, "GET", target("polling"))
    assert (answer.status, answer.headers["retry-after"]) == (503, "6")
    assert answer.json["message"] == "This address has too many connections."
    with pytest.raises(websockets.InvalidStatus) as refused:
        await open_websocket(port)
    assert refused.value.response.status_code == 503
    async with connect(f"ws://127.0.0.1:{port}/ws") as plain:
        (error,) = await plain.pushed("error")
        assert error["code"] == "rate_limited"
        assert await plain.closed() == 4503


# --- what waits to go out -------------------------------------------------------------------------


async def test_a_session_that_nobody_polls_ends_at_the_bound(
    narrow: GatewayProcess, name: Name
) -> None:
    async with (
        connected("polling", narrow.port, {"token": token(name("slow"))}) as raw,
        connect_as(narrow.url, name("alice")) as alice,
    ):
        start = await event(raw, "connected")
        sent = 0
        while await is_known(raw, narrow.port):
            sent += len((await alice.message(name("slow"), "x" * 20_000))["recipients"]["sent"])
            assert sent < 20
        assert sent >= 4
        answer = await request(narrow.port, "GET", target("polling", raw.sid))
        assert (answer.status, answer.json["code"]) == (400, 1)
        resume = {"epoch": start["epoch"], "seq": start["seq"]}
        async with connect_as(narrow.url, name("slow"), resume=resume) as back:
            assert len(await back.pushed("message", sent)) >= sent


async def test_a_websocket_that_nobody_reads_ends_at_the_bound(
    narrow: GatewayProcess, name: Name
) -> None:
    """As one that is to come back: it is not disconnected for good."""
    small = socket.create_connection(("127.0.0.1", narrow.port))
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    raw = await open_websocket(narrow.port, sock=small, max_queue=1)
    await raw.send("40" + json.dumps({"token": token(name("slow"))}))
    await event(raw, "connected")
    async with connect_as(narrow.url, name("alice")) as alice:
        sent = 0
        while (await alice.message(name("slow"), "x" * 20_000))["recipients"]["sent"]:
            sent += 1
            assert sent < 500  # the kernel's buffers hold some MB besides
    packets: list[str] = []
    with suppress(ConnectionError):
        while True:
            packets.append(await raw.receive())
    assert "41" not in packets
    assert raw.socket.close_code == 4508


async def test_refusals_that_nobody_fetches_are_bounded_too(narrow: GatewayProcess) -> None:
    """Each answer is longer than what it answers."""
    async with opened("polling", narrow.port) as raw:
        assert isinstance(raw, RawPolling)
        payload = "\x1e".join(["40/x,"] * (raw.handshake["maxPayload"] // 6))
        for _ in range(3):
            if await is_known(raw, narrow.port):
                await raw.post(payload)
        answer = await raw.poll()
        assert answer.status == 400 or len(answer.body) <= 2 * MAX_OUTBOUND_BYTES


# --- what is left behind --------------------------------------------------------------------------


@both_transports
async def test_a_socket_that_never_connects_leaves_no_session(
    impatient: GatewayProcess, transport: str
) -> None:
    """Asking for namespaces that are none does not prolong its time."""
    async with opened(transport, impatient.port) as raw:
        with suppress(ConnectionError):
            while True:
                await raw.send("40/x,")
                while (await raw.receive()) == "2":
                    pass
                await asyncio.sleep(0.02)  # many within its second, but no flood
        assert await is_closed(raw)
        if isinstance(raw, RawWebSocket):
            assert raw.socket.close_code == 1000
        assert not await is_known(raw, impatient.port)
