"""deploy/nginx.conf, in a real nginx, before two gateways that share nothing but the store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.client import token
from tests.e2e.conftest import Name, Pair
from tests.nginx import running_nginx
from tests.socketio.clients import running_node
from tests.socketio.raw import ask, connected, event

#: On Linux all of them are this machine's, and a client may come from each.
ADDRESSES = [f"127.0.0.{number}" for number in range(1, 9)]


@pytest.fixture
def balancer(pair: Pair, tmp_path: Path) -> Iterator[int]:
    """Its port."""
    gateways = {"gateway-1": pair.first.port, "gateway-2": pair.second.port}
    with running_nginx(tmp_path, gateways) as port:
        yield port


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
