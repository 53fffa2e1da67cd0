"""A plain WebSocket client that keeps what it is pushed and finds its replies by their ids."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import jwt
import websockets
from websockets.asyncio.client import ClientConnection

TOKEN_SECRET = "a secret of the tests, at least 32 bytes long"
WAIT_SECONDS = 15.0

Frame = dict[str, Any]


def token(user_id: str, *, lifetime_seconds: float = 3600, **claims: Any) -> str:
    """As the platform's API issues them: `sub`, `exp`, and whatever claims a test gives."""
    payload = {"sub": user_id, "exp": int(time.time() + lifetime_seconds), **claims}
    return jwt.encode(payload, TOKEN_SECRET, algorithm="HS256")


class Client:
    """Frames arrive in `pushes`, in order; `request` waits for its own reply."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.pushes: list[Frame] = []
        self.close_code: int | None = None
        self._replies: dict[int, asyncio.Future[Frame]] = {}
        self._arrived = asyncio.Event()
        self._next_id = 0
        self._reader = asyncio.create_task(self._read())

    async def request(self, event: str, data: Any = None) -> Any:
        """The reply's data."""
        self._next_id += 1
        future: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._replies[self._next_id] = future
        await self.socket.send(json.dumps({"event": event, "id": self._next_id, "data": data}))
        frame = await asyncio.wait_for(future, WAIT_SECONDS)
        assert frame["event"] == event
        return frame["data"]

    async def authenticate(
        self, user_id: str, *, claims: dict[str, Any] | None = None, **data: Any
    ) -> Any:
        return await self.request(
            "authenticate", {"token": token(user_id, **(claims or {})), **data}
        )

    async def until(self, condition: Callable[[], bool], what: str = "a condition") -> None:
        """Wait until a condition over what arrived holds."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not condition():
            remaining = deadline - time.monotonic()
            assert remaining > 0, f"waited in vain for {what}; pushed: {self.pushes[-5:]}"
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), min(remaining, 0.1))
            except TimeoutError:
                continue

    async def pushed(self, event: str, count: int = 1) -> list[Any]:
        """The data of all pushes of an event, once there are `count` of them."""
        await self.until(lambda: len(self.seen(event)) >= count, f"{count} of {event}")
        return self.seen(event)

    async def closed(self) -> int:
        """The close code, once the socket is closed."""
        await asyncio.wait_for(asyncio.shield(self._reader), WAIT_SECONDS)
        assert self.close_code is not None
        return self.close_code

    def seen(self, event: str) -> list[Any]:
        return [frame["data"] for frame in self.pushes if frame["event"] == event]

    async def _read(self) -> None:
        try:
            async for raw in self.socket:
                frame = json.loads(raw)
                if "id" in frame:
                    self._replies.pop(frame["id"]).set_result(frame)
                else:
                    self.pushes.append(frame)
                self._arrived.set()
        except websockets.ConnectionClosed:
            pass
        self.close_code = self.socket.close_code
        self._arrived.set()


@asynccontextmanager
async def connect(url: str, **options: Any) -> AsyncIterator[Client]:
    async with websockets.connect(url, max_size=None, **options) as socket:
        yield Client(socket)


@asynccontextmanager
async def connect_as(
    url: str, user_id: str, *, claims: dict[str, Any] | None = None, **data: Any
) -> AsyncIterator[Client]:
    """A client that is authenticated already; its `connected` is its first push."""
    async with connect(url) as client:
        reply = await client.authenticate(user_id, claims=claims, **data)
        assert "user" in reply, reply
        yield client
