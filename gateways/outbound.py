"""What waits to be written to one socket: in order, bounded, once a turn of the event loop.

Messages may never be dropped: when too much waits, the socket is closed with 4508 and the inbox
keeps what its reader did not take. Status updates may be replaced by newer ones, and wait while the
reader lags.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from contextvars import Context
from typing import Any, Final, Protocol

import structlog

from gateways import metrics
from gateways.protocol.errors import CloseCode

log = structlog.get_logger(__name__)

Send = Callable[[dict[str, Any]], Awaitable[None]]

#: How often a lagging reader is looked at again, for the status updates that wait for it.
LAG_POLL_SECONDS: Final = 0.25
#: A history is written in stretches of so much, each once its reader has kept up.
STRETCH_BYTES: Final = 65_536
#: A reader that does not take the close frame within this time is cut off.
CLOSE_PATIENCE_SECONDS: Final = 5.0


class Socket(Protocol):
    """What takes frames without a task or an ASGI message for each: the server's own connection,
    where it hands itself over (gateways/server/websocket.py), or a Socket.IO connection.
    """

    #: Whether it ended before all that was written was sent.
    unsent: bool

    @property
    def writable(self) -> asyncio.Event:
        """Set while the reader keeps up, and at the end."""

    @property
    def waiting_bytes(self) -> int:
        """How many wait to be sent."""

    def write_text(self, frames: Sequence[bytes]) -> int:
        """Write text frames at once. Returns `waiting_bytes` after that."""

    def close_now(self, code: int, reason: str) -> None:
        """Close without waiting for what is still unsent."""


class Turn:
    """Whoever has something to write at the end of this turn of the event loop: one callback for
    all of them, since the loop takes half a microsecond for each.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due: list[Outbound] = []

    def add(self, outbound: "Outbound") -> None:
        if not self._due:
            self._loop.call_soon(self._end)
        self._due.append(outbound)

    def _end(self) -> None:
        due, self._due = self._due, []
        for outbound in due:
            try:
                outbound.flush()
            except Exception:  # noqa: BLE001  # it is logged
                # Not in the context of whoever's request was the first of this turn.
                Context().run(log.exception, "could not write")
                # What it lost its client would not miss: a session that resumes does.
                outbound.close(CloseCode.INTERNAL_ERROR, "The gateway failed.")


class Outbound:
    """One socket's way out. All methods but `drained` and `closed_down` return at once."""

    def __init__(
        self, socket: Socket, send: Send, *, max_bytes: int, turn: Turn | None = None
    ) -> None:
        """`turn`: shared by the sockets of a process."""
        self._socket = socket
        self._turn = turn or Turn()
        self._send = send
        self._max_bytes = max_bytes
        self.stretch_bytes = min(STRETCH_BYTES, max_bytes // 2)
        self._loop = asyncio.get_running_loop()
        self._frames: list[bytes] = []
        self._latest: dict[str, bytes] = {}
        self._due = False
        self._polling = False
        self._dropped = False
        self._closing: asyncio.Task[None] | None = None
        #: With which code this side closed, and why; None where it did not.
        self.close_code: int | None = None
        self.close_reason = ""

    @property
    def closed(self) -> bool:
        return self.close_code is not None

    @property
    def lags(self) -> bool:
        """Whether more waits than the socket takes, or was thrown away for that."""
        return self._dropped or self._socket.unsent or not self._socket.writable.is_set()

    @property
    def waiting_bytes(self) -> int:
        return self._socket.waiting_bytes

    def write(self, frame: bytes) -> None:
        """Send a frame that must not be lost."""
        if self.close_code is None:
            self._frames.append(frame)
            if not self._due:
                self._due = True
                self._turn.add(self)

    def write_latest(self, key: str, frame: bytes) -> None:
        """Send a frame that a newer one of the same key may replace before it is sent."""
        if self.close_code is None:
            self._latest.pop(key, None)
            self._latest[key] = frame
            if not self._due:
                self._due = True
                self._turn.add(self)

    def close(self, code: int, reason: str = "") -> None:
        """Send what waits, then the close frame. The first close counts."""
        if not self.closed:
            self.flush()
        if not self.closed:  # what waited may have been too much
            self.close_code, self.close_reason = code, reason
            metrics.closes.add(str(int(code)))
            self._closing = self._loop.create_task(self._close(code, reason))

    async def drained(self) -> None:
        """Wait until the reader keeps up."""
        self.flush()
        await self._socket.writable.wait()

    async def closed_down(self) -> None:
        """Wait until the close frame is out, or the reader is given up."""
        if self._closing is not None:
            await self._closing

    def flush(self) -> None:
        """Write what waits now."""
        self._due = False
        if self.close_code is not None:
            return
        frames = self._frames
        if self._latest:
            if self._socket.writable.is_set():
                frames.extend(self._latest.values())
                self._latest.clear()
            else:
                self._poll()
        if frames:
            self._frames = []
            if self._socket.write_text(frames) > self._max_bytes:
                self._overflow()

    def _poll(self) -> None:
        """Look again later: messages go on meanwhile."""
        if not self._polling:
            self._polling = True
            self._loop.call_later(LAG_POLL_SECONDS, self._polled)

    def _polled(self) -> None:
        self._polling = False
        self.flush()

    def _overflow(self) -> None:
        self._frames.clear()
        self._latest.clear()
        self._dropped = True
        self.close_code = CloseCode.SLOW_CONSUMER
        metrics.slow_consumers.add()
        metrics.closes.add(str(int(self.close_code)))
        self.close_reason = "The reader does not keep up."
        self._socket.close_now(self.close_code, self.close_reason)

    async def _close(self, code: int, reason: str) -> None:
        try:
            async with asyncio.timeout(CLOSE_PATIENCE_SECONDS):
                await self._socket.writable.wait()
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except TimeoutError:
            self._dropped = True
            self._socket.close_now(code, reason)
        except (OSError, RuntimeError):
            return  # the peer was faster: there is nothing left to close


class AsgiSocket:
    """Any other ASGI server's connection: one task sends what waits, one ASGI message a frame."""

    #: What such a server holds it tells nobody.
    held = False

    def __init__(self, send: Send) -> None:
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._queue: deque[bytes] = deque()
        self.waiting_bytes = 0
        self._pump: asyncio.Task[None] | None = None
        self.unsent = False
        self.writable = asyncio.Event()
        self.writable.set()

    def write_text(self, frames: Sequence[bytes]) -> int:
        for frame in frames:
            self._queue.append(frame)
            self.waiting_bytes += len(frame)
        if self.writable.is_set() and self._queue:
            self.writable.clear()
            self._pump = self._loop.create_task(self._send_queue())
        return self.waiting_bytes

    def close_now(self, code: int, reason: str) -> None:
        self._queue.clear()
        if self._pump is not None:
            self._pump.cancel()
        self._pump = self._loop.create_task(self._close(code, reason))

    async def _send_queue(self) -> None:
        try:
            while self._queue:
                frame = self._queue.popleft()
                await self._send({"type": "websocket.send", "text": frame.decode()})
                self.waiting_bytes -= len(frame)
        except (OSError, RuntimeError):
            self.unsent = True
            self._queue.clear()  # the peer has gone: receive() tells the consumer
        finally:
            self.writable.set()

    async def _close(self, code: int, reason: str) -> None:
        with suppress(OSError, RuntimeError, TimeoutError):
            async with asyncio.timeout(CLOSE_PATIENCE_SECONDS):
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
