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
    if NGINX is None:
        pytest.skip("nginx is missing: apt-get install nginx-light")
    port = listening_port()
    (directory / "conf.d").mkdir()
    _install(
        DEPLOY / "nginx.conf",
        directory / "conf.d" / "default.conf",
        {"listen 80;": f"listen 127.0.0.1:{port};"}
        | {f"{name}:3000": f"127.0.0.1:{here}" for name, here in gateways.items()},
    )
    temporary = " ".join(
        f"{kind}_temp_path {directory}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    _install(
        DEPLOY / "nginx.main.conf",
        directory / "nginx.conf",
        {
            "/etc/nginx/conf.d": f"{directory}/conf.d",
            "/run/nginx.pid": f"{directory}/pid",
            "access_log off;": f"access_log off; {temporary}",
        },
    )
    log = directory / "error.log"
    # As in the image; and so that the workers may enter the directory of the tests.
    directives = f"daemon off; user {getpass.getuser()};"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [NGINX, "-c", directory / "nginx.conf", "-e", "stderr", "-g", directives],
            stderr=errors,
        )
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
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _install(shipped: Path, target: Path, replacements: dict[str, str]) -> None:
    text = shipped.read_text()
    for there, here in replacements.items():
        assert there in text
        text = text.replace(there, here)
    target.write_text(text)
