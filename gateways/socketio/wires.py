"""What carries the packets of one Engine.IO connection: a WebSocket, or HTTP requests in turn."""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, Protocol

from gateways.outbound import Send, Socket
from gateways.protocol import engineio
from gateways.protocol.engineio import InvalidPacket, Packet
from gateways.protocol.errors import CloseCode

Receive = Callable[[], Awaitable[dict[str, Any]]]

#: What waits for the next poll before its reader counts as lagging, as asyncio's transports do.
HIGH_WATER_BYTES: Final = 65_536
#: Time for one that was ended to fetch its last packets.
FAREWELL_SECONDS: Final = 10.0


class Wire(ABC):
    #: The peer closed it as done. python-socketio's clients do so before their DISCONNECT is out.
    goodbye = False

    @property
    @abstractmethod
    def writable(self) -> asyncio.Event:
        """Set while the reader keeps up."""

    @property
    @abstractmethod
    def unsent(self) -> bool:
        """Whether some of what was written is not sent, or never will be."""

    @property
    @abstractmethod
    def waiting_bytes(self) -> int:
        """How many wait to be sent."""

    @property
    @abstractmethod
    def held(self) -> bool:
        """Whether something came that nobody has taken yet."""

    @abstractmethod
    async def receive(self) -> Packet | None:
        """The next packet; None once the wire is down, or another took its place."""

    @abstractmethod
    def write(self, packets: Sequence[bytes]) -> int:
        """Write text packets at once. Returns `waiting_bytes` after that."""

    @abstractmethod
    async def close(self, code: int, reason: str) -> None:
        """Send what waits, then close. Does not wait for the peer."""

    @abstractmethod
    async def farewell(self) -> None:
        """Once closed: wait until the peer has what was sent, or has had the time for it."""

    @abstractmethod
    def close_now(self, code: int, reason: str) -> None:
        """Close without waiting for what is still unsent."""


class HoldingSocket(Socket, Protocol):
    @property
    def held(self) -> bool:
        """Whether its peer sent something that was not received here yet."""


class WebSocketWire(Wire):
    def __init__(self, socket: HoldingSocket, receive: Receive, send: Send) -> None:
        """`socket` is the server's own connection, or one made of `send`."""
        self._socket = socket
        self._receive = receive
        self._send = send
        self._lost = False

    @property
    def writable(self) -> asyncio.Event:
        return self._socket.writable

    @property
    def unsent(self) -> bool:
        return self._socket.unsent

    @property
    def waiting_bytes(self) -> int:
        return self._socket.waiting_bytes

    @property
    def held(self) -> bool:
        return self._socket.held

    async def receive(self) -> Packet | None:
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self._lost = True
            self.goodbye = message.get("code") == CloseCode.NORMAL
            return None
        text: str | None = message.get("text")
        return text if text is not None else message["bytes"]

    async def close(self, code: int, reason: str) -> None:
        if not self._lost:
            with suppress(OSError, RuntimeError):  # the peer may have been faster
                await self._send({"type": "websocket.close", "code": code, "reason": reason})

    async def farewell(self) -> None:
        return

    def write(self, packets: Sequence[bytes]) -> int:
        return self._socket.write_text(packets)

    def close_now(self, code: int, reason: str) -> None:
        self._socket.close_now(code, reason)


