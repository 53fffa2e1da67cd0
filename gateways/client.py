"""A user's connection to a gateway over plain WebSockets, which outlives its sockets.

It comes back by itself, resumes where it was, and sends again what was not answered: each message
arrives once, either way. The same ids make that safe that make it safe for any client
(docs/protocol.md).
"""

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import msgspec
from msgspec import Raw, Struct
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from gateways.domain.delivery import uuid7
from gateways.protocol.errors import CloseCode
from gateways.protocol.events import (
    AuthenticationError,
    Connected,
    Failure,
    Pong,
    Receipt,
    ServerShutdown,
    SessionExpired,
    StatusUpdate,
    now_ms,
)

T = TypeVar("T")

#: Beyond it a gateway that is there but stuck is as good as none.
OPEN_SECONDS: Final = 10.0
REPLY_SECONDS: Final = 20.0
FIRST_RETRY_SECONDS: Final = 0.5
LONGEST_RETRY_SECONDS: Final = 10.0


class CannotConnect(Exception):
    """There is no such gateway, or it does not take this user. The message is one line."""


class Refused(CannotConnect):
    """It would be the same the next time."""


class Disconnected(Exception):
    """The request was not answered, and may have been carried out or not."""


class RequestFailed(Exception):
    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.error)
        self.failure = failure


class Message(Struct, frozen=True, rename="camel"):
    id: str
    seq: int
    sender_id: str | None
    message: str
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Dropped:
    """The connection is gone; the next attempt is so many seconds away."""

    reason: str
    retry_seconds: float


@dataclass(frozen=True, slots=True)
class Ended:
    """The connection is gone for good."""

    reason: str


Event = Connected | Message | StatusUpdate | Failure | Dropped | Ended


class _Frame(Struct, frozen=True):
    event: str
    data: Raw
    id: int | None = None


#: What a frame is answered with that is larger than the server reads (RFC 6455, section 7.4.1).
_TOO_BIG: Final = (1009, CloseCode.TOO_LARGE)
_decode_frame = msgspec.json.Decoder(_Frame).decode
_encode = msgspec.json.Encoder().encode


