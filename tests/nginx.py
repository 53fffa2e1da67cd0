"""An nginx of the tests' own, with the shipped configuration."""

import getpass
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.gateways import ROOT, listening_port

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")
DEPLOY = ROOT / "deploy"


@contextmanager
def running_nginx(directory: Path, gateways: dict[str, int]) -> Iterator[int]:
    """Its port. `gateways`: by the name that deploy/nginx.conf has for each, its port here."""
    port = listening_port()
    (directory / "conf.d").mkdir()
    install(
        DEPLOY / "nginx.conf",
        directory / "conf.d" / "default.conf",
        {"listen 80;": f"listen 127.0.0.1:{port};"}
        | {f"{name}:3000": f"127.0.0.1:{here}" for name, here in gateways.items()},
    )
    with serving(directory, port):
        yield port


@contextmanager
def serving(directory: Path, port: int) -> Iterator[None]:
    """An nginx with what is in `conf.d` there, which listens on the port."""
    if NGINX is None:
        pytest.skip("nginx is missing: apt-get install nginx-light")
    temporary = " ".join(
        f"{kind}_temp_path {directory}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    install(
        DEPLOY / "nginx.main.conf",
        directory / "nginx.conf",
        {
            "/etc/nginx/conf.d": f"{directory}/conf.d",
            "/run/nginx.pid": f"{directory}/pid",
            "access_log off;": f"access_log off; {temporary}",
        },
    )
    log = directory / "error.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(command(directory), stderr=errors)
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(10)


def command(directory: Path) -> list[str]:
    """What runs the nginx there; with `-t` or `-s reload` after it, what checks or reloads it."""
    # As in the image; and so that the workers may enter the directory of the tests.
    directives = f"daemon off; user {getpass.getuser()};"
    return [str(NGINX), "-c", f"{directory}/nginx.conf", "-e", "stderr", "-g", directives]


def accepting(directory: Path) -> set[int]:
    """The workers that take new connections: after a reload the old ones do not, but go on with
    those that they have.
    """
    master = (directory / "pid").read_text().strip()
    workers = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    return {int(pid) for pid in workers if b"shutting down" not in _title(pid)}


def _title(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it has ended since
        return b"shutting down"


def install(shipped: Path, target: Path, replacements: dict[str, str]) -> None:
    text = shipped.read_text()
    for there, here in replacements.items():
        assert there in text
        text = text.replace(there, here)
    target.write_text(text)
