"""One connection to Redis, as the batcher wants it: packed commands out, replies in, no task.

redis-py opens it, with all that this takes: TLS, passwords, databases, UNIX sockets. From then on
what it would do for each command, 13 µs of CPU in a pipeline, is done here in 2: hiredis packs and
parses, and nothing is copied, wrapped or awaited in between.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, cast

import hiredis
from redis.asyncio.connection import AbstractConnection

#: What hiredis says where a reply is not there whole: no reply equals it.
_INCOMPLETE: Final = object()


class LinkLost(Exception):
    """The connection ended, or what came over it is no answer. One sentence."""


class Refusal(Exception):
    """An error that Redis answered with, for one command: "KIND sentence"."""

    @property
    def kind(self) -> str:
        return str(self).partition(" ")[0]


#: Gets the replies of what was sent, or why there are none.
OnReplies = Callable[[list[Any] | LinkLost], None]


class Link(asyncio.Protocol):
    """Made by `open`. One batch at a time: `idle` says whether it takes the next."""

    def __init__(self, connection: AbstractConnection, transport: asyncio.Transport) -> None:
        # It closes the transport when it is collected, so it lives as long as this.
        self._connection = connection
        self._transport = transport
        self._reader = hiredis.Reader(replyError=Refusal, notEnoughData=_INCOMPLETE)
        self._expected = 0
        self._replies: list[Any] = []
        self._on_replies: OnReplies | None = None
        self.closed = False

    @classmethod
    async def open(cls, connection: AbstractConnection) -> "Link":
        """Raises RedisError, OSError or LinkLost where it cannot be had."""
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException as error:
            await connection.disconnect(nowait=True)
            if isinstance(error, RuntimeError):  # uvloop's, of a connection that ended meanwhile
                raise LinkLost(str(error)) from None
            raise
        # redis-py has no public way to its transport. It has read all that came so far: each
        # command of its handshake waits for its answer.
        writer = cast("asyncio.StreamWriter", connection._writer)  # noqa: SLF001
        transport = cast("asyncio.Transport", writer.transport)
        _forget_at_close(transport)
        link = cls(connection, transport)
        if transport.is_closing():  # nobody would tell the link
            link.close("Redis closed the connection.")
            raise LinkLost("Redis closed the connection.")
        transport.set_protocol(link)
        return link

    @property
    def idle(self) -> bool:
        return self._on_replies is None and not self.closed

    def send(self, packed: bytes, expected: int, on_replies: OnReplies) -> None:
        """Send so many commands. `on_replies` is called once, and not before this returns."""
        self._expected, self._replies, self._on_replies = expected, [], on_replies
        if self._transport.is_closing():
            reason = "Redis closed the connection."
            asyncio.get_running_loop().call_soon(self.close, reason)
        else:
            self._transport.write(packed)

    def close(self, reason: str) -> None:
        """At once; whoever waits for replies is told the reason."""
        if not self.closed:
            self.closed = True
            self._transport.abort()
            self._connection._writer = None  # noqa: SLF001  # nothing is left for it to close
            self._answer(LinkLost(reason))

    def data_received(self, data: bytes) -> None:
        replies = self._replies
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not _INCOMPLETE:
                replies.append(reply)
        except hiredis.ProtocolError as error:
            self.close(f"Redis answered what is no reply: {error}")
            return
        if len(replies) > self._expected:
            self.close("Redis answered what nobody asked.")
        elif replies and len(replies) == self._expected:
            self._answer(replies)

    def connection_lost(self, exc: Exception | None) -> None:
        self.close(str(exc or "Redis closed the connection."))

    def _answer(self, outcome: list[Any] | LinkLost) -> None:
        on_replies, self._on_replies = self._on_replies, None
        self._expected, self._replies = 0, []
        if on_replies is not None:
            on_replies(outcome)


def _forget_at_close(transport: asyncio.Transport) -> None:
    """What the kernel still holds when the link is closed is never sent. It would go on trying for
    minutes, and what callers have long given up would be carried out when a network heals.
    """
    connection = transport.get_extra_info("socket")
    with suppress(OSError):  # it has ended already
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