class Client:
    """`async with Client(…)` is connected, or raises CannotConnect. `token` is asked for at each
    connect, so that a long life does not end with its first token.
    """

    def __init__(
        self, url: str, token: Callable[[], str], *, device_id: str, active_every_seconds: float
    ) -> None:
        """`active_every_seconds`: says that somebody is here, however silent; less than what the
        gateway takes for idle.
        """
        self._url = url
        self._token = token
        self._device_id = device_id
        self._active_every_seconds = active_every_seconds
        self._socket: ClientConnection | None = None
        self._session_id = ""
        self._epoch = ""
        self._seq = 0
        self._newest = 0
        self._request_ids = itertools.count(1)
        self._replies: dict[int, asyncio.Future[Raw]] = {}
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._connected = asyncio.Event()
        self._ended = False
        self._last_words = ""
        self._close_code: int | None = None
        self._retry_after_seconds = 0.0
        self._renewal: asyncio.Task[None] | None = None
        #: One message after another, so that none overtakes one that has to be sent again.
        self._sending = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._runner = asyncio.create_task(self._run())
        connected = asyncio.create_task(self._connected.wait())
        await asyncio.wait({self._runner, connected}, return_when=asyncio.FIRST_COMPLETED)
        connected.cancel()
        if self._runner.done():
            self._runner.result()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """A goodbye: the friends hear of it at once."""
        self._ended = True
        if self._socket is not None:
            await self._socket.close(CloseCode.NORMAL)
        self._runner.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._runner

    @property
    def caught_up(self) -> bool:
        """Whether all that was there at the connect has come."""
        return self._connected.is_set() and self._seq >= self._newest

    async def events(self) -> AsyncIterator[Event]:
        """What is pushed, each message once and in order; ends after Ended."""
        while True:
            event = await self._events.get()
            yield event
            if isinstance(event, Ended):
                return

    async def send_message(self, recipient_ids: Sequence[str], message: str) -> Receipt:
        """The receipt, however often the connection drops before it comes: the message's id has
        the gateway take it once, within ten minutes. Raises RequestFailed; Disconnected where the
        connection has ended.
        """
        data = {
            "recipientIds": list(recipient_ids),
            "message": message,
            "messageId": uuid7(now_ms()),
        }
        async with self._sending:
            while True:
                try:
                    return await self.request("send_message", data, Receipt)
                except Disconnected:
                    if self._close_code in _TOO_BIG:
                        raise Disconnected("too large") from None
                    if self._ended:
                        raise
                except RequestFailed as error:
                    if not isinstance(error.failure.retry_after_ms, int):
                        raise
                    await asyncio.sleep(error.failure.retry_after_ms / 1000)

    async def request(self, event: str, data: Mapping[str, Any], reply: type[T]) -> T:
        """Waits for a connection and for the reply. Raises RequestFailed, Disconnected."""
        await self._connected.wait()
        if self._socket is None:
            raise Disconnected
        return await self._request(self._socket, event, data, reply)

    # --- the life of a connection -----------------------------------------------------------------

    async def _run(self) -> None:
        delays = _delays()
        try:
            while True:
                try:
                    reason = await self._one_socket()
                    delays = _delays()
                    back = self._close_code is None or _comes_back(self._close_code)
                except CannotConnect as error:
                    if not self._session_id:
                        raise
                    reason, back = str(error), not isinstance(error, Refused)
                if not back:
                    self._events.put_nowait(Ended(reason))
                    return
                delay = next(delays) + self._retry_after_seconds
                self._retry_after_seconds = 0.0
                self._events.put_nowait(Dropped(reason, delay))
                await asyncio.sleep(delay)
        finally:
            self._ended = True
            self._connected.set()

    async def _one_socket(self) -> str:
        """From the connect to the close, and why it closed. Raises CannotConnect."""
        self._last_words = ""
        try:
            socket = await connect(
                self._url, open_timeout=OPEN_SECONDS, max_size=None, compression=None, proxy=None
            )
        except (OSError, TimeoutError, WebSocketException) as error:
            raise CannotConnect(str(error) or "no answer") from None
        reader = asyncio.create_task(self._read(socket))
        attendance: asyncio.Task[None] | None = None
        try:
            await self._authenticate(socket)
            self._socket = socket
            self._connected.set()
            attendance = asyncio.create_task(self._stay_active(socket))
            await reader
        finally:
            self._connected.clear()
            self._socket = None
            for task in filter(None, (reader, attendance)):
                task.cancel()
            self._abandon_requests()
            await socket.close()
            self._close_code = socket.close_code
        return self._last_words or socket.close_reason or "the connection broke"

    async def _authenticate(self, socket: ClientConnection) -> None:
        data: dict[str, Any] = {"token": self._token(), "deviceId": self._device_id}
        if self._epoch:
            data["resume"] = {"epoch": self._epoch, "seq": self._seq}
        try:
            await self._request(socket, "authenticate", data, Connected)
        except RequestFailed as error:
            passing = isinstance(error.failure.retry_after_ms, int)
            raise (CannotConnect if passing else Refused)(str(error)) from None
        except Disconnected:
            back = socket.close_code is None or _comes_back(socket.close_code)
            why = self._last_words or socket.close_reason or "no answer"
            raise (CannotConnect if back else Refused)(why) from None

    async def _stay_active(self, socket: ClientConnection) -> None:
        while True:
            await asyncio.sleep(self._active_every_seconds)
            with contextlib.suppress(Disconnected, RequestFailed):
                await self._request(socket, "ping", {}, Pong)

    async def _request(
        self, socket: ClientConnection, event: str, data: Mapping[str, Any], reply: type[T]
    ) -> T:
        request_id = next(self._request_ids)
        future: asyncio.Future[Raw] = asyncio.get_running_loop().create_future()
        self._replies[request_id] = future
        try:
            await socket.send(_encode({"event": event, "id": request_id, "data": data}).decode())
            async with asyncio.timeout(REPLY_SECONDS):
                answer = await future
        except (ConnectionClosed, TimeoutError):
            raise Disconnected from None
        finally:
            self._replies.pop(request_id, None)
        return _reply(answer, reply)

    def _abandon_requests(self) -> None:
        for future in self._replies.values():
            if not future.done():
                future.set_exception(Disconnected())

    # --- what arrives -----------------------------------------------------------------------------

    async def _read(self, socket: ClientConnection) -> None:
        try:
            async for raw in socket:
                frame = _decode_frame(raw)
                if frame.id is None:
                    self._pushed(socket, frame)
                elif (future := self._replies.get(frame.id)) and not future.done():
                    future.set_result(frame.data)
        except ConnectionClosed:
            pass
        finally:
            self._abandon_requests()

    def _pushed(self, socket: ClientConnection, frame: _Frame) -> None:
        event, data = frame.event, frame.data
        if event == "connected":
            self._arrived(msgspec.json.decode(data, type=Connected))
        elif event == "message":
            message = msgspec.json.decode(data, type=Message)
            if message.seq > self._seq:
                self._seq = message.seq
                self._events.put_nowait(message)
        elif event == "user_status_update":
            self._events.put_nowait(msgspec.json.decode(data, type=StatusUpdate))
        elif event == "token_expiring":
            self._renewal = asyncio.create_task(self._renew(socket))
        elif event == "server_shutdown":
            farewell = msgspec.json.decode(data, type=ServerShutdown)
            self._retry_after_seconds = farewell.retry_after_ms / 1000
        elif event == "session_expired":
            self._last_words = msgspec.json.decode(data, type=SessionExpired).reason
        elif event == "authentication_error":
            self._last_words = msgspec.json.decode(data, type=AuthenticationError).error
        elif event == "error":
            self._events.put_nowait(msgspec.json.decode(data, type=Failure))

    def _arrived(self, connected: Connected) -> None:
        if (connected.session_id, connected.epoch) == (self._session_id, self._epoch):
            return  # only the answer to a fresh token
        self._session_id, self._epoch = connected.session_id, connected.epoch
        self._newest = connected.seq
        self._seq = connected.seq - connected.missed
        self._events.put_nowait(connected)

    async def _renew(self, socket: ClientConnection) -> None:
        with contextlib.suppress(CannotConnect):
            await self._authenticate(socket)


def _reply(answer: Raw, reply: type[T]) -> T:
    try:
        failure = msgspec.json.decode(answer, type=Failure)
    except msgspec.ValidationError:
        return msgspec.json.decode(answer, type=reply)
    raise RequestFailed(failure)


def _comes_back(code: int) -> bool:
    """Not where nothing would be different the next time. Each attempt has a fresh token."""
    changed = (CloseCode.UNAUTHENTICATED, CloseCode.EXPIRED, CloseCode.TOO_LARGE)
    return not 4400 <= code < 4500 or code in changed


def _delays() -> Iterator[float]:
    """Exponential, and spread, so that many clients do not come back at once."""
    for attempt in itertools.count():
        longest = min(FIRST_RETRY_SECONDS * 2 ** min(attempt, 10), LONGEST_RETRY_SECONDS)
        yield random.uniform(longest / 2, longest)
