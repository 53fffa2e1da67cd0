"""An nginx of the tests' own, with any configuration."""

import getpass
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.gateways import ROOT

PLACES = "/usr/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin"
NGINX = shutil.which("nginx", path=PLACES)
DEPLOY = ROOT / "deploy"


@contextmanager
def serving(directory: Path, *ports: int) -> Iterator[None]:
    """An nginx with what is in `conf.d` there, which listens on the ports."""
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
        listens(process, log, ports)
        yield
        assert process.poll() is None, log.read_text()
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


def listens(process: subprocess.Popen[bytes], log: Path, ports: Iterable[int]) -> None:
    """Wait until it does."""
    deadline = time.monotonic() + 10
    for port in ports:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)


def install(shipped: Path, target: Path, replacements: dict[str, str]) -> None:
    text = shipped.read_text()
    for there, here in replacements.items():
        assert there in text, there
        text = text.replace(there, here)
    target.write_text(text)
