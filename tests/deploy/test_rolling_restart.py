"""Both gateways are restarted in turn, under load, behind each of the shipped balancers.

ROLLING_ROUNDS=20 FAULTS_ROWS=rows.jsonl script/test tests/deploy/test_rolling_restart.py
"""

import asyncio
import os
from contextlib import suppress
from pathlib import Path

import pytest
import websockets

from tests.balancers import ADDRESSES, Balancer, RunBalancer, running_haproxy, running_nginx
from tests.deploy.compose import GATEWAYS
from tests.e2e.client import connect, eventually
from tests.e2e.gateways import Deployment
from tests.faults.conftest import befriend
from tests.faults.load import load
from tests.socketio.clients import running_node
from tests.socketio.stock_load import stock_load

ROUNDS = int(os.environ.get("ROLLING_ROUNDS", "1"))
#: Most of it is what a client waits before it tries again, and a handshake on a busy machine.
BACK_SECONDS = 5.0
pytestmark = pytest.mark.timeout(60 + 30 * ROUNDS)


@pytest.mark.parametrize("run", [running_nginx, running_haproxy])
async def test_all_are_restarted_one_after_the_other(
    run: RunBalancer, deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.variables = {"TRUSTED_PROXIES": "127.0.0.1"}
    gateways = list(await asyncio.to_thread(deployment.start_pair))
    befriend(deployment)
    ports = dict(zip(GATEWAYS, [gateway.port for gateway in gateways], strict=True))
    with run(tmp_path, ports) as balancer:
        certificate = balancer.certificate.cert
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        async with (
            running_node() as node,
            load([balancer.url], senders=10, recipients=50, addresses=ADDRESSES) as plain,
            stock_load(
                node,
                [f"https://127.0.0.1:{balancer.tls_port}"],
                senders=5,
                recipients=15,
                prefix="stock-",
                ca=certificate.read_text(),
            ) as stock,
        ):
            heard = plain.record.transitions
            for _ in range(ROUNDS):
                for place, old in enumerate(gateways.copy()):
                    await asyncio.to_thread(old.stop)
                    gateways[place] = await asyncio.to_thread(deployment.start, PORT=str(old.port))
                    await eventually(lambda: serves_both(balancer), "the one that is new")
                    await plain.progress(50)
                    await stock.progress(50)
            for at_work, clients in ((plain, 60), (stock, 20)):
                record = await at_work.finish()
                assert record.faults() == []
                # When the second one stops, all are at the first.
                assert len(record.absences) >= clients * ROUNDS
                assert max(record.absences) < BACK_SECONDS
                assert record.worst_answer_seconds() < BACK_SECONDS
            # Nobody's friends saw them flicker, and no stock client lost its place.
            assert plain.record.transitions == heard
            assert stock.not_recovered() == []


async def serves_both(balancer: Balancer) -> bool:
    """Whether new clients come to either gateway, each to the one that its address belongs to."""
    nodes = set()
    with suppress(OSError, websockets.WebSocketException):
        for address in ADDRESSES:
            async with connect(balancer.url, proxy=None, local_addr=(address, 0)) as client:
                await client.authenticate(f"probe-{address}")
                (connected,) = await client.pushed("connected")
                nodes.add(connected["sessionId"].partition(".")[0])
    return len(nodes) == 2
