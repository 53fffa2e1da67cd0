"""Deployments of real gateway processes, and what a test does to them."""

import atexit
import itertools
import os
import random
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from gateways.store.keys import Keys
from tests.e2e.client import TOKEN_SECRET
from tests.valkey import Valkey

ROOT = Path(__file__).parents[2]
START_SECONDS = 30
WAIT_SECONDS = 15


class GatewayProcess:
    """`manage.py serve`. Its children are the processes that hold the sockets: the user gateway's,
    then the internal one's.
    """

    def __init__(
        self,
        environment: dict[str, str],
        log: Path,
        gateway: str = "user",
        *,
        inside: Sequence[str] = (),
        host: str = "127.0.0.1",
    ) -> None:
        """`inside`: what runs it elsewhere, as `ip netns exec NAME`; `host`: where it is then."""
        self.host = host
        self.port = int(environment["PORT"])
        self.internal_port = int(environment["INTERNAL_PORT"])
        self.url = f"ws://{self.host}:{self.port}/ws"
        self.internal_url = f"ws://127.0.0.1:{self.internal_port}/ws"
        self.gateway = gateway
        self.environment = environment
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [*inside, sys.executable, "manage.py", "serve", gateway],
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def node_pids(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    @property
    def node_pid(self) -> int:
        (pid,) = self.node_pids
        return pid

    def terminate(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        self.terminate()
        return self.process.wait(20)

    def get(self, path: str, port: int | None = None) -> tuple[int, str]:
        """Status and body."""
        try:
            secure = "TLS_CERT" in self.environment and port in (None, self.port)
            with urllib.request.urlopen(
                f"http{'s' * secure}://{self.host}:{port or self.port}{path}",
                timeout=WAIT_SECONDS,
                # It is the tests' own, for localhost.
                context=ssl._create_unverified_context() if secure else None,
            ) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def ready(self) -> bool:
        ports = {"user": [self.port], "internal": [self.internal_port]}
        try:
            return all(
                self.get("/readyz", port)[0] == 200
                for port in ports.get(self.gateway, [self.port, self.internal_port])
            )
        except OSError:
            return False

    def manage(self, *arguments: str) -> str:
        """Run a command of manage.py in the same environment. Returns what it printed."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
        ).stdout

    def wait_until_ready(self) -> "GatewayProcess":
        deadline = time.monotonic() + START_SECONDS
        # A port answers as soon as one of its processes does; the banner comes after the last.
        while "Next  " not in self.log.read_text() or not self.ready():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)
        return self

    def logs(self) -> str:
        """What it printed and what it wrote into its log files, valkey's aside."""
        files = [self.log, *Path(self.environment["LOG_DIR"]).glob("*.log*")]
        return "\n".join(file.read_text() for file in files)


class Store(Protocol):
    """What a deployment keeps its data in."""

    @property
    def url(self) -> str: ...

    def client(self) -> Any:
        """A synchronous client of redis-py."""


class Deployment:
    """Gateways on one store under one prefix: they see each other, and nothing of other tests'."""

    def __init__(self, store: Store, directory: Path, **variables: str) -> None:
        self.store = store
        self.directory = directory
        self.prefix = f"e2e-{secrets.token_hex(4)}:"
        self.keys = Keys(self.prefix)
        self.variables = variables
        self.gateways: list[GatewayProcess] = []
        #: Several may be started at once, on threads.
        self._numbers = itertools.count()
        #: Whether a trace in the logs is a defect, as it is unless a test breaks the store itself.
        self.logs_stay_clean = True

    @property
    def valkey(self) -> Valkey:
        """The store, where it is one server."""
        assert isinstance(self.store, Valkey)
        return self.store

    def start(
        self,
        gateway: str = "user",
        *,
        inside: Sequence[str] = (),
        host: str = "127.0.0.1",
        **variables: str,
    ) -> GatewayProcess:
        return self._spawn(gateway, variables, inside, host).wait_until_ready()

    def start_pair(
        self, gateway: str = "user", **variables: str
    ) -> tuple[GatewayProcess, GatewayProcess]:
        first, second = self._spawn(gateway, variables), self._spawn(gateway, variables)
        return first.wait_until_ready(), second.wait_until_ready()

    def stop(self) -> None:
        for gateway in self.gateways:
            gateway.terminate()
        for gateway in self.gateways:
            gateway.stop()
        if self.logs_stay_clean:
            for gateway in self.gateways:
                assert "Traceback" not in (logs := gateway.logs()), logs[-5000:]

    def befriend(self, user_id: str, *friend_ids: str) -> None:
        """Put friends on a user's list: the user hears of them, they do not hear of the user."""
        with self.store.client() as redis:
            redis.sadd(self.keys.friends(user_id), *friend_ids)
            for friend_id in friend_ids:
                redis.sadd(self.keys.friend_of(friend_id), user_id)

    def _spawn(
        self,
        gateway: str,
        variables: dict[str, str],
        inside: Sequence[str] = (),
        host: str = "127.0.0.1",
    ) -> GatewayProcess:
        name = f"gateway{next(self._numbers)}"
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "scarfall.settings",
            "REDIS_URL": self.store.url,
            "REDIS_PREFIX": self.prefix,
            "HOST": "127.0.0.1",
            "PORT": str(listening_port()),
            "INTERNAL_PORT": str(listening_port()),
            "JWT_SECRET": TOKEN_SECRET,
            "SECRET_KEY": "a key for the tests, of which nothing hangs",
            "DATA_DIR": str(self.directory / name / "var"),
            "LOG_DIR": str(self.directory / name / "logs"),
            "ENV_FILE": "",
            # As shipped, but that a whole suite comes from one address, as fast as it can.
            "LIMIT_CONNECTIONS": "10000/1",
            "LIMIT_ADMISSIONS": "10000/1",
            "LIMIT_FAILED_TOKENS": "10000/1",
            "LIMIT_FRAMES": "10000/1",
            "LIMIT_BYTES": "100000000/1",
            "LIMIT_MESSAGES": "10000/1",
            "LIMIT_RECIPIENTS": "1000000/1",
            "LIMIT_PRESENCE_QUERIES": "10000/1",
            **self.variables,
            **variables,
        }
        if "DATABASE_URL" not in environment:
            # Migrating one is a quarter of the CPU of a start. That a gateway does it by itself is
            # shown where DATABASE_URL is given, and by tests/scarfall/test_supervisor.py.
            data_dir = Path(environment["DATA_DIR"])
            data_dir.mkdir(parents=True, exist_ok=True)
            if not (data_dir / "db.sqlite3").exists():  # as of a gateway before this one
                shutil.copy(migrated_database(), data_dir)
        log = self.directory / f"{name}.log"
        process = GatewayProcess(environment, log, gateway, inside=inside, host=host)
        self.gateways.append(process)
        return process


@cache
def migrated_database() -> Path:
    """As a gateway finds it that was started before."""
    directory = tempfile.mkdtemp(prefix="scarfall-database-")
    atexit.register(shutil.rmtree, directory)
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity=0"],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "scarfall.settings",
            "ENV_FILE": "",
            "DATA_DIR": directory,
            "LOG_DIR": directory,
            "JWT_SECRET": TOKEN_SECRET,
            "SECRET_KEY": "a key for the tests, of which nothing hangs",
        },
        check=True,
        timeout=START_SECONDS,
    )
    return Path(directory, "db.sqlite3")


def listening_port() -> int:
    """A free port below those that Linux gives to clients: the tests' own are many."""
    while True:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
