"""A PostgreSQL of the tests' own, on an ephemeral port of the loopback interface."""

import getpass
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from tests.valkey import free_port

#: The server refuses to run as root; Debian's package makes this user.
USER = "postgres" if os.geteuid() == 0 else getpass.getuser()


@dataclass
class PostgreSQL:
    """A running server. Its one user, without a password, may do everything."""

    port: int
    process: subprocess.Popen[bytes]

    def url(self, database: str = "postgres") -> str:
        return f"postgres://{USER}@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str) -> str:
        """Returns its URL."""
        with psycopg.connect(self.url(), autocommit=True) as server:
            server.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)


@contextmanager
def running_postgresql() -> Iterator[PostgreSQL]:
    """Skips the test where PostgreSQL is not installed."""
    programs = _programs()
    with tempfile.TemporaryDirectory(prefix="scarfall-postgresql-") as directory:
        if os.geteuid() == 0:
            shutil.chown(directory, USER)
        data = f"{directory}/data"
        _run(programs / "initdb", "--no-sync", "--auth=trust", f"--username={USER}", "-D", data)
        port = free_port()
        process = subprocess.Popen(
            [
                programs / "postgres",
                *("-D", data, "-p", str(port), "-k", directory, "-h", "127.0.0.1"),
                *("-c", "fsync=off"),
            ],
            user=USER,
            cwd=directory,
            stderr=subprocess.DEVNULL,
        )
        postgresql = PostgreSQL(port, process)
        try:
            _wait_until_it_answers(postgresql)
            yield postgresql
        finally:
            process.terminate()
            process.wait(20)


def _programs() -> Path:
    """Debian keeps them out of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found and (elsewhere := shutil.which("initdb")):
        found = [Path(elsewhere).resolve()]
    if not found:
        pytest.skip("PostgreSQL is not installed; on Debian and Ubuntu: apt-get install postgresql")
    return found[-1].parent


def _run(*command: object) -> None:
    subprocess.run(
        [str(word) for word in command],
        user=USER,
        cwd=pwd.getpwnam(USER).pw_dir,
        check=True,
        capture_output=True,
    )


def _wait_until_it_answers(postgresql: PostgreSQL) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            psycopg.connect(postgresql.url()).close()
        except psycopg.OperationalError:
            assert postgresql.process.poll() is None, "PostgreSQL did not start"
            assert time.monotonic() < deadline, "PostgreSQL did not answer"
            time.sleep(0.05)
        else:
            return
