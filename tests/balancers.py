"""An nginx and an HAProxy of the tests' own, with the shipped configurations."""

import getpass
import grp
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.certificate import Certificate
from tests.e2e.gateways import listening_port
from tests.nginx import DEPLOY, PLACES, install, listens, serving

HAPROXY = shutil.which("haproxy", path=PLACES)
#: What either has for a TLS handshake, and for the head of a request.
HEAD_SECONDS = 10
#: Where clients come from: on Linux all of these are this machine's. So many that they hardly ever
#: all belong to one gateway, whatever the ports that nginx reckons with.
ADDRESSES = [f"127.0.0.{number}" for number in range(1, 17)]


@dataclass(frozen=True)
class Balancer:
    #: Of plain HTTP, and of HTTPS.
    port: int
    tls_port: int
    certificate: Certificate

    @property
    def url(self) -> str:
        return f"wss://127.0.0.1:{self.tls_port}/ws"


#: Given a directory and the gateways' ports here, by the names that the configuration has for them.
RunBalancer = Callable[..., AbstractContextManager[Balancer]]


@contextmanager
def running_nginx(
    directory: Path, gateways: Mapping[str, int], *, head_seconds: int = HEAD_SECONDS
) -> Iterator[Balancer]:
    balancer = _balancer(directory)
    (directory / "conf.d").mkdir()
    install(
        DEPLOY / "nginx.conf",
        directory / "conf.d" / "default.conf",
        {
            "listen 80;": f"listen 127.0.0.1:{balancer.port};",
            "listen 443 ssl;": f"listen 127.0.0.1:{balancer.tls_port} ssl;",
            "/etc/nginx/tls/cert.pem": str(balancer.certificate.cert),
            "/etc/nginx/tls/key.pem": str(balancer.certificate.key),
            f"client_header_timeout {HEAD_SECONDS}s;": f"client_header_timeout {head_seconds}s;",
            **_here(gateways),
        },
    )
    with serving(directory, balancer.port, balancer.tls_port):
        yield balancer


@contextmanager
def running_haproxy(
    directory: Path, gateways: Mapping[str, int], *, head_seconds: int = HEAD_SECONDS
) -> Iterator[Balancer]:
    if HAPROXY is None:
        pytest.skip("HAProxy is missing: apt-get install haproxy")
    balancer = _balancer(directory)
    both = directory / "both.pem"
    both.write_text(balancer.certificate.cert.read_text() + balancer.certificate.key.read_text())
    install(
        DEPLOY / "haproxy.cfg",
        directory / "haproxy.cfg",
        {
            "bind :80\n": f"bind 127.0.0.1:{balancer.port}\n",
            "bind :443 ": f"bind 127.0.0.1:{balancer.tls_port} ",
            "/etc/haproxy/scarfall.pem": str(both),
            f"timeout client {HEAD_SECONDS}s": f"timeout client {head_seconds}s",
            f"timeout http-request {HEAD_SECONDS}s": f"timeout http-request {head_seconds}s",
            # It takes two descriptors for each, which a machine of the tests may not have.
            "maxconn 32768": "maxconn 1000",
            "user haproxy": f"user {getpass.getuser()}",
            "group haproxy": f"group {grp.getgrgid(os.getgid()).gr_name}",
            **_here(gateways),
        },
    )
    command = [HAPROXY, "-db", "-f", directory / "haproxy.cfg"]
    with _running(balancer, command, directory / "haproxy.log"):
        yield balancer


def _balancer(directory: Path) -> Balancer:
    return Balancer(listening_port(), listening_port(), Certificate(directory))


def _here(gateways: Mapping[str, int]) -> dict[str, str]:
    return {f"{name}:3000": f"127.0.0.1:{port}" for name, port in gateways.items()}


@contextmanager
def _running(balancer: Balancer, command: list[Any], log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        listens(process, log, (balancer.port, balancer.tls_port))
        yield
        assert process.poll() is None, log.read_text()
    finally:
        process.terminate()
        process.wait(10)
