"""A socket inside this process: the consumer as an ASGI application, no server around it."""

import asyncio
import inspect
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import jwt
from django.conf import settings

from gateways.consumers.base import GatewayConsumer
from gateways.consumers.internal import InternalConsumer
from gateways.consumers.user import UserConsumer
from gateways.gateway import Gateway
from gateways.protocol.plain import PlainCodec
from tests.gateways.services import KEY

WAIT_SECONDS = 20.0

Frame = dict[str, Any]


async def until(condition: Callable[[], bool | Awaitable[bool]], what: str = "a condition") -> None:
    """Wait until the condition holds. It is asked again and again, so it must be cheap."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        holds = condition()
        if inspect.isawaitable(holds):
            holds = await holds
        if holds:
            return
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(0.005)


def token(user_id: str, *, lifetime_seconds: float = 3600, **claims: Any) -> str:
    payload = {"sub": user_id, "exp": time.time() + lifetime_seconds, **claims}
    return jwt.encode(payload, str(settings.JWT_SECRET), algorithm="HS256")


class Client:
    """What the consumer sends arrives in `frames`, in order. While `reading` is cleared, the
    consumer's `send` waits, as a server's does for a reader that does not keep up.
    """

    def __init__(
        self,
        gateway: Gateway,
        *,
        consumer: type[GatewayConsumer] = UserConsumer,
        address: str = "",
        headers: Iterable[tuple[bytes, bytes]] = (),
        subprotocols: Iterable[str] = (),
        query: bytes = b"",
    ) -> None:
        self.frames: list[Frame] = []
        self.accepted: dict[str, Any] | None = None
        self.close_codes: list[int] = []
        self.close_reason = ""
        self.reading = asyncio.Event()
        self.reading.set()
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._incoming.put_nowait({"type": "websocket.connect"})
        self._next_id = 0

        async def start() -> Gateway:
            return gateway

        scope = {
            "type": "websocket",
            "path": "/ws",
            "headers": list(headers),
            "subprotocols": list(subprotocols),
            "query_string": query,
            "client": (address, 50_000) if address else None,
        }
        application = consumer.as_asgi(start=start, codec=PlainCodec())
        self.task = asyncio.create_task(application(scope, self._incoming.get, self._take))

    @property
    def close_code(self) -> int | None:
        return self.close_codes[0] if self.close_codes else None

    def send(self, frame: Any) -> None:
        text = frame if isinstance(frame, str) else json.dumps(frame)
        self._incoming.put_nowait({"type": "websocket.receive", "text": text})

    def send_binary(self, data: bytes) -> None:
        self._incoming.put_nowait({"type": "websocket.receive", "bytes": data})

    def request_soon(self, event: str, data: Any = None) -> int:
        """Returns the request's id."""
        self._next_id += 1
        self.send({"event": event, "id": self._next_id, "data": data})
        return self._next_id

    async def request(self, event: str, data: Any = None) -> Any:
        """The reply's data."""
        request_id = self.request_soon(event, data)
        await until(lambda: self.reply(request_id) is not None, f"a reply to {event}")
        return self.reply(request_id)

    def reply(self, request_id: int) -> Any:
        return next((f["data"] for f in self.frames if f.get("id") == request_id), None)

    async def authenticate(self, user_id: str, *, claims: Frame | None = None, **data: Any) -> Any:
        return await self.request(
            "authenticate", {"token": token(user_id, **(claims or {})), **data}
        )

    async def authenticate_service(self, name: str, key: str = KEY) -> Any:
        return await self.request("authenticate_service", {"serviceName": name, "serviceKey": key})

    def seen(self, event: str) -> list[Any]:
        """The data of all pushes of an event so far."""
        return [f["data"] for f in self.frames if f["event"] == event and "id" not in f]

    async def pushed(self, event: str, count: int = 1) -> list[Any]:
        """The same, once there are `count` of them."""
        await until(lambda: len(self.seen(event)) >= count, f"{count} of {event}: {self.frames}")
        return self.seen(event)

    async def closed(self) -> int:
        """The close code that the consumer gave, once it is done."""
        await until(lambda: bool(self.close_codes), "a close")
        await self._done()
        return self.close_codes[0]

    async def leave(self, code: int = 1001) -> None:
        """The client goes; returns when the consumer is done."""
        self._incoming.put_nowait({"type": "websocket.disconnect", "code": code})
        await self._done()

    async def _done(self) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            await self.task

    async def _take(self, message: dict[str, Any]) -> None:
        await self.reading.wait()
        if message["type"] == "websocket.accept":
            self.accepted = message
        elif message["type"] == "websocket.close":
            self.close_codes.append(message["code"])
            self.close_reason = message.get("reason", "")
            self._incoming.put_nowait({"type": "websocket.disconnect", "code": message["code"]})
        else:
            self.frames.append(json.loads(message["text"]))


@asynccontextmanager
async def connect(gateway: Gateway, **options: Any) -> AsyncIterator[Client]:
    client = Client(gateway, **options)
    try:
        yield client
    finally:
        client.reading.set()
        if not client.task.done():
            await client.leave()


@asynccontextmanager
async def connect_as(
    gateway: Gateway, user_id: str, *, claims: Frame | None = None, **data: Any
) -> AsyncIterator[Client]:
    """A client that is authenticated already."""
    async with connect(gateway) as client:
        reply = await client.authenticate(user_id, claims=claims, **data)
        assert "user" in reply, reply
        yield client


@asynccontextmanager
async def connect_internal(gateway: Gateway, **options: Any) -> AsyncIterator[Client]:
    async with connect(gateway, consumer=InternalConsumer, **options) as client:
        yield client


@asynccontextmanager
async def connect_service(gateway: Gateway, name: str, **options: Any) -> AsyncIterator[Client]:
    """A service that is authenticated already."""
    async with connect_internal(gateway, **options) as client:
        reply = await client.authenticate_service(name)
        assert "serviceName" in reply, reply
        yield client
