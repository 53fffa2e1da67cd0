"""The shipped balancers, real ones, before two gateways that share nothing but the store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.balancers import ADDRESSES, Balancer, RunBalancer, running_haproxy, running_nginx
from tests.e2e.client import token
from tests.e2e.conftest import Name, Pair
from tests.socketio.clients import running_node
from tests.socketio.raw import ask, connected, event


@pytest.fixture(params=[running_nginx, running_haproxy])
def balancer(pair: Pair, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Balancer]:
    run: RunBalancer = request.param
    gateways = {"gateway-1": pair.first.port, "gateway-2": pair.second.port}
    with run(tmp_path, gateways) as balancer:
        yield balancer


async def test_a_client_that_polls_stays_where_it_began(balancer: Balancer, name: Name) -> None:
    """And clients of different addresses are spread over the machines."""
    nodes = set()
    trust = balancer.certificate.trust
    for number, address in enumerate(ADDRESSES):
        auth = {"token": token(name(f"u{number}"))}
        async with connected(
            "polling", balancer.tls_port, auth, address=address, trust=trust
        ) as raw:
            session_id = (await event(raw, "connected"))["sessionId"]
            nodes.add(session_id.partition(".")[0])
            for ack in range(5):
                assert set(await ask(raw, "ping", ack=ack)) == {"timestamp"}
    assert len(nodes) == 2


@pytest.mark.parametrize("transports", [["polling", "websocket"], ["websocket"], ["polling"]])
async def test_stock_clients_connect_through_it(
    balancer: Balancer, name: Name, transports: list[str]
) -> None:
    async with running_node() as node:
        client = node.open(
            f"https://127.0.0.1:{balancer.tls_port}",
            auth={"token": token(name("alice"))},
            transports=transports,
            ca=balancer.certificate.cert.read_text(),
        )
        await client.given("connected")
        data = {"recipientIds": [name("alice")], "message": "x" * 60_000}
        assert (await client.ask("send_message", data))["status"] == "sent"
        ((message,),) = await client.given("message")
        assert len(message["message"]) == 60_000
        assert client.of_kind("disconnect") == []
