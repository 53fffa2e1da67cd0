"""One player, over whichever client: what a test of a mixed room asks of each."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Protocol

import socketio

from tests.e2e.client import WAIT_SECONDS, Client, dial, token
from tests.e2e.gateways import GatewayProcess
from tests.socketio.clients import JsClient, Node

JAVASCRIPT: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "over a WebSocket": {"transports": ["websocket"]},
    "polling": {"transports": ["polling"]},
    "4.0": {"library": "socket.io-client-4.0"},
    "3.0": {"library": "socket.io-client-3"},
}
KINDS = ["plain", "Python", *JAVASCRIPT]
EVENTS = ("connected", "message", "user_status_update")


class Player(Protocol):
    """`pushed`: the data of all pushes of an event, once there are `count` of them."""

    async def ask(self, event: str, data: Any = None) -> Any: ...

    async def pushed(self, event: str, count: int = 1) -> list[Any]: ...

    async def goodbye(self) -> None: ...


class PlainPlayer:
    def __init__(self, client: Client) -> None:
        self.client = client

    async def ask(self, event: str, data: Any = None) -> Any:
        return await self.client.request(event, data)

    async def pushed(self, event: str, count: int = 1) -> list[Any]:
        return await self.client.pushed(event, count)

    async def goodbye(self) -> None:
        await self.client.socket.close()


class JavaScriptPlayer:
    def __init__(self, client: JsClient) -> None:
        self.client = client

    async def ask(self, event: str, data: Any = None) -> Any:
        return await self.client.ask(event, *([] if data is None else [data]))

    async def pushed(self, event: str, count: int = 1) -> list[Any]:
        return [data for (data,) in await self.client.given(event, count)]

    async def goodbye(self) -> None:
        self.client.tell("disconnect")
        await self.client.once("disconnect")


class PythonPlayer:
    def __init__(self, client: socketio.AsyncClient) -> None:
        self.client = client
        self._arrived = asyncio.Condition()
        self._seen: dict[str, list[Any]] = {event: [] for event in EVENTS}
        for event in EVENTS:
            client.on(event, self._handler(event))

    async def ask(self, event: str, data: Any = None) -> Any:
        return await self.client.call(event, data, timeout=WAIT_SECONDS)

    async def pushed(self, event: str, count: int = 1) -> list[Any]:
        async with asyncio.timeout(WAIT_SECONDS), self._arrived:
            await self._arrived.wait_for(lambda: len(self._seen[event]) >= count)
            return list(self._seen[event])

    async def goodbye(self) -> None:
        await self.client.disconnect()

    def _handler(self, event: str) -> Any:
        async def handle(data: Any) -> None:
            async with self._arrived:
                self._seen[event].append(data)
                self._arrived.notify_all()

        return handle


async def open_player(node: Node, gateway: GatewayProcess, user_id: str, kind: str) -> Player:
    """One that is authenticated, by an event as players of the old service are."""
    url = f"http://127.0.0.1:{gateway.port}"
    player: Player
    if kind == "plain":
        player = PlainPlayer(await dial(gateway.url))
    elif kind == "Python":
        client = socketio.AsyncClient()
        player = PythonPlayer(client)
        await client.connect(url)
    else:
        player = JavaScriptPlayer(node.open(url, **JAVASCRIPT[kind]))
    reply = await player.ask(
        "authenticate", {"token": token(user_id, email=f"{user_id}@example.org")}
    )
    assert reply["user"]["userId"] == user_id, reply
    return player


@asynccontextmanager
async def players(
    node: Node, places: dict[str, tuple[GatewayProcess, str]]
) -> AsyncIterator[dict[str, Player]]:
    """By the name that each was given: at a gateway, as that user, over the kind that is its name's
    first word.
    """
    async with AsyncExitStack() as leaving:
        opened = {}
        for name, (gateway, user_id) in places.items():
            opened[name] = await open_player(node, gateway, user_id, name.partition(", ")[0])
            if not isinstance(opened[name], JavaScriptPlayer):  # those end with their node
                leaving.push_async_callback(opened[name].goodbye)
        yield opened
