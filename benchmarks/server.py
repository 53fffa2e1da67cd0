"""A gateway to measure: `manage.py serve` on ports and in directories of its own."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jwt

ROOT = Path(__file__).parents[1]
START_SECONDS = 60
SECRET = "a secret of the benchmarks, of which nothing hangs"
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Server:
    port: int
    process: subprocess.Popen[bytes]

    def cpu_seconds(self) -> float:
        """User and system time of the process that holds the sockets, so far."""
        children = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        total = 0.0
        for pid in Path(children).read_text().split():
            if b"gateway_process" in Path(f"/proc/{pid}/cmdline").read_bytes():
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
                total += (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND
        return total


def token(user_id: str) -> str:
    claims = {"sub": user_id, "exp": int(time.time()) + 3600}
    return jwt.encode(claims, SECRET, algorithm="HS256")


@contextmanager
def running_server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="scarfall-bench-") as directory:
        port = _free_port()
        environment = {
            **os.environ,
            "ENV_FILE": "",
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "DATA_DIR": f"{directory}/var",
            "LOG_DIR": f"{directory}/logs",
            "JWT_SECRET": SECRET,
        }
        process = subprocess.Popen(
            [sys.executable, "manage.py", "serve", "user"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_until_ready(port, process)
            yield Server(port, process)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def _wait_until_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("script/bench: the server did not start") from None
            time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
