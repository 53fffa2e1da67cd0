"""deploy/nginx.conf, in a real nginx, before two gateways that share nothing but the store."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.client import token
from tests.e2e.conftest import Name, Pair
from tests.e2e.gateways import ROOT, listening_port
from tests.socketio.clients import running_node
from tests.socketio.raw import ask, connected, event

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")
#: On Linux all of them are this machine's, and a client may come from each.
ADDRESSES = [f"127.0.0.{number}" for number in range(1, 9)]


@pytest.fixture
async def balancer(pair: Pair, tmp_path: Path) -> AsyncIterator[int]:
    """The port of an nginx with the shipped configuration."""
    if NGINX is None:
        pytest.skip("nginx is missing: apt-get install nginx-light")
    port = listening_port()
    shipped = (ROOT / "deploy" / "nginx.conf").read_text()
    for there, here in {
        "gateway-1:3000": f"127.0.0.1:{pair.first.port}",
        "gateway-2:3000": f"127.0.0.1:{pair.second.port}",
        "listen 80;": f"listen 127.0.0.1:{port};",
    }.items():
        assert there in shipped
        shipped = shipped.replace(there, here)
    temporary = " ".join(
        f"{kind}_temp_path {tmp_path}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {tmp_path}/pid; error_log {tmp_path}/error.log;"
        f"events {{}} http {{ access_log off; {temporary} {shipped} }}"
    )
    process = await asyncio.create_subprocess_exec(
        NGINX, "-c", str(tmp_path / "nginx.conf"), "-p", str(tmp_path), stderr=subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(10):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    assert process.returncode is None, (tmp_path / "error.log").read_text()
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    break
        yield port
    finally:
        process.terminate()
        await process.wait()


async def test_a_client_that_polls_stays_where_it_began(balancer: int, name: Name) -> None:
    """And clients of different addresses are spread over the machines."""
    nodes = set()
    for number, address in enumerate(ADDRESSES):
        auth = {"token": token(name(f"u{number}"))}
        async with connected("polling", balancer, auth, address=address) as raw:
            session_id = (await event(raw, "connected"))["sessionId"]
            nodes.add(session_id.partition(".")[0])
            for ack in range(5):
                assert set(await ask(raw, "ping", ack=ack)) == {"timestamp"}
    assert len(nodes) == 2


@pytest.mark.parametrize("transports", [["polling", "websocket"], ["websocket"], ["polling"]])
async def test_stock_clients_connect_through_it(
    balancer: int, name: Name, transports: list[str]
) -> None:
    async with running_node() as node:
        url, auth = f"http://127.0.0.1:{balancer}", {"token": token(name("alice"))}
        client = node.open(url, auth=auth, transports=transports)
        await client.given("connected")
        data = {"recipientIds": [name("alice")], "message": "x" * 60_000}
        assert (await client.ask("send_message", data))["status"] == "sent"
        ((message,),) = await client.given("message")
        assert len(message["message"]) == 60_000
        assert client.of_kind("disconnect") == []
