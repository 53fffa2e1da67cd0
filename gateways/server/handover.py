"""Connections change hands between processes that share a port.

A new one goes to the process that has the fewest (balance.py). And a Socket.IO client that polls,
or upgrades, makes its requests on whichever connections it likes, but its session lives in one
process, with whose number the session's id begins: a connection whose next request names another
process's session is handed to that one, socket and all, with what was read from it. From there on
it costs nothing.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import Any, Final

from gateways.server.balance import Balance, Counted

#: The session that a request line names, if it is a Socket.IO one.
SESSION: Final = re.compile(rb"[A-Z]{3,7} /socket\.io/?\?(?:[^ ]*&)?sid=([0-9]{1,4})\.")
LONGEST_REQUEST_LINE: Final = 4096
#: What goes with a connection: nothing, or a file with what was read of it.
BARE: Final = b"."
DATA: Final = b"d"


def prefix(process: int) -> str:
    """What the ids of a process's sessions begin with."""
    return f"{process}."


class Handover:
    def __init__(
        self,
        process: int,
        balance: Balance,
        inbox: socket.socket,
        outboxes: Sequence[socket.socket],
    ) -> None:
        """`inbox`: where this process gets connections. `outboxes`: one for each process, in the
        order of their numbers. All are stream sockets that the parent made: a queue of datagrams is
        full at ten, less than one burst of connections.
        """
        self.process = process
        self._balance = balance
        #: This process's, where the others look before they hand one over.
        self.connections = Counted(self._count)
        self._listening = False
        self._inbox = inbox
        self._outboxes = outboxes
        for end in (inbox, *outboxes):
            end.setblocking(False)

    def pass_on(self, transport: asyncio.Transport) -> bool:
        """Hand a connection that has just come to a process that has fewer. Returns whether one
        gets it.
        """
        other = self._balance.better(self.process)
        if other is None or not self.give(other, transport, b""):
            return False
        self._balance.expect(other)
        return True

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
        try:
            with ExitStack() as stack:
                descriptors = [connection.fileno()]
                if data:  # in a file: a request's body may be larger than what the socket takes
                    file = stack.enter_context(tempfile.TemporaryFile())
                    file.write(data)
                    file.flush()
                    descriptors.append(file.fileno())
                socket.send_fds(self._outboxes[owner], [DATA if data else BARE], descriptors)
        except OSError:
            return False
        transport.abort()
        return True

    def listen(self, make_protocol: Callable[[bytes], asyncio.Protocol]) -> None:
        """Serve what others hand over. `make_protocol` takes the bytes that were read already."""
        self._listening = True
        self.recount()
        loop = asyncio.get_running_loop()
        adopting: set[asyncio.Task[Any]] = set()

        def take() -> None:
            with suppress(BlockingIOError):
                kind, descriptors, _, _ = socket.recv_fds(self._inbox, 1, 2)
                if len(descriptors) != 1 + (kind == DATA):  # no more files may be open here
                    for descriptor in descriptors:
                        os.close(descriptor)
                    return
                connection = socket.socket(fileno=descriptors[0])
                data = _content(descriptors[1]) if kind == DATA else b""
                task = loop.create_task(
                    loop.connect_accepted_socket(lambda: make_protocol(data), connection)
                )
                adopting.add(task)
                task.add_done_callback(adopting.discard)

        loop.add_reader(self._inbox, take)

    def recount(self) -> None:
        """Once it goes on, a process that hung is to be given connections again."""
        self._count(len(self.connections))

    def close(self) -> None:
        """No more connections are taken, however few are left here."""
        self._listening = False
        self._balance.leave(self.process)
        asyncio.get_running_loop().remove_reader(self._inbox)

    def _count(self, number: int) -> None:
        if self._listening:
            self._balance.count(self.process, number)


def _content(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as file:
        file.seek(0)
        return file.read()
