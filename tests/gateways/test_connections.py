"""The sockets of a process: who is open, who is closed from elsewhere, how all are sent away."""

import asyncio

import pytest

from gateways import connections as module
from gateways.connections import SHUTDOWN_SPREAD_MS, Connections
from gateways.nudges import CloseNudge
from gateways.protocol.events import ServerShutdown
from tests.gateways.consumers.client import until


class Socket:
    """What a consumer is told."""

    waiting_bytes = 0

    def __init__(self) -> None:
        self.ended: list[tuple[int, str]] = []
        self.farewells: list[int] = []

    def end(self, code: int, reason: str) -> None:
        self.ended.append((code, reason))

    def shut_down(self, farewell: ServerShutdown) -> None:
        self.farewells.append(farewell.retry_after_ms)


def joined(connections: Connections, *socket_ids: str) -> list[Socket]:
    sockets = [Socket() for _ in socket_ids]
    for socket_id, socket in zip(socket_ids, sockets, strict=True):
        connections.join(socket_id, socket)
    return sockets


def test_who_joined_is_there_until_it_leaves() -> None:
    connections = Connections()
    joined(connections, "a", "b")
    assert ("a" in connections, "c" in connections, len(connections)) == (True, False, 2)
    connections.leave("a")
    assert ("a" in connections, len(connections)) == (False, 1)


def test_a_close_nudge_ends_the_socket_it_names_and_no_other() -> None:
    connections = Connections()
    named, other = joined(connections, "named", "other")
    connections.on_close(CloseNudge("named", 4403, "Revoked."))
    connections.on_close(CloseNudge("gone", 4403, "Revoked."))  # the nudge was slower
    assert named.ended == [(4403, "Revoked.")]
    assert other.ended == []
    assert "named" in connections  # until its consumer is done


async def test_a_drain_tells_everybody_when_to_come_back_and_waits_until_they_went() -> None:
    connections = Connections()
    sockets = joined(connections, "a", "b")
    draining = asyncio.create_task(connections.drain())
    await until(lambda: all(socket.farewells for socket in sockets))
    for socket in sockets:
        (retry_after_ms,) = socket.farewells
        assert 100 <= retry_after_ms <= SHUTDOWN_SPREAD_MS
    connections.leave("a")
    await asyncio.sleep(0)
    assert not draining.done()
    connections.leave("b")
    await draining
    assert connections.farewell_seconds == SHUTDOWN_SPREAD_MS / 1000


async def test_who_comes_while_it_drains_is_sent_on_and_waited_for() -> None:
    connections = Connections()
    joined(connections, "a")
    draining = asyncio.create_task(connections.drain())
    await until(lambda: connections.draining)
    (late,) = joined(connections, "late")
    assert late.farewells == [SHUTDOWN_SPREAD_MS]
    connections.leave("a")
    await asyncio.sleep(0)
    assert not draining.done()
    connections.leave("late")
    await draining


async def test_a_drain_of_nobody_is_over_at_once() -> None:
    connections = Connections()
    await connections.drain()
    joined(connections, "a")
    connections.leave("a")
    async with asyncio.timeout(5):
        await connections.drain()  # again, as a second signal may have it


async def test_the_more_there_are_the_longer_they_take_to_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A herd of thousands would be the next process's end."""
    monkeypatch.setattr(module, "SHUTDOWN_SPREAD_MS", 1000)
    connections = Connections()
    ids = [str(number) for number in range(3000)]
    sockets = joined(connections, *ids)
    draining = asyncio.create_task(connections.drain())
    await until(lambda: connections.draining)
    assert connections.farewell_seconds == 3
    waits_ms = [socket.farewells[0] for socket in sockets]
    assert max(waits_ms) > 2000
    assert max(waits_ms) <= 3000
    for socket_id in ids:
        connections.leave(socket_id)
    await draining
