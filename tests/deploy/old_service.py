"""The service before this one, as far as it is known: the benchmark's stand-in for it, its keys in
Redis, its .env; and a machine on which docs/migration.md is followed to the letter.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.build import build
from benchmarks.contenders import CONTENDERS, PEERS
from tests.e2e.client import TOKEN_SECRET
from tests.e2e.gateways import ROOT, listening_port
from tests.nginx import DEPLOY, accepting, command, install, serving
from tests.valkey import Valkey
from tests.waiting import wait_until

PAGE = (ROOT / "docs" / "migration.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
#: In the page's order. There are no others.
ENVIRONMENT, COUNT, START, IMPORT, PROXY, OFFICE, SHARE, SWITCH, BACK, CLEAN_UP = BLOCKS

#: Where the page's own people are; clients of the tests come from 127.0.0.1 but where they say so.
OFFICE_ADDRESS = "127.0.0.77"

#: Of the two kinds that are known, and of one that is not.
KEYS = {
    "friends:alice": '[{"_id": "bob", "email": "bob@example.org"}, {"userId": "carol"}]',
    "friends:bob": '[{"_id": "carol"}]',
    "friends:carol": "[]",
    "user:dora:session:gone": '{"userId": "dora", "socketId": "gone"}',
    "status:dora": "away",
}


@contextmanager
def running_old_service(valkey: Valkey, port: int) -> Iterator[subprocess.Popen[str]]:
    if shutil.which("npm") is None:
        pytest.skip("npm is missing: install Node.js 18 or newer")
    (contender,) = [each for each in CONTENDERS if each.name == "old-service"]
    build([contender])
    assert contender.command is not None
    environment = {"REDIS_URL": valkey.url, "JWT_SECRET": TOKEN_SECRET, "PORT": str(port)}
    process = subprocess.Popen(
        contender.command,
        cwd=PEERS,
        env={"PATH": os.environ["PATH"], **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.terminate()


class Machine:
    """What the page's reader has: the old service's .env and Redis, a proxy, a shell."""

    def __init__(self, directory: Path, valkey: Valkey) -> None:
        self.directory = directory
        self.valkey = valkey
        self.proxy, self.old, self.new, self.internal = (listening_port() for _ in range(4))
        self.nginx = directory / "nginx"
        self.env_file = directory / "old.env"
        self._gateway: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.proxy}"

    def prepare(self) -> None:
        self.env_file.write_text(
            f"""NODE_ENV=production
PORT=3000
INTERNAL_PORT=4000
JWT_SECRET="{TOKEN_SECRET}"
JWT_EXPIRATION=24h
REDIS_HOST=127.0.0.1
REDIS_PORT={self.valkey.port}
REDIS_PASSWORD=
REDIS_DB=0
CORS_ORIGIN=*
LOG_LEVEL=verbose
"""
        )
        programs = self.directory / "bin"
        programs.mkdir()
        (programs / "nginx").write_text(f'#!/bin/sh\nexec {shlex.join(command(self.nginx))} "$@"\n')
        (programs / "nginx").chmod(0o755)
        (self.nginx / "conf.d").mkdir(parents=True)
        # As it was before anybody thought of a gateway.
        (self.nginx / "conf.d" / "default.conf").write_text(
            f"server {{ listen 127.0.0.1:{self.proxy};"
            f" location / {{ proxy_pass http://127.0.0.1:{self.old}; }} }}"
        )
        install(
            DEPLOY / "migration.nginx.conf",
            self.directory / "migration.nginx.conf",
            {"listen 80;": f"listen 127.0.0.1:{self.proxy};"},
        )

    def run(self, block: str) -> str:
        """What a block of the page prints, once it has ended well."""
        done = subprocess.run(
            ["sh", "-euc", self._here(ENVIRONMENT + block)],
            cwd=ROOT,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def turn(self, block: str) -> str:
        """The same, and nginx takes new connections as the block has it."""
        before = accepting(self.nginx)
        printed = self.run(block)
        wait_until(lambda: not before & (accepting(self.nginx) or before), "nginx to reload")
        return printed

    def start(self) -> None:
        log = self.directory / "gateway.log"
        with log.open("ab") as output:
            self._gateway = subprocess.Popen(
                ["sh", "-euc", self._here(ENVIRONMENT + START)],
                cwd=ROOT,
                env=self._environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        wait_until(self._ready, f"the gateway: {log}")

    def stop(self) -> None:
        if self._gateway is not None and self._gateway.poll() is None:
            self._gateway.send_signal(signal.SIGTERM)
            assert self._gateway.wait(20) == 0

    def _ready(self) -> bool:
        assert self._gateway is not None
        assert self._gateway.poll() is None, (self.directory / "gateway.log").read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.new}/readyz") as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _environment(self) -> dict[str, str]:
        # No variable of the tests' own goes before those of the .env.
        return {
            "PATH": f"{self.directory}/bin:{os.environ['PATH']}",
            "DATA_DIR": str(self.directory / "var"),
            "LOG_DIR": str(self.directory / "logs"),
            # Of all clients together there are more: it is to know them by their own addresses.
            "MAX_ADDRESS_CONNECTIONS": "6",
        }

    def _here(self, block: str) -> str:
        """With this machine's ports and places for those of the page."""
        here = {
            "/srv/old-service/.env": str(self.env_file),
            "redis://127.0.0.1:6379/0": self.valkey.url,
            "PORT=3001 INTERNAL_PORT=4001": f"PORT={self.new} INTERNAL_PORT={self.internal}",
            "127.0.0.1:3000": f"127.0.0.1:{self.old}",
            "127.0.0.1:3001": f"127.0.0.1:{self.new}",
            "deploy/migration.nginx.conf": str(self.directory / "migration.nginx.conf"),
            "/etc/nginx": str(self.nginx),
            "203.0.113.0/24": f"{OFFICE_ADDRESS}/32",
            # What the script ends with, once it has installed what these tests run with.
            "script/server": f"exec {sys.executable} manage.py serve",
            ".venv/bin/python": sys.executable,
        }
        block = re.sub("|".join(map(re.escape, here)), lambda found: here[found[0]], block)
        assert not re.search(r"/(srv|etc)/|127\.0\.0\.1:(3000|3001|6379)\b", block), block
        return block


@contextmanager
def running_machine(directory: Path, valkey: Valkey) -> Iterator[Machine]:
    machine = Machine(directory, valkey)
    machine.prepare()
    try:
        with serving(machine.nginx, machine.proxy):
            yield machine
    finally:
        machine.stop()
