"""What a Socket.IO frame costs, as a multiple of a plain one: the gateway's CPU time for each.

In: pings, each with its answer. Out: messages to fifty sockets. One format after the other, again
and again, against one server, so that whatever else the machine does falls on both alike.
"""

import asyncio
import json
import statistics
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import websockets
from websockets.asyncio.client import ClientConnection

from benchmarks.contenders import (
    GATEWAY,
    PLAIN as PLAIN_PATH,
    SOCKETIO as SOCKETIO_PATH,
    running,
    token,
)
from gateways.management.loadtest.processes import Watched

#: A Socket.IO frame may cost so much more than a plain one.
LIMIT = 1.3
ROUNDS = 5
SOCKETS = 50
PINGS_A_SOCKET = 600
#: Sent before the first answer is read, so that the server has work at hand.
WINDOW = 8
MESSAGES = 600


@dataclass(frozen=True)
class Format:
    name: str
    path: str
    hello: Callable[[str], str]
    ping: str
    message: Callable[[list[str]], str]


PLAIN = Format(
    "plain",
    PLAIN_PATH,
    lambda token: json.dumps({"event": "authenticate", "data": {"token": token}}),
    '{"event":"ping","id":1}',
    lambda users: json.dumps(
        {"event": "send_message", "id": 1, "data": {"recipientIds": users, "message": "x" * 60}}
    ),
)
SOCKETIO = Format(
    "Socket.IO",
    SOCKETIO_PATH,
    lambda token: "40" + json.dumps({"token": token}),
    '421["ping"]',
    lambda users: (
        "421" + json.dumps(["send_message", {"recipientIds": users, "message": "x" * 60}])
    ),
)


async def dial(port: int, spoken: Format, user_id: str) -> ClientConnection:
    url = f"ws://127.0.0.1:{port}{spoken.path}"
    socket = await websockets.connect(url, compression=None, max_queue=None)
    await socket.send(spoken.hello(token(user_id)))
    while '"connected"' not in await receive(socket):
        continue
    return socket


async def receive(socket: ClientConnection) -> str:
    """The next frame, Engine.IO's heartbeat aside."""
    while (frame := str(await socket.recv())) == "2":
        await socket.send("3")
    return frame


async def pings(sockets: list[ClientConnection], spoken: Format) -> int:
    """Returns how many frames came in."""

    async def one(socket: ClientConnection) -> None:
        for _ in range(WINDOW):
            await socket.send(spoken.ping)
        for number in range(PINGS_A_SOCKET):
            await receive(socket)
            if number < PINGS_A_SOCKET - WINDOW:
                await socket.send(spoken.ping)

    await asyncio.gather(*map(one, sockets))
    return len(sockets) * PINGS_A_SOCKET


async def messages(sockets: list[ClientConnection], spoken: Format) -> int:
    """Returns how many messages went out."""
    sender, users = sockets[0], [f"{spoken.name}-{n}" for n in range(len(sockets))]
    request = spoken.message(users)

    async def send() -> None:
        for _ in range(MESSAGES):
            await sender.send(request)
            await asyncio.sleep(0)

    async def read(socket: ClientConnection, count: int) -> None:
        for _ in range(count):
            await receive(socket)

    answers = MESSAGES  # the sender's, beside its own messages
    await asyncio.gather(
        send(),
        read(sender, MESSAGES + answers),
        *(read(socket, MESSAGES) for socket in sockets[1:]),
    )
    return len(sockets) * MESSAGES


async def measure(
    server: Watched,
    work: Callable[[list[ClientConnection], Format], Awaitable[int]],
    sockets: dict[str, list[ClientConnection]],
) -> dict[str, float]:
    """Microseconds of CPU a frame, the median of all rounds."""
    costs: dict[str, list[float]] = {PLAIN.name: [], SOCKETIO.name: []}
    for _ in range(ROUNDS + 1):
        for spoken in (PLAIN, SOCKETIO):
            before = server.read().cpu_seconds
            frames = await work(sockets[spoken.name], spoken)
            costs[spoken.name].append((server.read().cpu_seconds - before) / frames * 1e6)
    # The first round warms up.
    return {name: statistics.median(each[1:]) for name, each in costs.items()}


async def frames() -> dict[str, dict[str, float]]:
    """What a frame costs, by direction and format."""
    with running(GATEWAY) as gateway:
        server, port = Watched("server", tuple(gateway.process_ids)), gateway.ports[0]
        sockets = {
            spoken.name: [await dial(port, spoken, f"{spoken.name}-{n}") for n in range(SOCKETS)]
            for spoken in (PLAIN, SOCKETIO)
        }
        return {
            "in, with its answer": await measure(server, pings, sockets),
            "out, a message": await measure(server, messages, sockets),
        }


def ratio(costs: dict[str, float]) -> float:
    return costs[SOCKETIO.name] / costs[PLAIN.name]
