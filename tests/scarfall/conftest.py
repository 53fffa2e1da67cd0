"""Servers as a newcomer starts them: `manage.py serve` on ports and in directories of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.valkey import free_port
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]


def command_line(pid: int) -> str:
    """Empty where there is no such process, or only its zombie."""
    run = ["ps", "-ww", "-o", "stat=,args=", "-p", str(pid)]
    state, _, arguments = subprocess.run(
        run, capture_output=True, text=True, check=False
    ).stdout.partition(" ")
    return "" if state.startswith("Z") else arguments.strip()


class Manage:
    """manage.py with an environment of its own, whatever the tests' shell and .env say."""

    def __init__(self, directory: Path) -> None:
        self.environ = {
            "PATH": os.environ["PATH"],
            "ENV_FILE": os.devnull,
            "DATA_DIR": str(directory / "var"),
            "LOG_DIR": str(directory / "logs"),
            "HOST": "127.0.0.1",
            "PORT": str(free_port()),
            "INTERNAL_PORT": str(free_port()),
            # Coverage measures processes that find its configuration in here.
            **{name: value for name, value in os.environ.items() if name.startswith("COV")},
        }
        self.directory = directory

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            # Not the project's: whichever directory it is called from, it works.
            cwd=self.directory,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=40)
        return process.returncode, out, err


class Served:
    """A running `manage.py serve`."""

    def __init__(self, manage: Manage) -> None:
        self.manage = manage
        self.process = manage.start("serve")
        self.pids: set[int] = set()

    def get(self, variable: str, path: str) -> int:
        url = f"http://127.0.0.1:{self.manage.environ[variable]}{path}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                status: int = answer.status
                return status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def wait_ready(self) -> None:
        def ready() -> bool:
            assert self.process.poll() is None, self.process.communicate()
            return self.get("PORT", "/readyz") == self.get("INTERNAL_PORT", "/readyz") == 200

        wait_until(ready, "the gateways")
        self.pids |= set(self.children())

    def children(self, of: str = "") -> list[int]:
        listing = subprocess.run(
            ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="],
            capture_output=True,
            text=True,
            check=True,
        )
        rows = [line.split(None, 2) for line in listing.stdout.splitlines()]
        return [
            int(pid)
            for pid, parent, *args in rows
            if int(parent) == self.process.pid and of in "".join(args)
        ]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str, str]:
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err

    def left(self) -> list[str]:
        return [line for pid in self.pids if (line := command_line(pid))]


@pytest.fixture
def manage(tmp_path: Path) -> Manage:
    return Manage(tmp_path)


@pytest.fixture
def serve(manage: Manage) -> Iterator[Callable[[], Served]]:
    servers: list[Served] = []

    def start() -> Served:
        servers.append(Served(manage))
        servers[-1].wait_ready()
        return servers[-1]

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.stop()
        for pipe in (server.process.stdout, server.process.stderr):
            if pipe is not None:
                pipe.close()
        for pid in server.pids:
            if command_line(pid):
                os.kill(pid, signal.SIGKILL)
