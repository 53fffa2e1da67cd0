"""One socket: requests find their replies by id, pushes are handed on as they come."""

import asyncio
import itertools
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Raw, Struct
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.protocol import State

from gateways.client.events import CannotConnect, Disconnected, RequestFailed
from gateways.protocol.errors import CloseCode
from gateways.protocol.events import Failure

T = TypeVar("T")

#: A gateway that is there but stuck is as good as none.
OPEN_SECONDS: Final = 10.0
REPLY_SECONDS: Final = 20.0
#: How a frame is answered that is larger than the server reads (RFC 6455, section 7.4.1).
_TOO_LARGE: Final = (1009, CloseCode.TOO_LARGE)


class _Frame(Struct, frozen=True):
    event: str
    data: Raw
    id: int | None = None


_decode_frame = msgspec.json.Decoder(_Frame).decode
_encode = msgspec.json.Encoder().encode


OnPush = Callable[["Link", str, Raw], None]


class Link:
    """Made by `open`; whoever made it closes it."""

    def __init__(self, socket: ClientConnection, on_push: OnPush) -> None:
        self._socket = socket
        self._on_push = on_push
        self._request_ids = itertools.count(1)
        self._replies: dict[int, asyncio.Future[Raw]] = {}
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, url: str, on_push: OnPush) -> "Link":
        """Raises CannotConnect."""
        try:
            socket = await connect(
                url, open_timeout=OPEN_SECONDS, max_size=None, compression=None, proxy=None
            )
        except InvalidStatus as error:
            raise CannotConnect(f"HTTP {error.response.status_code}, no WebSocket") from None
        except ConnectionRefusedError:
            raise CannotConnect("nobody listens there") from None
        except (OSError, TimeoutError, WebSocketException) as error:
            why = getattr(error, "strerror", None) or str(error) or "no answer"
            raise CannotConnect(why) from None
        return cls(socket, on_push)

    @property
    def is_closed(self) -> bool:
        return self._socket.state is State.CLOSED

    @property
    def close_code(self) -> int | None:
        """None where it broke without a word."""
        return self._socket.close_code

    @property
    def close_reason(self) -> str:
        return self._socket.close_reason or ""

    @property
    def too_large(self) -> bool:
        """Whether it was closed over a frame that was too large."""
        return self.close_code in _TOO_LARGE

    async def closed(self) -> None:
        await asyncio.shield(self._reader)

    async def close(self) -> None:
        await self._socket.close(CloseCode.NORMAL)
        await self._reader

    async def request(self, event: str, data: Mapping[str, Any], reply: type[T]) -> T:
        """Raises RequestFailed, Disconnected."""
        request_id = next(self._request_ids)
        future: asyncio.Future[Raw] = asyncio.get_running_loop().create_future()
        self._replies[request_id] = future
        try:
            await self._socket.send(
                _encode({"event": event, "id": request_id, "data": data}), text=True
            )
            async with asyncio.timeout(REPLY_SECONDS):
                answer = await future
        except (ConnectionClosed, TimeoutError):
            raise Disconnected("The gateway did not answer.") from None
        finally:
            del self._replies[request_id]
        try:
            failure = msgspec.json.decode(answer, type=Failure)
        except msgspec.ValidationError:
            return msgspec.json.decode(answer, type=reply)
        raise RequestFailed(failure)

    async def _read(self) -> None:
        try:
            async for raw in self._socket:
                frame = _decode_frame(raw)
                if frame.id is None:
                    self._on_push(self, frame.event, frame.data)
                elif (future := self._replies.get(frame.id)) and not future.done():
                    future.set_result(frame.data)
        except ConnectionClosed:
            pass
        finally:
            for future in self._replies.values():
                if not future.done():
                    future.set_exception(Disconnected("The connection broke."))
