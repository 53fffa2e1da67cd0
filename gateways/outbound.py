"""What waits to be written to one socket: in order, bounded, once a turn of the event loop.

Messages may never be dropped: when too much waits, the socket is closed with 4508 and the inbox
keeps what its reader did not take. Status updates may be replaced by newer ones, and wait while the
reader lags.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, Protocol

from gateways.protocol.errors import CloseCode

Send = Callable[[dict[str, Any]], Awaitable[None]]

#: How often a lagging reader is looked at again, for the status updates that wait for it.
LAG_POLL_SECONDS: Final = 0.25
#: A reader that does not take the close frame within this time is cut off.
CLOSE_PATIENCE_SECONDS: Final = 5.0


class DirectSocket(Protocol):
    """The server's own connection, where it hands itself over: see gateways/server/websocket.py."""

    writable: asyncio.Event

    def write_text(self, frames: Iterable[bytes]) -> int:
        """Write text frames at once. Returns how many bytes now wait to be sent."""

    def close_now(self, code: int, reason: str) -> None:
        """Close without waiting for what is still unsent."""


class Outbound(ABC):
    """One socket's way out. All methods but `drained` return at once."""

    def __init__(self, send: Send, *, max_bytes: int) -> None:
        self._send = send
        self._max_bytes = max_bytes
        self._loop = asyncio.get_running_loop()
        self._frames: list[bytes] = []
        self._latest: dict[str, bytes] = {}
        self._scheduled = False
        self._polling = False
        self._closing: asyncio.Task[None] | None = None

    @property
    def closed(self) -> bool:
        return self._closing is not None

    def write(self, frame: bytes) -> None:
        """Send a frame that must not be lost."""
        if not self.closed:
            self._frames.append(frame)
            self._schedule()

    def write_latest(self, key: str, frame: bytes) -> None:
        """Send a frame that a newer one of the same key may replace before it is sent."""
        if not self.closed:
            self._latest.pop(key, None)
            self._latest[key] = frame
            self._schedule()

    def close(self, code: int, reason: str = "") -> None:
        """Send what waits, then the close frame. The first close counts."""
        if not self.closed:
            self._flush()
        if not self.closed:  # what waited may have been too much
            self._closing = self._loop.create_task(self._close(code, reason))

    async def closed_down(self) -> None:
        """Wait until the close frame is out, or the reader is given up."""
        if self._closing is not None:
            await self._closing

    @abstractmethod
    async def drained(self) -> None:
        """Wait until the reader keeps up."""

    @abstractmethod
    def _write(self, frames: list[bytes]) -> int:
        """Hand frames to the socket. Returns how many bytes wait."""

    @property
    @abstractmethod
    def lags(self) -> bool:
        """Whether more waits than the socket takes."""

    @abstractmethod
    async def _close(self, code: int, reason: str) -> None: ...

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        if self.closed:
            return
        frames, self._frames = self._frames, []
        if self._latest:
            if self.lags:
                self._poll()
            else:
                frames.extend(self._latest.values())
                self._latest.clear()
        if frames and self._write(frames) > self._max_bytes:
            self._overflow()

    def _poll(self) -> None:
        """Look again later: messages go on meanwhile."""
        if not self._polling:
            self._polling = True
            self._loop.call_later(LAG_POLL_SECONDS, self._polled)

    def _polled(self) -> None:
        self._polling = False
        self._flush()

    def _overflow(self) -> None:
        self._frames.clear()
        self._latest.clear()
        self._closing = self._loop.create_task(
            self._give_up(CloseCode.SLOW_CONSUMER, "The reader does not keep up.")
        )

    @abstractmethod
    async def _give_up(self, code: int, reason: str) -> None: ...


class DirectOutbound(Outbound):
    """Writes frames straight into the server's transport: no ASGI message, no task, a frame."""

    def __init__(self, socket: DirectSocket, send: Send, *, max_bytes: int) -> None:
        super().__init__(send, max_bytes=max_bytes)
        self._socket = socket

    async def drained(self) -> None:
        self._flush()
        await self._socket.writable.wait()

    def _write(self, frames: list[bytes]) -> int:
        return self._socket.write_text(frames)

    @property
    def lags(self) -> bool:
        return not self._socket.writable.is_set()

    async def _close(self, code: int, reason: str) -> None:
        try:
            async with asyncio.timeout(CLOSE_PATIENCE_SECONDS):
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except TimeoutError:
            self._socket.close_now(code, reason)
        except (OSError, RuntimeError):
            return  # the peer was faster: there is nothing left to close

    async def _give_up(self, code: int, reason: str) -> None:
        self._socket.close_now(code, reason)


class AsgiOutbound(Outbound):
    """Any other ASGI server: one task sends what waits, one ASGI message a frame."""

    def __init__(self, send: Send, *, max_bytes: int) -> None:
        super().__init__(send, max_bytes=max_bytes)
        self._queue: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._pump: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    async def drained(self) -> None:
        self._flush()
        await self._idle.wait()

    def _write(self, frames: list[bytes]) -> int:
        self._queue.extend(frames)
        self._waiting_bytes += sum(map(len, frames))
        if self._idle.is_set():
            self._idle.clear()
            self._pump = self._loop.create_task(self._send_queue())
        return self._waiting_bytes

    @property
    def lags(self) -> bool:
        return not self._idle.is_set()

    async def _send_queue(self) -> None:
        try:
            while self._queue:
                frame = self._queue.popleft()
                await self._send({"type": "websocket.send", "text": frame.decode()})
                self._waiting_bytes -= len(frame)
        except (OSError, RuntimeError):
            self._queue.clear()  # the peer has gone: receive() tells the consumer
        finally:
            self._idle.set()

    async def _close(self, code: int, reason: str) -> None:
        try:
            async with asyncio.timeout(CLOSE_PATIENCE_SECONDS):
                await self._idle.wait()
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except (OSError, RuntimeError, TimeoutError):
            return

    async def _give_up(self, code: int, reason: str) -> None:
        self._queue.clear()
        if self._pump is not None:
            self._pump.cancel()
        await self._close(code, reason)
