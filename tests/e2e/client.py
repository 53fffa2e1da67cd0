"""A plain WebSocket client that keeps what it is pushed and finds its replies by their ids."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import jwt
import websockets
from websockets.asyncio.client import ClientConnection

TOKEN_SECRET = "a secret of the tests, at least 32 bytes long"
WAIT_SECONDS = 15.0

Frame = dict[str, Any]


def token(user_id: Any, *, lifetime_seconds: float = 3600, **claims: Any) -> str:
    """As the platform's API issues them: `sub`, `exp`, and whatever claims a test gives."""
    payload = {"sub": user_id, "exp": int(time.time() + lifetime_seconds), **claims}
    return jwt.encode(payload, TOKEN_SECRET, algorithm="HS256")


async def eventually(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Ask until it is so."""
    deadline = time.monotonic() + 2 * WAIT_SECONDS
    while not await condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(0.02)


class Client:
    """Every frame is kept in `frames`, in order; those that are no reply to `request` also in
    `pushes`.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.frames: list[Frame] = []
        self.pushes: list[Frame] = []
        self.close_code: int | None = None
        self._replies: dict[int | str, asyncio.Future[Frame]] = {}
        self._arrived = asyncio.Event()
        self._next_id = 0
        self._reader = asyncio.create_task(self._read())

    async def request(self, event: str, data: Any = None) -> Any:
        """The reply's data. Raises ConnectionError where the socket closes first."""
        self._next_id += 1
        future: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._replies[self._next_id] = future
        await self.send({"event": event, "id": self._next_id, "data": data})
        # Not wait_for, which loses a cancellation that comes with the answer (Python 3.11).
        async with asyncio.timeout(WAIT_SECONDS):
            frame = await future
        assert frame["event"] == event
        return frame["data"]

    async def send(self, frame: Any) -> None:
        """A frame as it is: text and bytes unchanged, anything else as JSON."""
        raw = frame if isinstance(frame, str | bytes) else json.dumps(frame)
        try:
            await self.socket.send(raw)
        except websockets.ConnectionClosed as error:
            raise ConnectionError(str(error)) from error

    async def authenticate(
        self, user_id: str, *, claims: dict[str, Any] | None = None, **data: Any
    ) -> Any:
        return await self.request(
            "authenticate", {"token": token(user_id, **(claims or {})), **data}
        )

    async def authenticate_service(self, service_name: str, service_key: str) -> Any:
        return await self.request(
            "authenticate_service", {"serviceName": service_name, "serviceKey": service_key}
        )

    async def message(self, recipient_ids: str | list[str], text: str, **data: Any) -> Any:
        """The receipt."""
        to = [recipient_ids] if isinstance(recipient_ids, str) else recipient_ids
        return await self.request("send_message", {"recipientIds": to, "message": text, **data})

    async def listed(self) -> set[str]:
        """Who is online."""
        page = await self.request("get_all_online_users", {"limit": 1000})
        return {user["userId"] for user in page["users"]}

    async def sees_gone(self, *user_ids: str) -> None:
        """Wait until they are: the gateway learns of a socket's end when it comes to it."""

        async def are_gone() -> bool:
            return not await self.listed() & set(user_ids)

        await eventually(are_gone, f"{user_ids} to be gone")

    async def until(self, condition: Callable[[], bool], what: str = "a condition") -> None:
        """Wait until a condition over what arrived holds."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not condition():
            assert self.close_code is None, f"closed with {self.close_code} before {what}"
            remaining = deadline - time.monotonic()
            assert remaining > 0, f"waited in vain for {what}; pushed: {self.pushes[-5:]}"
            self._arrived.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(remaining, 0.1)):
                    await self._arrived.wait()

    async def pushed(self, event: str, count: int = 1) -> list[Any]:
        """The data of all pushes of an event, once there are `count` of them."""
        await self.until(lambda: len(self.seen(event)) >= count, f"{count} of {event}")
        return self.seen(event)

    async def texts(self, count: int) -> list[str]:
        """The texts of all messages, once there are `count` of them."""
        return [message["message"] for message in await self.pushed("message", count)]

    async def status_of(self, user_id: str, status: str) -> Any:
        """The update by which the client heard of a user's status, once it came."""
        await self.until(
            lambda: self.statuses_of(user_id)[-1:] == [status], f"{user_id} to be {status}"
        )
        return self.seen("user_status_update")[-1]

    def statuses_of(self, user_id: str) -> list[str]:
        updates = self.seen("user_status_update")
        return [update["status"] for update in updates if update["userId"] == user_id]

    async def ping_until_closed(self) -> int:
        """How often it was answered."""
        pongs = 0
        try:
            while True:
                assert set(await self.request("ping")) == {"timestamp"}
                pongs += 1
                await asyncio.sleep(0.02)
        except ConnectionError:
            return pongs

    async def closed(self) -> int:
        """The close code, once the socket is closed."""
        async with asyncio.timeout(WAIT_SECONDS):
            await asyncio.shield(self._reader)
        assert self.close_code is not None
        return self.close_code

    def drop(self) -> None:
        """Lose the connection without a word, as a dead network does."""
        self.socket.transport.abort()

    def seen(self, event: str) -> list[Any]:
        return [frame["data"] for frame in self.pushes if frame["event"] == event]

    async def _read(self) -> None:
        try:
            async for raw in self.socket:
                frame = json.loads(raw)
                self.frames.append(frame)
                waiting = self._replies.pop(frame.get("id"), None)
                if waiting is None:
                    self.pushes.append(frame)
                elif not waiting.done():
                    waiting.set_result(frame)
                self._arrived.set()
        except websockets.ConnectionClosed:
            pass
        self.close_code = self.socket.close_code
        for waiting in self._replies.values():
            if not waiting.done():
                waiting.set_exception(ConnectionError(f"closed with {self.close_code}"))
                waiting.exception()  # whoever waits gets it; nobody has to
        self._arrived.set()


async def dial(url: str, **options: Any) -> Client:
    """A client that the test itself closes."""
    return Client(await websockets.connect(url, max_size=None, **options))


async def dial_as(
    url: str, user_id: str, *, claims: dict[str, Any] | None = None, **data: Any
) -> Client:
    """One that is authenticated already; its `connected` is its first push."""
    client = await dial(url)
    reply = await client.authenticate(user_id, claims=claims, **data)
    assert "user" in reply, reply
    return client


async def patiently(client: Client, service_name: str, service_key: str) -> Any:
    """Authenticate as a service in the field does: again, while the gateway has no time for it."""
    while True:
        reply = await client.authenticate_service(service_name, service_key)
        if reply.get("code") != "unavailable":
            return reply
        await asyncio.sleep(reply["retryAfterMs"] / 1000)


async def dial_service(url: str, service_name: str, service_key: str) -> Client:
    """A service that is authenticated already."""
    client = await dial(url)
    reply = await patiently(client, service_name, service_key)
    assert "serviceName" in reply, reply
    return client


@asynccontextmanager
async def connect(url: str, **options: Any) -> AsyncIterator[Client]:
    client = await dial(url, **options)
    try:
        yield client
    finally:
        await client.socket.close()


@asynccontextmanager
async def connect_service(url: str, service_name: str, service_key: str) -> AsyncIterator[Client]:
    client = await dial_service(url, service_name, service_key)
    try:
        yield client
    finally:
        await client.socket.close()


@asynccontextmanager
async def connect_as(url: str, user_id: str, **options: Any) -> AsyncIterator[Client]:
    client = await dial_as(url, user_id, **options)
    try:
        yield client
    finally:
        await client.socket.close()
