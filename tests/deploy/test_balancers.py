"""What the shipped balancers let through, and what they don't: real ones, before a real gateway."""

import asyncio
import os
import re
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from pathlib import Path

import pytest
import websockets

from tests.balancers import ADDRESSES, Balancer, RunBalancer, running_haproxy, running_nginx
from tests.deploy.compose import GATEWAYS
from tests.e2e.client import Client, connect, eventually, token
from tests.e2e.conftest import Deploy, Name
from tests.e2e.gateways import ROOT, Deployment, GatewayProcess
from tests.nginx import command
from tests.socketio.raw import ask, connected, event
from tests.waiting import wait_until

BALANCERS = [running_nginx, running_haproxy]
HEAD_SECONDS = 1
#: The pause that docs/operations.md has between two machines.
BACK_SECONDS = 5
LARGE = b"x" * 40_000


@pytest.fixture(scope="module")
def gateway(deploy: Deploy) -> GatewayProcess:
    """It stands for both."""
    return deploy(TRUSTED_PROXIES="127.0.0.1", MAX_ADDRESS_CONNECTIONS="1").start()


@pytest.fixture(scope="module", params=BALANCERS)
def balancer(
    gateway: GatewayProcess,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Balancer]:
    run: RunBalancer = request.param
    ports = dict.fromkeys(GATEWAYS, gateway.port)
    with run(tmp_path_factory.mktemp("balancer"), ports, head_seconds=HEAD_SECONDS) as balancer:
        yield balancer


def get(balancer: Balancer, path: str, *, secure: bool, **headers: str) -> HTTPResponse:
    """The answer to a client that asks for https://play.example.org, or for http:// of it."""
    connection = (
        HTTPSConnection("127.0.0.1", balancer.tls_port, context=balancer.certificate.trust)
        if secure
        else HTTPConnection("127.0.0.1", balancer.port)
    )
    connection.request("GET", path, headers={"Host": "play.example.org", **headers})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


async def test_players_come_over_tls(balancer: Balancer, name: Name) -> None:
    async with connect(balancer.url, proxy=None, ssl=balancer.certificate.trust) as alice:
        assert "user" in await alice.authenticate(name("alice"))
        assert (await alice.message(name("alice"), "x" * 60_000))["status"] == "sent"
        assert await alice.texts(1) == ["x" * 60_000]


def test_the_gateway_knows_that_they_do(balancer: Balancer) -> None:
    for secure, path in ((True, "/healthz"), (True, "/nothing"), (False, "/healthz")):
        answer = get(balancer, path, secure=secure, **{"X-Forwarded-Proto": "https"})
        assert answer.status == (404 if path == "/nothing" else 200)
        assert (answer.getheader("Strict-Transport-Security") is not None) == secure


async def test_the_gateway_knows_where_they_come_from(balancer: Balancer) -> None:
    """An address may have one connection here, and nobody may say to be another."""

    def come(address: str, claimed: str) -> AbstractAsyncContextManager[Client]:
        return connect(
            balancer.url,
            proxy=None,
            ssl=balancer.certificate.trust,
            local_addr=(address, 0),
            additional_headers={"X-Forwarded-For": claimed},
        )

    async with come("127.0.0.2", "203.0.113.1") as one:
        assert set(await one.request("ping")) == {"timestamp"}
        async with come("127.0.0.2", "203.0.113.2") as another:
            assert await another.closed() == 4503
        async with come("127.0.0.3", "203.0.113.1") as stranger:
            assert set(await stranger.request("ping")) == {"timestamp"}


def test_pages_are_sent_on_to_https(balancer: Balancer) -> None:
    answer = get(balancer, "/some/page?with=more", secure=False)
    assert answer.status == 301
    assert answer.getheader("Location") == "https://play.example.org/some/page?with=more"


async def test_clients_that_would_show_their_token_are_refused(balancer: Balancer) -> None:
    for path in ("/ws", "/socket.io/?EIO=4&transport=polling", "/socket.io/?transport=websocket"):
        assert get(balancer, path, secure=False).status == 403
        with pytest.raises(websockets.InvalidStatus) as refusal:
            await websockets.connect(f"ws://127.0.0.1:{balancer.port}{path}", proxy=None)
        assert refusal.value.response.status_code == 403


@pytest.mark.parametrize("secure", [True, False])
def test_a_head_that_comes_slowly_is_cut_off(balancer: Balancer, secure: bool) -> None:
    """However often there is a little more of it."""
    begun = time.monotonic()
    with dialled(balancer, secure=secure) as peer:
        peer.sendall(b"GET /healthz HTTP/1.1\r\nHost: play.example.org\r\n")
        peer.settimeout(HEAD_SECONDS / 10)
        while not ended(peer):
            assert time.monotonic() - begun < 10 * HEAD_SECONDS
            try:
                peer.sendall(b"X-More: of it\r\n")
            except OSError:
                break
    assert time.monotonic() - begun > HEAD_SECONDS / 2


def test_who_does_not_shake_hands_is_cut_off(balancer: Balancer) -> None:
    with socket.create_connection(("127.0.0.1", balancer.tls_port), 10 * HEAD_SECONDS) as peer:
        assert peer.recv(4096) == b""


def dialled(balancer: Balancer, *, secure: bool) -> socket.socket:
    if not secure:
        return socket.create_connection(("127.0.0.1", balancer.port))
    plain = socket.create_connection(("127.0.0.1", balancer.tls_port))
    return balancer.certificate.trust.wrap_socket(plain, server_hostname="127.0.0.1")


