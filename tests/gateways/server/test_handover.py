"""Connections that change hands between the processes that share a port."""

import asyncio
import socket
import tempfile
from collections.abc import Iterator
from typing import IO

import pytest

from gateways.server.balance import Balance
from gateways.server.handover import Handover, prefix


@pytest.fixture
def ends() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    """Each process's inbox, and the way into it."""
    pairs = [socket.socketpair() for _ in range(2)]
    yield pairs
    for end in (end for pair in pairs for end in pair):
        end.close()


@pytest.fixture
def file() -> Iterator[IO[bytes]]:
    with tempfile.TemporaryFile() as file:
        yield file


@pytest.fixture
def processes(ends: list[tuple[socket.socket, socket.socket]], file: IO[bytes]) -> list[Handover]:
    outboxes = [outbox for _, outbox in ends]
    balance = Balance.make(file.fileno(), len(ends))
    return [Handover(number, balance, inbox, outboxes) for number, (inbox, _) in enumerate(ends)]


class Echo(asyncio.Protocol):
    """Says what it was given, and what comes after that."""

    def __init__(self, inherited: bytes) -> None:
        self._inherited = inherited

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._transport.write(b"%d read;" % len(self._inherited))

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


@pytest.mark.parametrize(
    ("line", "owner"),
    [
        (b"GET /socket.io/?EIO=4&transport=polling&sid=1.abc HTTP/1.1\r\n", 1),
        (b"POST /socket.io?sid=1.abc&EIO=4 HTTP/1.1\r\n", 1),
        (b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\n", None),
        (b"GET /socket.io/?sid=0.mine HTTP/1.1\r\n", None),
        (b"GET /socket.io/?sid=2.nobodys HTTP/1.1\r\n", None),
        (b"GET /socket.io/?sid=99999999.abc HTTP/1.1\r\n", None),
        (b"GET /socket.io/?sid=abc HTTP/1.1\r\n", None),
        (b"GET /socket.io/?t=1 HTTP/1.1\r\nreferer: /socket.io/?sid=1.abc\r\n", None),
        (b"GET /other?sid=1.abc HTTP/1.1\r\n", None),
        (b"\x00\xff", None),
        (b"", None),
    ],
)
def test_a_request_line_says_who_has_its_session(
    processes: list[Handover], line: bytes, owner: int | None
) -> None:
    assert processes[0].owner(line) == owner


def test_a_session_begins_with_its_processs_number(processes: list[Handover]) -> None:
    line = f"GET /socket.io/?sid={prefix(1)}abc HTTP/1.1".encode()
    assert processes[0].owner(line) == 1
    assert processes[1].owner(line) is None


@pytest.mark.parametrize("size", [0, 100, 300_000])
async def test_a_connection_goes_on_at_its_new_owner(processes: list[Handover], size: int) -> None:
    """With what was read of it already, however much."""
    giver, taker = processes
    taker.listen(Echo)

    class Giver(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            assert giver.give(1, transport, b"x" * size)

    server = await asyncio.get_running_loop().create_server(Giver, "127.0.0.1", 0)
    try:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        async with asyncio.timeout(10):
            assert await reader.readuntil(b";") == b"%d read;" % size
            writer.write(b"and then")
            assert await reader.readexactly(8) == b"and then"
        writer.close()
        await writer.wait_closed()
    finally:
        taker.close()
        server.close()


async def test_one_that_nobody_takes_stays(
    ends: list[tuple[socket.socket, socket.socket]], processes: list[Handover]
) -> None:
    ends[1][0].close()
    given: list[bool] = []

    class Giver(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            given.append(processes[0].give(1, transport, b""))
            transport.write(b"unknown")

    server = await asyncio.get_running_loop().create_server(Giver, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    async with asyncio.timeout(10):
        assert await reader.readexactly(7) == b"unknown"
    assert given == [False]
    writer.close()
    server.close()


async def test_one_that_leaves_is_not_the_one_with_the_fewest(processes: list[Handover]) -> None:
    leaving, other = processes
    for process in processes:
        process.listen(Echo)
    leaving.connections.update(range(3))
    for connection in range(10):
        other.connections.add(connection)
    assert other._balance.better(other.process) == leaving.process
    leaving.close()
    for connection in range(3):
        leaving.connections.remove(connection)
    assert other._balance.better(other.process) is None
    other.close()
