"""One client's connection, in each of the formats and over each of the transports."""

import asyncio
import itertools
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, Final

import websockets
from websockets.asyncio.client import ClientConnection

from tests.socketio.raw import Raw, RawPolling, RawWebSocket, open_polling, open_websocket

PATIENCE_SECONDS: Final = 20.0

#: Event, request id or None, data.
Frame = tuple[str, int | None, Any]
OnPush = Callable[[str, Any], None]


class Link(ABC):
    """Raises ConnectionError where the connection is not there any more."""

    def __init__(self, on_push: OnPush) -> None:
        self._on_push = on_push
        self._ids = itertools.count(1)
        self._replies: dict[int, asyncio.Future[Any]] = {}
        self._entered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._reader: asyncio.Task[None]

    @classmethod
    @abstractmethod
    async def open(cls, port: int, on_push: OnPush) -> "Link": ...

    @abstractmethod
    async def _send(self, event: str, request_id: int, data: Any) -> None: ...

    @abstractmethod
    def _frames(self) -> AsyncIterator[Frame]: ...

    @abstractmethod
    async def _authenticate(self, event: str, data: Any) -> None: ...

    @abstractmethod
    async def goodbye(self) -> None: ...

    @abstractmethod
    def drop(self) -> None: ...

    async def enter(self, data: Any, event: str = "authenticate") -> Any:
        """The data of `connected`, or of `service_authenticated`."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._authenticate(event, data)
            return await self._entered

    async def request(self, event: str, data: Any = None) -> Any:
        request_id = next(self._ids)
        reply = self._replies[request_id] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._send(event, request_id, data)
                return await reply
        finally:
            del self._replies[request_id]

    async def leave(self, *, goodbye: bool) -> None:
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self.goodbye() if goodbye else self.drop()
        self._reader.cancel()
        with suppress(asyncio.CancelledError):
            await self._reader

    def _begin(self) -> None:
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async for event, request_id, data in self._frames():
                if request_id is None:
                    self._pushed(event, data)
                elif (reply := self._replies.get(request_id)) and not reply.done():
                    reply.set_result(data)
        except (OSError, websockets.WebSocketException):
            pass
        finally:
            for waiting in (self._entered, *self._replies.values()):
                _fail(waiting, "closed")

    def _pushed(self, event: str, data: Any) -> None:
        self._on_push(event, data)
        if self._entered.done():
            return
        if event in ("connected", "service_authenticated"):
            self._entered.set_result(data)
        elif event in ("authentication_error", "error"):
            _fail(self._entered, str(data))


def _fail(waiting: asyncio.Future[Any], why: str) -> None:
    if not waiting.done():
        waiting.set_exception(ConnectionError(why))
        waiting.exception()  # whoever waits gets it; nobody has to


class Plain(Link):
    _socket: ClientConnection

    @classmethod
    async def open(cls, port: int, on_push: OnPush) -> "Plain":
        link = cls(on_push)
        link._socket = await websockets.connect(
            f"ws://127.0.0.1:{port}/ws", compression=None, proxy=None, max_size=None
        )
        link._begin()
        return link

    async def _send(self, event: str, request_id: int, data: Any) -> None:
        await self._say({"event": event, "id": request_id, "data": data})

    async def _authenticate(self, event: str, data: Any) -> None:
        await self._say({"event": event, "data": data})

    async def _say(self, frame: Any) -> None:
        try:
            await self._socket.send(json.dumps(frame))
        except websockets.ConnectionClosed as error:
            raise ConnectionError(str(error)) from error

    async def _frames(self) -> AsyncIterator[Frame]:
        async for raw in self._socket:
            frame = json.loads(raw)
            yield frame["event"], frame.get("id"), frame["data"]

    async def goodbye(self) -> None:
        await self._socket.close()

    def drop(self) -> None:
        self._socket.transport.abort()


class SocketIO(Link):
    _raw: Raw

    def __init__(self, on_push: OnPush) -> None:
        super().__init__(on_push)
        #: Who polls may post one thing at a time only.
        self._sending = asyncio.Lock()

    async def _send(self, event: str, request_id: int, data: Any) -> None:
        await self._say(f"42{request_id}{json.dumps([event, data])}")

    async def _authenticate(self, event: str, data: Any) -> None:
        if event == "authenticate":
            await self._say("40" + json.dumps(data))
        else:
            await self._say("40")
            await self._say("42" + json.dumps([event, data]))

    async def _say(self, packet: str) -> None:
        async with self._sending:
            await self._raw.send(packet)

    async def _frames(self) -> AsyncIterator[Frame]:
        while True:
            packet = await self._raw.receive()
            kind, content = packet[:2], packet[2:]
            if packet == "2":
                await self._say("3")
            elif kind == "42":
                event, data, *_ = json.loads(content)
                yield event, None, data
            elif kind == "43":
                number, bracket, rest = content.partition("[")
                yield "", int(number), json.loads(bracket + rest)[0]
            elif kind in ("41", "44"):
                raise ConnectionError(packet)

    async def goodbye(self) -> None:
        await self._say("41")
        await self._raw.close()


class SocketIOWebSocket(SocketIO):
    _raw: RawWebSocket

    @classmethod
    async def open(cls, port: int, on_push: OnPush) -> "SocketIOWebSocket":
        link = cls(on_push)
        link._raw = await open_websocket(port)
        link._begin()
        return link

    def drop(self) -> None:
        self._raw.socket.transport.abort()


class SocketIOPolling(SocketIO):
    _raw: RawPolling

    @classmethod
    async def open(cls, port: int, on_push: OnPush) -> "SocketIOPolling":
        link = cls(on_push)
        link._raw = await open_polling(port)
        link._begin()
        return link

    def drop(self) -> None:
        """It only polls no more: its reader is cancelled next."""


KINDS: Final[tuple[type[Link], ...]] = (Plain, SocketIOWebSocket, SocketIOPolling)
