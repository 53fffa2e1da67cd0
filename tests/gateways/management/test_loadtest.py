"""The load generator: against a gateway that keeps its promises, and servers that do not."""

import asyncio
import json
import os
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.management.base import CommandError
from websockets.asyncio.server import ServerConnection, serve

from gateways.management.loadtest import chart, wires
from gateways.management.loadtest.ledger import Latencies, Ledger, percentile
from gateways.management.loadtest.processes import Watched
from gateways.management.loadtest.report import Report
from gateways.management.loadtest.swarm import Plan, Swarm
from gateways.management.loadtest.wires import Answer
from tests.e2e.conftest import Deploy
from tests.gateways.management.conftest import Command, Manage

SOCKETIO = "/socket.io/?EIO=4&transport=websocket"
SHORT = ("--users=12", "--senders=4", "--seconds=1", "--warmup=0.2")


def report(manage: Manage, *arguments: str) -> dict[str, Any]:
    done = manage.run("loadtest", "--json", *SHORT, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def is_sound(found: dict[str, Any]) -> bool:
    faults = ("lost", "unanswered", "doubled", "refused", "lost_connections")
    return found["delivered"] > 0 and not any(found[fault] for fault in faults)


def test_plain_and_socketio_clients_lose_nothing(manage: Manage) -> None:
    gateway = manage.gateway
    for path in ("/ws", SOCKETIO):
        found = report(
            manage,
            "--recipients=3",
            f"--url=ws://127.0.0.1:{gateway.port}{path}",
            f"--watch=server={gateway.node_pid}",
        )
        assert is_sound(found)
        assert 0 < found["delivery_ms"]["p50"] <= found["delivery_ms"]["p99"]
        assert found["costs"]["server"]["cpu_us_a_delivery"] > 0


def test_a_rate_is_kept(manage: Manage) -> None:
    found = report(manage, "--rate=40", "--recipients=2", "--seconds=2")
    assert is_sound(found)
    assert found["delivered"] == pytest.approx(2 * 2 * 40, rel=0.2)


def test_a_person_reads_a_table_and_gets_a_picture(manage: Manage, tmp_path: Path) -> None:
    picture = tmp_path / "latency.svg"
    done = manage.run("loadtest", *SHORT, f"--svg={picture}")
    assert done.returncode == 0
    lines = dict(line.split("\t", 1) for line in done.stdout.splitlines())
    assert lines["lost"] == lines["doubled"] == "0"
    assert "a second" in lines["delivered"]
    assert "12 users connected" in done.stderr
    assert ET.parse(picture).getroot().tag.endswith("svg")


def test_users_are_spread_over_addresses_and_write_across(deploy: Deploy) -> None:
    first, second = deploy().start_pair()
    found = report(
        Manage(first),
        "--recipients=6",
        *(f"--url={gateway.url}" for gateway in (first, second)),
        *(f"--watch={n}={gateway.node_pid}" for n, gateway in enumerate((first, second))),
    )
    assert is_sound(found)
    assert all(cost["cpu_us_a_delivery"] > 0 for cost in found["costs"].values())


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--users=0", "--users: expected more than 0"),
        ("--senders=13", "--senders: expected at most as many as --users"),
        ("--recipients=13", "--recipients: expected at most as many as there are to write to"),
        ("--rate=0", "--rate: expected more than 0"),
        ("--watch=server", "--watch: got 'server'; expected NAME=PID,PID…"),
        ("--watch=server=4000000", "A process to watch is not there"),
        ("--url=ws://127.0.0.1:1/ws", "took not all users"),
    ],
)
def test_what_cannot_be_done_is_said(command: Command, option: str, said: str) -> None:
    with pytest.raises(CommandError, match=said):
        command("loadtest", *SHORT, option)


# --- servers that do not keep their promises -----------------------------------------------------


Handle = Callable[[dict[str, ServerConnection], ServerConnection, dict[str, Any]], Awaitable[None]]


@asynccontextmanager
async def server(handle: Handle) -> AsyncIterator[str]:
    """Takes every token for its user, and leaves the rest to `handle`."""
    users: dict[str, ServerConnection] = {}

    async def serve_one(socket: ServerConnection) -> None:
        async for frame in socket:
            request = json.loads(frame)
            if request["event"] == "authenticate":
                users[request["data"]["token"]] = socket
                await socket.send(json.dumps({"event": "connected", "data": {}}))
            else:
                await handle(users, socket, request)

    async with serve(serve_one, "127.0.0.1", 0) as running:
        yield f"ws://127.0.0.1:{running.sockets[0].getsockname()[1]}/ws"


async def deliver(
    users: dict[str, ServerConnection], request: dict[str, Any], *, copies: int = 1
) -> None:
    for recipient in request["data"]["recipientIds"]:
        for _ in range(copies):
            message = {"event": "message", "data": {"message": request["data"]["message"]}}
            await users[recipient].send(json.dumps(message))


async def answer(socket: ServerConnection, request: dict[str, Any], **data: str) -> None:
    await socket.send(json.dumps({"event": "send_message", "id": request["id"], "data": data}))


async def reported(handle: Handle) -> Report:
    async with server(handle) as url:
        plan = Plan(
            urls=[url],
            users=4,
            senders=2,
            recipients=2,
            window=1,
            rate=None,
            seconds=0.3,
            warmup_seconds=0.0,
            message_bytes=40,
            connecting=4,
            prefix="u",
        )
        swarm = Swarm(plan, lambda user_id: user_id, [])
        await swarm.connect()
        await swarm.measure()
        swarm.leave()
        return Report.of(swarm)


