"""Real gateway processes on real sockets, against a real Valkey."""

import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.client import TOKEN_SECRET
from tests.valkey import Valkey, free_port

ROOT = Path(__file__).parents[2]
START_SECONDS = 30


class GatewayProcess:
    """`manage.py serve user`, ready to serve. `node_pid` is the process that holds the sockets."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self.port = int(environment["PORT"])
        self.url = f"ws://127.0.0.1:{self.port}/ws"
        self.environment = environment
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "serve", "user"],
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._wait_until_ready()

    @property
    def node_pid(self) -> int:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        (pid,) = children.split()
        return int(pid)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}/readyz", timeout=6
            ) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self.ready():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)


StartGateway = Callable[..., GatewayProcess]


@pytest.fixture
def prefix() -> str:
    """Gateways of one test share it, and nothing with any other test."""
    return f"e2e-{secrets.token_hex(4)}:"


@pytest.fixture
def start_gateway(valkey: Valkey, tmp_path: Path, prefix: str) -> Iterator[StartGateway]:
    """`start_gateway(OFFLINE_GRACE="1")`: a gateway process with these variables; stopped after the
    test.
    """
    started: list[GatewayProcess] = []

    def start(**variables: str) -> GatewayProcess:
        name = f"gateway{len(started)}"
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "scarfall.settings",
            "REDIS_URL": valkey.url,
            "REDIS_PREFIX": prefix,
            "HOST": "127.0.0.1",
            "PORT": str(free_port()),
            "JWT_SECRET": TOKEN_SECRET,
            "SECRET_KEY": "a key for the tests, of which nothing hangs",
            "DATA_DIR": str(tmp_path / name / "var"),
            "LOG_DIR": str(tmp_path / name / "logs"),
            "ENV_FILE": "",
            **variables,
        }
        gateway = GatewayProcess(environment, tmp_path / f"{name}.log")
        started.append(gateway)
        return gateway

    yield start
    for gateway in started:
        gateway.stop()


@pytest.fixture
def gateway_process(start_gateway: StartGateway) -> GatewayProcess:
    return start_gateway()