class PollingWire(Wire):
    """GETs fetch what waits, POSTs bring what comes; one of each at a time."""

    def __init__(self, *, farewell_seconds: float = FAREWELL_SECONDS) -> None:
        self._writable = asyncio.Event()
        self._writable.set()
        self._farewell_seconds = farewell_seconds
        self._incoming: deque[Packet] = deque()
        self._arrived = asyncio.Event()
        self._taken = asyncio.Event()
        self._outgoing: list[bytes] = []
        self._waiting_bytes = 0
        self._fetched = asyncio.Event()
        self._polling = False
        self._posting = False
        self._rested = asyncio.Event()
        self._rested.set()
        self._ready = asyncio.Event()
        #: What a poll gets once nothing else is left to fetch.
        self._last = engineio.CLOSE
        #: No packet comes through it any more; some may still go.
        self.down = False
        #: What was written that nobody can fetch any more.
        self._lost = False

    @property
    def writable(self) -> asyncio.Event:
        return self._writable

    @property
    def unsent(self) -> bool:
        return self._lost or bool(self._outgoing)

    @property
    def waiting_bytes(self) -> int:
        return self._waiting_bytes

    @property
    def held(self) -> bool:
        return bool(self._incoming)

    async def rested(self, seconds: float) -> bool:
        """Wait until no POST is under way. Returns whether that was so in time, and all that came
        was taken: a client may go on elsewhere while its last one is still on its way.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._rested.wait()
        return self._rested.is_set() and not self._incoming

    # --- towards the connection -------------------------------------------------------------------

    async def receive(self) -> Packet | None:
        while not self._incoming:
            self._taken.set()
            if self.down:
                return None
            self._arrived.clear()
            await self._arrived.wait()
        return self._incoming.popleft()

    def write(self, packets: Sequence[bytes]) -> int:
        if self.down:
            self._lost = True
            return 0
        for packet in packets:
            self._outgoing.append(packet)
            self._waiting_bytes += len(packet)
        self._ready.set()
        if self._waiting_bytes > HIGH_WATER_BYTES:
            self._writable.clear()
        return self._waiting_bytes

    async def close(self, code: int, reason: str) -> None:  # noqa: ARG002
        self._end()

    async def farewell(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._farewell_seconds):
                await self._fetched.wait()

    def close_now(self, code: int, reason: str) -> None:  # noqa: ARG002
        self._lost |= bool(self._discard())

    def hand_over(self) -> list[bytes]:
        """Another wire takes over. Returns what was still to be sent; a poll that waits ends
        empty-handed.
        """
        self._last = engineio.NOOP
        return [packet for packet in self._discard() if packet != engineio.NOOP.encode()]

    def _discard(self) -> list[bytes]:
        unsent, self._outgoing, self._waiting_bytes = self._outgoing, [], 0
        self._end()
        self._fetched.set()
        return unsent

    def release_poll(self) -> None:
        """Answer the poll that waits, if any: the client is about to change its transport."""
        if self._polling and not self._outgoing:
            self.write([engineio.NOOP.encode()])

    def _end(self) -> None:
        self.down = True
        self._arrived.set()
        self._ready.set()
        self._taken.set()
        self._writable.set()

    # --- towards HTTP -----------------------------------------------------------------------------

    async def poll(self) -> bytes:
        """The payload of a GET, as soon as there is something. Raises InvalidPacket where another
        one waits already: of the two answers the client would lose one.
        """
        if self._polling:
            raise InvalidPacket("two polls at once")
        self._polling = True
        try:
            if not self._outgoing and not self.down:
                self._ready.clear()
                await self._ready.wait()
        finally:
            self._polling = False
        packets, self._outgoing, self._waiting_bytes = self._outgoing, [], 0
        self._writable.set()
        if not packets:
            # On its own: the stock client would close before it hands on what stood beside it.
            packets = [self._last.encode()]
            self._fetched.set()
        return engineio.join(packets)

    @contextmanager
    def posting(self) -> Iterator[None]:
        """A POST is under way, from its first byte. Raises InvalidPacket where another one is: of
        the two nobody knows which comes first.
        """
        if self._posting:
            raise InvalidPacket("two posts at once")
        self._posting = True
        self._rested.clear()
        try:
            yield
        finally:
            self._posting = False
            self._rested.set()

    async def post(self, packets: list[Packet]) -> None:
        """Bring what a POST held. Returns when it is being worked on: a client is no faster than
        its requests are served.
        """
        self._incoming.extend(packets)
        self._taken.clear()
        self._arrived.set()
        if self.down:
            self._fetched.set()  # whoever posts now has no use for a farewell
        else:
            await self._taken.wait()
