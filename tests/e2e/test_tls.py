"""The user gateway speaks TLS itself, and takes a new certificate without a connection lost."""

import asyncio
import json
import signal
import socket
import ssl
import subprocess
import sys
from contextlib import closing, suppress
from http.client import HTTPSConnection

import pytest
import websockets
from cryptography import x509

from tests.certificate import Certificate
from tests.e2e.client import token
from tests.e2e.conftest import Deploy
from tests.e2e.gateways import GatewayProcess
from tests.gateways.consumers.client import until


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def gateway(deploy: Deploy, certificate: Certificate) -> GatewayProcess:
    return deploy(TLS_CERT=str(certificate.cert), TLS_KEY=str(certificate.key)).start()


async def dial(
    gateway: GatewayProcess, certificate: Certificate, user_id: str
) -> websockets.ClientConnection:
    socket = await websockets.connect(
        f"wss://localhost:{gateway.port}/ws", ssl=certificate.trust, compression=None
    )
    await socket.send(json.dumps({"event": "authenticate", "data": {"token": token(user_id)}}))
    assert json.loads(await socket.recv())["event"] == "connected"
    return socket


async def ask(socket: websockets.ClientConnection, event: str, **data: object) -> dict[str, object]:
    await socket.send(json.dumps({"event": event, "id": 1, "data": data}))
    while "id" not in (frame := json.loads(await socket.recv())):
        pass
    return dict(frame["data"])


def serial_shown(gateway: GatewayProcess) -> int:
    shown = ssl.get_server_certificate(("localhost", gateway.port), timeout=5)
    return x509.load_pem_x509_certificate(shown.encode()).serial_number


async def test_messages_and_http_go_over_tls(
    gateway: GatewayProcess, certificate: Certificate
) -> None:
    async with await dial(gateway, certificate, "bob") as bob:
        async with await dial(gateway, certificate, "alice") as alice:
            large = "x" * 60_000
            receipt = await ask(alice, "send_message", recipientIds=["bob"], message=large)
            assert receipt["status"] == "sent"
        assert json.loads(await bob.recv())["data"]["message"] == large
    http = HTTPSConnection("localhost", gateway.port, context=certificate.trust, timeout=5)
    with closing(http):
        http.request("GET", "/readyz")
        assert http.getresponse().status == 200


async def test_a_close_says_its_code(gateway: GatewayProcess, certificate: Certificate) -> None:
    url = f"wss://localhost:{gateway.port}/ws"
    async with websockets.connect(url, ssl=certificate.trust) as socket:
        await socket.send('{"event":"authenticate","data":{"token":"bad"}}')
        with suppress(websockets.ConnectionClosed):
            async for _ in socket:
                pass
        assert socket.close_code == 4401


def test_what_is_older_than_tls_1_2_is_refused(
    gateway: GatewayProcess, certificate: Certificate
) -> None:
    old = certificate.trust
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="deprecated"):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    http = HTTPSConnection("localhost", gateway.port, context=old, timeout=5)
    with closing(http), pytest.raises((ssl.SSLError, ConnectionError)):
        http.connect()


async def test_a_new_certificate_is_shown_and_nobody_is_cut_off(
    gateway: GatewayProcess, certificate: Certificate
) -> None:
    async with await dial(gateway, certificate, "alice") as alice:
        renewed = certificate.renew()
        gateway.process.send_signal(signal.SIGHUP)
        await until(lambda: serial_shown(gateway) == renewed)
        assert "timestamp" in await ask(alice, "ping")
        async with await dial(gateway, certificate, "bob") as bob:
            assert "timestamp" in await ask(bob, "ping")


async def test_one_whose_key_is_of_another_kind_takes_the_place_of_the_last_one(
    gateway: GatewayProcess, certificate: Certificate
) -> None:
    for by_rsa in (True, False):
        renewed = certificate.renew(by_rsa=by_rsa)
        gateway.process.send_signal(signal.SIGHUP)
        await until(lambda: serial_shown(gateway) == renewed)  # noqa: B023


def test_who_names_no_host_is_shown_it_too(
    gateway: GatewayProcess, certificate: Certificate
) -> None:
    trust = certificate.trust
    trust.check_hostname = False
    with (
        socket.create_connection(("127.0.0.1", gateway.port)) as connection,
        trust.wrap_socket(connection) as secured,
    ):
        shown = secured.getpeercert(binary_form=True)
    assert shown is not None
    assert x509.load_der_x509_certificate(shown).serial_number == certificate.serial


async def test_one_that_is_no_good_is_said_and_the_last_one_stays(
    gateway: GatewayProcess, certificate: Certificate
) -> None:
    good = certificate.serial
    kept = certificate.key.read_bytes()
    certificate.key.write_text("no key")
    gateway.process.send_signal(signal.SIGHUP)
    await until(lambda: "the last one stays" in gateway.logs())
    assert serial_shown(gateway) == good
    certificate.key.write_bytes(kept)
    async with await dial(gateway, certificate, "alice") as alice:
        assert "timestamp" in await ask(alice, "ping")


def test_the_health_check_asks_over_tls(gateway: GatewayProcess) -> None:
    asked = subprocess.run(
        [sys.executable, "-m", "scarfall.healthcheck", "/readyz"],
        env=gateway.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (asked.returncode, asked.stdout[:4]) == (0, "200 ")


async def test_many_at_once(gateway: GatewayProcess, certificate: Certificate) -> None:
    sockets = await asyncio.gather(*[dial(gateway, certificate, f"u{n}") for n in range(50)])
    receipt = await ask(
        sockets[0], "send_message", recipientIds=[f"u{n}" for n in range(50)], message="hello"
    )
    assert receipt["recipients"]["sent"] == [f"u{n}" for n in range(50)]  # type: ignore[index]
    for each in sockets:
        await each.close()
