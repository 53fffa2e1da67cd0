"""Every open socket of this process, authenticated or not, by its id."""

import asyncio
import random
from collections.abc import Iterator
from typing import Final, Protocol

from gateways import metrics
from gateways.nudges import CloseNudge
from gateways.protocol.events import ServerShutdown

#: Reconnects after a shutdown are spread over this time for each thousand clients, and at least
#: over it once.
SHUTDOWN_SPREAD_MS: Final = 2000


class Connection(Protocol):
    """A consumer, as the node sees it. A session has the id of its socket."""

    @property
    def waiting_bytes(self) -> int:
        """How many wait for its peer to read."""

    def end(self, code: int, reason: str) -> None: ...

    def shut_down(self, farewell: ServerShutdown) -> None: ...


class Connections:
    def __init__(self) -> None:
        self._open: dict[str, Connection] = {}
        self._empty = asyncio.Event()
        self.draining = False
        #: How long those who were sent away may take to come back.
        self.farewell_seconds = 0.0

    def join(self, socket_id: str, connection: Connection) -> None:
        """A socket opened. One that opens while the node drains is sent on at once."""
        self._open[socket_id] = connection
        metrics.connections_opened.add()
        if self.draining:
            connection.shut_down(ServerShutdown(retry_after_ms=SHUTDOWN_SPREAD_MS))

    def leave(self, socket_id: str) -> None:
        del self._open[socket_id]
        if not self._open:
            self._empty.set()

    def __contains__(self, socket_id: str) -> bool:
        return socket_id in self._open

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._open.values()))

    def on_close(self, nudge: CloseNudge) -> None:
        connection = self._open.get(nudge.session_id)
        if connection is not None:
            connection.end(nudge.code, nudge.reason)

    async def drain(self) -> None:
        """Send everybody elsewhere, and wait until they are gone."""
        self.draining = True
        connections = list(self._open.values())
        spread_ms = SHUTDOWN_SPREAD_MS * max(1, len(connections) // 1000)
        # Whoever comes back when told to was never away.
        self.farewell_seconds = spread_ms / 1000
        for connection in connections:
            connection.shut_down(ServerShutdown(retry_after_ms=random.randint(100, spread_ms)))  # noqa: S311  # jitter
        if self._open:
            self._empty.clear()
            await self._empty.wait()
