"""Connections change hands between processes that share a port.

A Socket.IO client that polls, or upgrades, makes its requests on whichever connections it likes,
and the kernel gives each of those to any process. But its session lives in one. A session's id
begins with its process's number; a connection whose next request names another process's session is
handed to that one, socket and all, with what was read from it. From there on it costs nothing.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

#: The session that a request line names, if it is a Socket.IO one.
SESSION: Final = re.compile(rb"[A-Z]{3,7} /socket\.io/?\?(?:[^ ]*&)?sid=([0-9]{1,4})\.")
LONGEST_REQUEST_LINE: Final = 4096


def prefix(process: int) -> str:
    """What the ids of a process's sessions begin with."""
    return f"{process}."


class Handover:
    def __init__(
        self, process: int, inbox: socket.socket, outboxes: Sequence[socket.socket]
    ) -> None:
        """`inbox`: where this process gets connections. `outboxes`: one for each process, in the
        order of their numbers. All are datagram sockets that the parent made.
        """
        self.process = process
        self._inbox = inbox
        self._outboxes = outboxes
        for end in (inbox, *outboxes):
            end.setblocking(False)

    def owner(self, request_line: bytes) -> int | None:
        """The other process that has the session which a request is for, if another has."""
        match = SESSION.match(request_line)
        if match is None:
            return None
        owner = int(match[1])
        return owner if owner != self.process and owner < len(self._outboxes) else None

    def give(self, owner: int, transport: asyncio.Transport, data: bytes) -> bool:
        """Hand a connection over, with the bytes that were read of its request. Returns whether the
        other process gets it; the transport is then of no more use here. Where it does not, the
        client is told that its session is unknown, and begins anew.
        """
        if transport.get_write_buffer_size():
            return False  # what is still to be written can't go along
        connection: socket.socket = transport.get_extra_info("socket")
        # In a file, since a request's body may be larger than a datagram.
        with tempfile.TemporaryFile() as file:
            try:
                file.write(data)
                file.flush()
                fds = [connection.fileno(), file.fileno()]
                socket.send_fds(self._outboxes[owner], [b"."], fds)
            except OSError:
                return False
        transport.abort()
        return True

    def listen(self, make_protocol: Callable[[bytes], asyncio.Protocol]) -> None:
        """Serve what others hand over. `make_protocol` takes the bytes that were read already."""
        loop = asyncio.get_running_loop()
        adopting: set[asyncio.Task[Any]] = set()

        def take() -> None:
            with suppress(BlockingIOError):
                _, fds, _, _ = socket.recv_fds(self._inbox, 1, 2)
                connection = socket.socket(fileno=fds[0])
                with os.fdopen(fds[1], "rb") as file:
                    file.seek(0)
                    data = file.read()
                task = loop.create_task(
                    loop.connect_accepted_socket(lambda: make_protocol(data), connection)
                )
                adopting.add(task)
                task.add_done_callback(adopting.discard)

        loop.add_reader(self._inbox, take)

    def close(self) -> None:
        """No more connections are taken."""
        asyncio.get_running_loop().remove_reader(self._inbox)
