"""What it costs to tell a thousand friends that one user came, and went."""

import asyncio
import json
import subprocess
import sys
from tempfile import NamedTemporaryFile
from typing import Final

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from benchmarks.contenders import ROOT, Running, token
from gateways.management.loadtest import wires
from gateways.management.loadtest.processes import Watched

FRIENDS: Final = 1_000
#: Of each kind: the star comes, the star goes.
CHANGES: Final = 20
CHANGE_SECONDS: Final = 20.0
STAR: Final = "star"


def measure(running: Running, _seconds: float) -> dict[str, float | None]:
    """Server CPU a change, with everybody told and the star's own connection included."""
    _make_friends(running)
    return {"transition_cpu_ms": asyncio.run(_changes(running)) * 1e3}


def _make_friends(running: Running) -> None:
    with NamedTemporaryFile("w", suffix=".jsonl") as file:
        for number in range(FRIENDS):
            print(json.dumps({"userId": _friend(number), "friendIds": [STAR]}), file=file)
        file.flush()
        subprocess.run(
            [sys.executable, "manage.py", "import_friends", file.name],
            cwd=ROOT,
            env=running.environment,
            stdout=subprocess.DEVNULL,
            check=True,
        )


def _friend(number: int) -> str:
    return f"friend-{number}"


class _Audience:
    """Who was told, of each change."""

    def __init__(self) -> None:
        self._told = 0
        self._everybody = asyncio.Event()

    def hear(self) -> None:
        self._told += 1
        if self._told == FRIENDS:
            self._everybody.set()

    async def all_told(self) -> None:
        async with asyncio.timeout(CHANGE_SECONDS):
            await self._everybody.wait()
        self._told = 0
        self._everybody.clear()


class _Client(WSListener):
    def __init__(self, user_id: str, wire: wires.Wire, audience: _Audience) -> None:
        self.connected = asyncio.Event()
        self._wire = wire
        self._token = token(user_id)
        self._audience = audience

    def on_ws_connected(self, transport: WSTransport) -> None:
        transport.send(WSMsgType.TEXT, self._wire.hello(self._token))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        payload = frame.get_payload_as_bytes()
        if b'"user_status_update"' in payload:
            self._audience.hear()
        elif b'"connected"' in payload:
            self.connected.set()
        elif beat := self._wire.heartbeat(payload):
            transport.send(WSMsgType.TEXT, beat)


async def _changes(running: Running) -> float:
    """Seconds of CPU a change."""
    url = running.urls[0]
    wire, audience = wires.of(url), _Audience()
    server = Watched("server", tuple(running.process_ids))

    async def come(user_id: str) -> WSTransport:
        client = _Client(user_id, wire, audience)
        transport, _ = await ws_connect(lambda: client, url)
        await client.connected.wait()
        return transport

    async def come_and_go() -> None:
        star = await come(STAR)
        await audience.all_told()
        star.send_close(WSCloseCode.OK)
        await audience.all_told()
        star.disconnect()

    friends = [await come(_friend(number)) for number in range(FRIENDS)]
    await come_and_go()
    before = server.read().cpu_seconds
    for _ in range(CHANGES):
        await come_and_go()
    spent = server.read().cpu_seconds - before
    for friend in friends:
        friend.disconnect()
    return spent / (2 * CHANGES)