def ended(peer: socket.socket) -> bool:
    """Whether the other side closes, within the socket's time-out; a 408 before that is read."""
    try:
        return not peer.recv(4096)
    except TimeoutError:
        return False
    except OSError:  # ssl.SSLError is one
        return True


async def test_a_poll_and_a_socket_may_be_quiet_for_longer(balancer: Balancer, name: Name) -> None:
    alice, bob = name("alice"), name("bob")
    trust, auth = balancer.certificate.trust, {"token": token(bob)}
    async with (
        connected(
            "polling", balancer.tls_port, auth, address="127.0.0.4", trust=trust
        ) as recipient,
        connect(balancer.url, proxy=None, ssl=trust) as sender,
    ):
        await sender.authenticate(alice)
        await event(recipient, "connected")
        poll = asyncio.create_task(event(recipient, "message"))
        await asyncio.sleep(3 * HEAD_SECONDS)
        assert not poll.done()
        assert (await sender.message(bob, "hello"))["status"] == "sent"
        assert (await poll)["message"] == "hello"


def test_a_head_that_is_too_large_is_refused(balancer: Balancer) -> None:
    """In words, where the client has not said too much for that already."""
    answer = b""
    with dialled(balancer, secure=True) as peer, suppress(OSError):
        peer.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nCookie: %s\r\n\r\n" % LARGE)
        while more := peer.recv(4096):
            answer += more
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")


def test_nginx_starts_under_systemd(gateway: GatewayProcess, tmp_path: Path) -> None:
    """Its stderr is a socket there, which /dev/stderr does not open."""
    ours, theirs = socket.socketpair()
    with ours, theirs, running_nginx(tmp_path, dict.fromkeys(GATEWAYS, gateway.port)):
        checked = subprocess.run([*command(tmp_path), "-t"], stderr=theirs.fileno(), check=False)
        assert checked.returncode == 0, ours.recv(4096).decode()


@pytest.mark.parametrize("run", BALANCERS)
async def test_a_machine_that_is_back_takes_all_players_at_once(
    run: RunBalancer, deployment: Deployment, tmp_path: Path, name: Name
) -> None:
    """Though it has refused some, and nobody's connection to it has ended since."""
    deployment.variables = {"TRUSTED_PROXIES": "127.0.0.1"}
    gateways = list(await asyncio.to_thread(deployment.start_pair))
    ports = dict(zip(GATEWAYS, [gateway.port for gateway in gateways], strict=True))
    with run(tmp_path, ports) as balancer:

        async def come(stack: AsyncExitStack, address: str) -> None:
            trust = balancer.certificate.trust
            client = await stack.enter_async_context(
                connect(balancer.url, proxy=None, ssl=trust, local_addr=(address, 0))
            )
            await client.authenticate(name(address))

        async def is_let_in(stack: AsyncExitStack, address: str) -> bool:
            with suppress(OSError, websockets.WebSocketException):
                await come(stack, address)
                return True
            return False

        async with AsyncExitStack() as players:
            port = str(gateways[0].port)
            await asyncio.to_thread(gateways[0].stop)
            for address in ADDRESSES:
                await come(players, address)
            await asyncio.to_thread(deployment.start, PORT=port)
            await asyncio.sleep(BACK_SECONDS)
            await asyncio.to_thread(gateways[1].stop)
            # On a busy machine HAProxy may not have asked yet.
            await eventually(lambda: is_let_in(players, ADDRESSES[0]), "a machine")
            for address in ADDRESSES:
                await come(players, address)


async def test_while_the_store_is_away_polling_clients_stay(
    fragile: Deployment, tmp_path: Path, name: Name
) -> None:
    """HAProxy asks whether a machine is ready, which none is then."""
    gateway = await asyncio.to_thread(fragile.start, REDIS_TIMEOUT="1")
    auth = {"token": token(name("alice"))}
    with running_haproxy(tmp_path, dict.fromkeys(GATEWAYS, gateway.port)) as haproxy:
        trust = haproxy.certificate.trust
        async with connected("polling", haproxy.tls_port, auth, trust=trust) as alice:
            await event(alice, "connected")
            os.kill(fragile.valkey.process.pid, signal.SIGSTOP)
            try:
                said = "backend gateways has no server available"
                log = tmp_path / "haproxy.log"
                await asyncio.to_thread(wait_until, lambda: said in log.read_text(), said)
                assert set(await ask(alice, "ping")) == {"timestamp"}
            finally:
                os.kill(fragile.valkey.process.pid, signal.SIGCONT)


def test_a_first_certificate_is_made_as_the_readme_says(tmp_path: Path) -> None:
    """In the files that nginx.conf names, in the directory that docker-compose.yml mounts."""
    readme = (ROOT / "README.md").read_text()
    (command,) = re.findall(r"^openssl req (?:.*\\\n)*.*$", readme, re.MULTILINE)
    (tmp_path / "deploy" / "tls").mkdir(parents=True)
    subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, check=True, capture_output=True)
    made = tmp_path / "deploy" / "tls"
    assert {path.name for path in made.iterdir()} == {"cert.pem", "key.pem"}
    assert (made / "key.pem").stat().st_mode & 0o077 == 0
    configuration = (ROOT / "deploy/nginx.conf").read_text()
    for file in made.iterdir():
        assert f"/etc/nginx/tls/{file.name};" in configuration
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
        made / "cert.pem", made / "key.pem"
    )
