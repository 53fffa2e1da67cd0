"""The way out of a socket: order, coalescing, bounds. Messages are never dropped in silence."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from gateways import outbound as outbounds
from gateways.outbound import AsgiSocket, Outbound
from tests.gateways.consumers.client import until

MAX_BYTES = 1000


class Peer:
    """A reader: what it took, in order. While `reading` is cleared it takes nothing."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.closes: list[int] = []
        self.reading = asyncio.Event()
        self.reading.set()
        self.gone = False

    async def send(self, message: dict[str, Any]) -> None:
        await self.reading.wait()
        if self.gone:
            raise OSError("The peer has gone.")
        if message["type"] == "websocket.close":
            self.closes.append(message["code"])
        else:
            self.taken.append(message["text"])


class Socket:
    """What the server hands over, with a buffer that drains while the peer reads."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.writable = asyncio.Event()
        self.writable.set()
        self.buffered: list[str] = []
        self.writes = 0

    unsent = False

    def write_text(self, frames: Sequence[bytes]) -> int:
        self.writes += 1
        self.buffered += [frame.decode() for frame in frames]
        self.drain()
        return self.waiting_bytes

    @property
    def waiting_bytes(self) -> int:
        return sum(map(len, self.buffered))

    def drain(self) -> None:
        if self.peer.reading.is_set():
            self.peer.taken += self.buffered
            self.buffered = []
            self.writable.set()
        else:
            self.writable.clear()

    def close_now(self, code: int, reason: str) -> None:  # noqa: ARG002 - as it is called
        self.peer.closes.append(code)


MakeOutbound = Callable[[Peer], Outbound]


def asgi(peer: Peer) -> Outbound:
    return Outbound(AsgiSocket(peer.send), peer.send, max_bytes=MAX_BYTES)


def direct(peer: Peer) -> Outbound:
    return Outbound(Socket(peer), peer.send, max_bytes=MAX_BYTES)


both = pytest.mark.parametrize("make", [asgi, direct])


def let_read(peer: Peer, outbound: Outbound) -> None:
    peer.reading.set()
    if isinstance(outbound._socket, Socket):
        outbound._socket.drain()


@both
async def test_frames_arrive_in_order(make: MakeOutbound) -> None:
    peer = Peer()
    outbound = make(peer)
    expected = [str(number) for number in range(50)]
    for text in expected:
        outbound.write(text.encode())
        if int(text) % 7 == 0:
            await asyncio.sleep(0)
    await outbound.drained()
    assert peer.taken == expected


async def test_what_is_written_in_one_turn_goes_in_one_write() -> None:
    socket = Socket(Peer())
    outbound = Outbound(socket, socket.peer.send, max_bytes=MAX_BYTES)
    for number in range(50):
        outbound.write(str(number).encode())
    await outbound.drained()
    assert socket.writes == 1


class BrokenSocket(Socket):
    def write_text(self, frames: Sequence[bytes]) -> int:  # noqa: ARG002 - as it is called
        raise RuntimeError("a defect")


async def test_a_socket_that_fails_is_closed_and_no_other_hears_of_it() -> None:
    turn = outbounds.Turn()
    sockets = [Socket(Peer()), BrokenSocket(Peer()), Socket(Peer())]
    each = [
        Outbound(socket, socket.peer.send, max_bytes=MAX_BYTES, turn=turn) for socket in sockets
    ]
    for outbound in each:
        outbound.write(b"one")
    await asyncio.sleep(0)
    assert [outbound.close_code for outbound in each] == [None, 1011, None]
    assert [socket.peer.taken for socket in sockets] == [["one"], [], ["one"]]
    await each[1].closed_down()
    assert sockets[1].peer.closes == [1011]


@both
async def test_of_status_updates_in_one_turn_the_last_of_each_key_is_sent(
    make: MakeOutbound,
) -> None:
    peer = Peer()
    outbound = make(peer)
    for number in range(3):
        outbound.write_latest("alice", b"alice%d" % number)
        outbound.write_latest("bob", b"bob%d" % number)
        outbound.write(b"message%d" % number)
    outbound.write_latest("alice", b"alice3")
    await outbound.drained()
    assert peer.taken == ["message0", "message1", "message2", "bob2", "alice3"]


@both
async def test_while_the_reader_lags_status_updates_wait_and_messages_go_on(
    make: MakeOutbound, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbounds, "LAG_POLL_SECONDS", 0.01)
    peer = Peer()
    peer.reading.clear()
    outbound = make(peer)
    outbound.write(b"message0")
    await asyncio.sleep(0)
    for number in range(100):
        outbound.write_latest("alice", b"x" * 100 + b"%d" % number)
        await asyncio.sleep(0)
    outbound.write(b"message1")
    await asyncio.sleep(0.03)  # it is looked at again meanwhile
    assert not outbound.closed
    let_read(peer, outbound)
    await until(lambda: len(peer.taken) == 3)
    assert peer.taken == ["message0", "message1", "x" * 100 + "99"]


@both
async def test_a_reader_that_does_not_keep_up_is_closed_with_4508(make: MakeOutbound) -> None:
    peer = Peer()
    peer.reading.clear()
    outbound = make(peer)
    for _ in range(20):
        outbound.write(b"x" * 100)
        await asyncio.sleep(0)
    assert outbound.closed
    outbound.write(b"late")
    outbound.write_latest("alice", b"late")
    outbound.close(1000)
    let_read(peer, outbound)
    await until(lambda: peer.closes == [4508])
    assert "late" not in peer.taken
    assert outbound.lags  # for good: what it was handed it was not sent


@both
async def test_up_to_the_bound_nothing_is_closed(make: MakeOutbound) -> None:
    peer = Peer()
    peer.reading.clear()
    outbound = make(peer)
    for _ in range(10):
        outbound.write(b"x" * 100)
    await asyncio.sleep(0)
    assert not outbound.closed
    let_read(peer, outbound)
    await until(lambda: len(peer.taken) == 10)


@both
async def test_what_waits_is_sent_before_the_close(make: MakeOutbound) -> None:
    peer = Peer()
    outbound = make(peer)
    outbound.write(b"last words")
    outbound.write_latest("alice", b"status")
    outbound.close(4403, "Revoked.")
    outbound.close(1000, "The first close counts.")
    outbound.write(b"too late")
    await outbound.closed_down()
    assert (peer.taken, peer.closes) == (["last words", "status"], [4403])


@both
async def test_a_close_that_finds_too_much_waiting_is_one_close_with_4508(
    make: MakeOutbound,
) -> None:
    peer = Peer()
    peer.reading.clear()
    outbound = make(peer)
    outbound.write(b"x" * 2 * MAX_BYTES)
    outbound.close(4403, "Revoked.")
    let_read(peer, outbound)
    await until(lambda: peer.closes != [])
    await asyncio.sleep(0.01)  # for a second close, were there one
    assert peer.closes == [4508]


@both
async def test_closing_is_over_once_it_is_closed_down(make: MakeOutbound) -> None:
    outbound = make(Peer())
    await outbound.closed_down()  # there is nothing to wait for
    assert not outbound.closed
    outbound.close(1000)
    assert outbound.closed
    await outbound.closed_down()


@both
async def test_a_reader_that_does_not_take_the_close_is_given_up(
    make: MakeOutbound, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbounds, "CLOSE_PATIENCE_SECONDS", 0.02)
    peer = Peer()
    peer.reading.clear()
    outbound = make(peer)
    outbound.write(b"x")
    outbound.close(1000)
    async with asyncio.timeout(5):
        await outbound.closed_down()


@both
async def test_a_peer_that_has_gone_is_no_error(make: MakeOutbound) -> None:
    peer = Peer()
    peer.gone = True
    outbound = make(peer)
    outbound.write(b"x")
    await outbound.drained()
    outbound.write(b"y")
    outbound.close(1000)
    await outbound.closed_down()
    assert peer.closes == []


@both
async def test_drained_waits_for_the_reader(make: MakeOutbound) -> None:
    peer = Peer()
    peer.reading.clear()
    outbound = make(peer)
    outbound.write(b"x")
    waiting = asyncio.create_task(outbound.drained())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    let_read(peer, outbound)
    await waiting
    assert peer.taken == ["x"]
