"""A user's connection to a gateway, which outlives its sockets.

It comes back by itself, resumes where it was, and sends again what was not answered; each message
arrives once, either way. The same ids make that safe that make it safe for any client
(docs/protocol.md).
"""

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import msgspec
from msgspec import Raw

from gateways.client.events import (
    CannotConnect,
    Disconnected,
    Dropped,
    Ended,
    Event,
    Message,
    Refused,
    RequestFailed,
)
from gateways.client.link import Link
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

FIRST_RETRY_SECONDS: Final = 0.5
LONGEST_RETRY_SECONDS: Final = 10.0


class Client:
    """`async with Client(…)` is connected, or raises CannotConnect.

    `token` is asked for at each connect, so that a long life does not end with its first token.
    `active_every_seconds` is how often the client says that somebody is here, however silent: less
    than what the gateway takes for idle.
    """

    def __init__(
        self, url: str, token: Callable[[], str], *, device_id: str, active_every_seconds: float
    ) -> None:
        self._url = url
        self._token = token
        self._device_id = device_id
        self._active_every_seconds = active_every_seconds
        self._link: Link | None = None
        #: Set while there is a link, and once there will be none any more.
        self._decided = asyncio.Event()
        self._ended = False
        self._session_id = ""
        self._epoch = ""
        self._seq = 0
        self._newest = 0
        #: Set while no message of before the connect is missing.
        self._complete = asyncio.Event()
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._last_words = ""
        self._shutdown_seconds = 0.0
        self._renewal: asyncio.Task[None] | None = None
        #: One message after another, so that none overtakes one that has to be sent again.
        self._sending = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._runner = asyncio.create_task(self._run())
        await self._decided.wait()
        if self._ended:
            await self._runner
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """A goodbye: the friends hear of it at once."""
        self._ended = True
        if self._link is not None:
            await self._link.close()
        self._runner.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._runner

    @property
    def connected(self) -> bool:
        return self._link is not None

    async def caught_up(self) -> None:
        """Until all that was there at the connect has come, and whoever reads the events has it."""
        await self._complete.wait()
        await self._events.join()

    async def events(self) -> AsyncIterator[Event]:
        """What comes, each message once and in order. Ends after Ended."""
        while True:
            event = await self._events.get()
            yield event
            self._events.task_done()
            if isinstance(event, Ended):
                return

    async def send_message(self, recipient_ids: Sequence[str], message: str) -> Receipt:
        """The receipt, however often the connection drops before it comes: by its id the gateway
        takes the message once, within ten minutes. Raises RequestFailed; Disconnected where the
        message is what the connection drops over, or the connection has ended.
        """
        data = {
            "recipientIds": list(recipient_ids),
            "message": message,
            "messageId": uuid7(now_ms()),
        }
        async with self._sending:
            while True:
                link = await self._linked()
                try:
                    return await link.request("send_message", data, Receipt)
                except Disconnected:
                    self._forget(link)
                    if link.too_large:
                        raise Disconnected("The message is larger than a gateway reads.") from None
                except RequestFailed as error:
                    if error.retry_after_seconds is None:
                        raise
                    await asyncio.sleep(error.retry_after_seconds)

    async def ask(self, event: str, reply: type[T]) -> T:
        """Waits for a connection and for the reply. Raises RequestFailed, Disconnected."""
        link = await self._linked()
        try:
            return await link.request(event, {}, reply)
        finally:
            self._forget(link)

    async def _linked(self) -> Link:
        """Raises Disconnected once there will be no connection any more."""
        while self._link is None:
            await self._decided.wait()
            if self._ended:
                raise Disconnected("The connection has ended.")
        return self._link

    def _forget(self, link: Link) -> None:
        """Where it is closed; whoever sees that first spares the others."""
        if link.is_closed and self._link is link:
            self._link = None
            self._decided.clear()

    # --- the life of a connection -----------------------------------------------------------------

    async def _run(self) -> None:
        delays = _delays()
        try:
            while True:
                try:
                    link = await self._connect()
                    delays = _delays()
                    reason, back = await self._follow(link)
                except CannotConnect as error:
                    if not self._session_id:
                        raise
                    reason, back = str(error), not isinstance(error, Refused)
                if not back:
                    self._events.put_nowait(Ended(reason))
                    return
                delay_seconds = next(delays) + self._shutdown_seconds
                self._shutdown_seconds = 0.0
                self._events.put_nowait(Dropped(reason, delay_seconds))
                await asyncio.sleep(delay_seconds)
        finally:
            self._ended = True
            self._decided.set()

    async def _connect(self) -> Link:
        self._last_words = ""
        link = await Link.open(self._url, self._pushed)
        try:
            await self._authenticate(link)
        except BaseException:
            await link.close()
            raise
        return link

    async def _follow(self, link: Link) -> tuple[str, bool]:
        """Until the link closes. Returns why it did, and whether to come back."""
        self._link = link
        self._decided.set()
        attendance = asyncio.create_task(self._stay_active(link))
        try:
            await link.closed()
        finally:
            self._forget(link)
            attendance.cancel()
        reason = self._last_words or link.close_reason or "the connection broke"
        return reason, _comes_back(link.close_code)

    async def _authenticate(self, link: Link) -> None:
        data: dict[str, Any] = {"token": self._token(), "deviceId": self._device_id}
        if self._epoch:
            data["resume"] = {"epoch": self._epoch, "seq": self._seq}
        try:
            await link.request("authenticate", data, Connected)
        except RequestFailed as error:
            refused = error.retry_after_seconds is None
            raise (Refused if refused else CannotConnect)(str(error)) from None
        except Disconnected as error:
            back = _comes_back(link.close_code)
            why = self._last_words or link.close_reason or str(error)
            raise (CannotConnect if back else Refused)(why) from None

    async def _renew(self, link: Link) -> None:
        with contextlib.suppress(CannotConnect):
            await self._authenticate(link)

    async def _stay_active(self, link: Link) -> None:
        while True:
            await asyncio.sleep(self._active_every_seconds)
            with contextlib.suppress(Disconnected, RequestFailed):
                await link.request("ping", {}, Pong)

    # --- what is pushed ---------------------------------------------------------------------------

    def _pushed(self, link: Link, event: str, data: Raw) -> None:
        match event:
            case "connected":
                self._arrived(msgspec.json.decode(data, type=Connected))
            case "message":
                self._heard(msgspec.json.decode(data, type=Message))
            case "user_status_update":
                self._events.put_nowait(msgspec.json.decode(data, type=StatusUpdate))
            case "error":
                self._events.put_nowait(msgspec.json.decode(data, type=Failure))
            case "authentication_error":
                self._last_words = msgspec.json.decode(data, type=AuthenticationError).error
            case "session_expired":
                reason = msgspec.json.decode(data, type=SessionExpired).reason
                self._last_words = f"the session ended: {reason}"
            case "token_expiring":
                self._renewal = asyncio.create_task(self._renew(link))
            case "server_shutdown":
                farewell = msgspec.json.decode(data, type=ServerShutdown)
                self._shutdown_seconds = farewell.retry_after_ms / 1000
            case _:
                pass  # a later gateway may say more

    def _heard(self, message: Message) -> None:
        if message.seq is None:
            self._events.put_nowait(message)
        elif message.seq > self._seq:
            self._seq = message.seq
            self._events.put_nowait(message)
            self._check_complete()

    def _arrived(self, connected: Connected) -> None:
        if (connected.session_id, connected.epoch) == (self._session_id, self._epoch):
            return  # only the answer to a fresh token
        self._session_id, self._epoch = connected.session_id, connected.epoch
        self._newest = connected.seq
        self._seq = connected.seq - connected.missed
        self._complete.clear()
        self._events.put_nowait(connected)
        self._check_complete()

    def _check_complete(self) -> None:
        if self._seq >= self._newest:
            self._complete.set()


def _comes_back(close_code: int | None) -> bool:
    """Not where nothing would be different the next time. Each attempt has a fresh token."""
    changed = (CloseCode.UNAUTHENTICATED, CloseCode.EXPIRED, CloseCode.TOO_LARGE)
    return close_code is None or not 4400 <= close_code < 4500 or close_code in changed


def _delays() -> Iterator[float]:
    """Exponential, and spread, so that many clients do not come back at once."""
    for attempt in itertools.count():
        longest = min(FIRST_RETRY_SECONDS * 2 ** min(attempt, 10), LONGEST_RETRY_SECONDS)
        yield random.uniform(longest / 2, longest)  # noqa: S311  # jitter