async def test_what_a_server_loses_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateways.management.loadtest.swarm.STRAGGLERS_SECONDS", 0.1)

    async def loses(users: Any, socket: ServerConnection, request: dict[str, Any]) -> None:
        request["data"]["recipientIds"].pop()
        await deliver(users, request)
        await answer(socket, request, status="sent")

    found = await reported(loses)
    assert found.lost == 2  # each sender's first message is never complete
    assert found.unanswered == 0
    assert not found.sound


async def test_what_a_server_doubles_is_found() -> None:
    async def doubles(users: Any, socket: ServerConnection, request: dict[str, Any]) -> None:
        await deliver(users, request, copies=2)
        await answer(socket, request, status="sent")

    found = await reported(doubles)
    assert found.doubled >= found.delivered > 0
    assert not found.sound


async def test_a_refusal_is_counted_by_its_code() -> None:
    async def refuses(_users: Any, socket: ServerConnection, request: dict[str, Any]) -> None:
        await answer(socket, request, status="error", code="rate_limited")
        await asyncio.sleep(0.01)

    found = await reported(refuses)
    assert found.refused["rate_limited"] > 0
    assert found.lost == found.delivered == 0
    assert not found.sound


async def test_connections_that_end_are_counted() -> None:
    async def hangs_up(_users: Any, socket: ServerConnection, _request: dict[str, Any]) -> None:
        await socket.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gateways.management.loadtest.swarm.STRAGGLERS_SECONDS", 0.1)
        found = await reported(hangs_up)
    assert found.lost_connections == 2
    assert found.unanswered == 2
    assert not found.sound


# --- the parts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("wire", [wires.Plain(), wires.SocketIO()])
def test_a_message_is_found_in_the_frame_that_it_was_sent_in(wire: wires.Wire) -> None:
    text = wires.text("0123abcd", 77, 100)
    assert len(text) == 100
    frame = wire.request(77, b'"bob"', text)
    assert wires.find(frame, b"0123abcd") == 77
    assert wires.find(frame, b"another!") is None
    assert wires.find(b'{"event":"pong"}', b"0123abcd") is None


def test_answers_of_both_formats() -> None:
    plain, socketio = wires.Plain(), wires.SocketIO()
    assert plain.answer(b'{"event":"x","id":3,"data":{"status":"sent"}}') == Answer(3, "")
    failed = b'{"event":"x","id":3,"data":{"status":"error","code":"unavailable"}}'
    assert plain.answer(failed) == Answer(3, "unavailable")
    assert plain.answer(b'{"event":"pushed","data":{}}') is None
    assert socketio.answer(b'4312[{"status":"queued"}]') == Answer(12, "")
    assert socketio.answer(b'42["pushed",{}]') is None


def test_a_message_is_closed_once_all_is_said_and_later_words_are_doubles() -> None:
    ledger = Ledger()
    number = ledger.send(5, [1, 2])
    assert ledger.deliver(number, 1) is None
    assert ledger.answer(Answer(number, "")) is None
    assert (ledger.missing, ledger.in_flight, ledger.doubled) == (1, 1, 0)
    assert ledger.deliver(number, 1) is None
    assert ledger.doubled == 1
    assert ledger.deliver(number, 2) == 5
    assert ledger.deliver(number, 2) is None
    assert ledger.answer(Answer(number, "")) is None
    assert (ledger.missing, ledger.in_flight, ledger.doubled) == (0, 0, 3)


def test_latencies_are_kept_by_the_second() -> None:
    latencies = Latencies()
    for second in ([0.1, 0.3, 0.2], [], [0.5]):
        latencies.values.extend(second)
        latencies.next_second()
    assert latencies.by_second(0.5) == [0.2, None, 0.5]
    assert latencies.percentile(0.99) == 0.5


def test_percentiles() -> None:
    values = [float(n) for n in range(1, 101)]
    assert percentile(values, 0.5) == 51
    assert percentile(values, 0.99) == 100
    assert percentile([], 0.5) is None


def test_a_process_that_works_is_seen_to() -> None:
    myself = Watched.parse(f"me={os.getpid()}")
    before = myself.read()
    while (now := myself.read()).cpu_seconds < before.cpu_seconds + 0.05:
        sum(range(10_000))
    assert now.rss_bytes > 10 * 2**20


def test_charts_are_svg_and_escape_what_they_show() -> None:
    lines = chart.lines("a < b", "x", "y", {"p50": [(1, 0.5), (2, 0.7)], "none": []})
    bars = chart.bars("a < b", "µs", {"this & that": 3.5, "other": 0})
    for picture in (lines, bars):
        root = ET.fromstring(picture)
        assert "a < b" in "".join(root.itertext())
    assert "this & that" in "".join(ET.fromstring(bars).itertext())


def test_a_bar_far_beyond_most_is_broken_off_and_says_its_figure() -> None:
    figures = {"ours": 9.0, "theirs": 10.0, "others'": 12.0, "far off": 930.0}
    root = ET.fromstring(chart.bars("costs", "µs", figures))
    widths = [float(each.attrib["width"]) for each in root.iter() if each.get("height") == "18"]
    assert widths[0] / widths[2] == pytest.approx(9 / 12, abs=0.01)
    assert widths[3] == widths[2]
    assert "930.0" in chart.bars("costs", "µs", figures)
    assert chart.bars("costs", "µs", {}).startswith("<svg")
