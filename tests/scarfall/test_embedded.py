"""The embedded Valkey: starts, keeps what it holds, ends, and is nobody else's."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from scarfall import sockets
from scarfall.embedded import CannotStart, EmbeddedValkey, locked
from scarfall.redis_url import of_socket
from scarfall.variable import BadVariable
from tests.scarfall.conftest import command_line


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    (tmp_path / "var").mkdir()
    server = EmbeddedValkey(
        sockets.path(tmp_path / "var", "valkey.sock"), tmp_path / "var", tmp_path
    )
    yield server
    await server.stop()


def client_of(valkey: EmbeddedValkey) -> Redis:
    return Redis.from_url(of_socket(valkey.socket, 0), decode_responses=True)


async def test_it_is_durable_private_and_evicts_nothing(valkey: EmbeddedValkey) -> None:
    await valkey.start()
    async with client_of(valkey) as client:
        settings = await client.config_get("*")
        assert (await client.info("server"))["process_id"] == valkey.pid
        await client.set("kept", "yes")
    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "everysec"
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["port"] == "0"
    assert valkey.directory.stat().st_mode & 0o777 == 0o700
    assert valkey.socket.stat().st_mode & 0o077 == 0
    await valkey.stop()
    assert command_line(valkey.pid) == ""
    await valkey.start()
    async with client_of(valkey) as client:
        assert await client.get("kept") == "yes"


@pytest.mark.parametrize(
    ("durability", "appendonly", "appendfsync"),
    [("memory", "no", "everysec"), ("process", "yes", "everysec"), ("fsync", "yes", "always")],
)
async def test_its_log_is_as_durable_as_was_asked(
    tmp_path: Path, durability: str, appendonly: str, appendfsync: str
) -> None:
    (tmp_path / "var").mkdir()
    socket = sockets.path(tmp_path / "var", "valkey.sock")
    server = EmbeddedValkey(socket, tmp_path / "var", tmp_path, durability=durability)
    try:
        await server.start()
        async with client_of(server) as client:
            settings = await client.config_get("append*")
            await client.set("kept", "yes")
        os.kill(server.pid, signal.SIGKILL)
        await server.stop()
        await server.start()
        async with client_of(server) as client:
            kept = await client.get("kept")
    finally:
        await server.stop()
    assert (settings["appendonly"], settings["appendfsync"]) == (appendonly, appendfsync)
    assert kept == (None if durability == "memory" else "yes")


async def test_it_is_started_again_with_what_it_held(valkey: EmbeddedValkey) -> None:
    await valkey.start()
    async with client_of(valkey) as client:
        await client.set("kept", "yes")
    keeping = asyncio.create_task(valkey.keep())
    first = valkey.pid
    os.kill(first, signal.SIGKILL)
    async with asyncio.timeout(20):
        while valkey.pid in {0, first}:  # noqa: ASYNC110 - another process's doing
            await asyncio.sleep(0.01)
        async with client_of(valkey) as client:
            while True:
                try:
                    assert await client.get("kept") == "yes"
                    break
                except RedisError:
                    await asyncio.sleep(0.01)
    keeping.cancel()


async def test_one_that_does_not_listen_to_reason_is_killed(
    valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scarfall.embedded.STOP_SECONDS", 0.2)
    await valkey.start()
    os.kill(valkey.pid, signal.SIGSTOP)
    await valkey.stop()
    assert command_line(valkey.pid) == ""


async def test_an_orphan_is_taken_over(valkey: EmbeddedValkey, tmp_path: Path) -> None:
    await valkey.start()
    heir = EmbeddedValkey(valkey.socket, tmp_path / "var", tmp_path)
    await heir.start()
    assert heir.pid == valkey.pid
    await heir.stop()
    await valkey.stop()
    assert command_line(valkey.pid) == ""


async def test_a_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "valkey").write_text("")
    with pytest.raises(BadVariable, match="DATA_DIR: cannot write"):
        await EmbeddedValkey(tmp_path / "valkey.sock", tmp_path, tmp_path).start()


async def test_the_lock_names_its_holder(tmp_path: Path) -> None:
    refused = pytest.raises(CannotStart, match=f"in use by process {os.getpid()}")
    with locked(tmp_path), refused, locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_a_long_path_gets_a_short_socket(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 100)
    socket = sockets.path(long, "valkey.sock")
    assert len(bytes(socket)) <= sockets.LONGEST_PATH
    assert socket == sockets.path(long, "valkey.sock") != sockets.path(long / "y", "valkey.sock")


async def test_a_server_on_a_short_socket(tmp_path: Path) -> None:
    data_dir = tmp_path / ("x" * 100)
    data_dir.mkdir()
    server = EmbeddedValkey(sockets.path(data_dir, "valkey.sock"), data_dir, tmp_path)
    try:
        await server.start()
        assert server.socket.parent.stat().st_mode & 0o777 == 0o700
    finally:
        await server.stop()
        server.socket.parent.rmdir()
