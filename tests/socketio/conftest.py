"""Both gateways on a real socket, for Socket.IO clients of every kind."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.e2e.conftest import deploy, deployment, name, pair
from tests.e2e.gateways import Deployment, GatewayProcess
from tests.socketio.clients import Node, running_node
from tests.valkey import Valkey

__all__ = ["deploy", "deployment", "name", "pair"]

#: Of the service `herald`, which the environment names.
HERALD_KEY = "a key that only herald knows"
ORIGIN = "http://game.example"

both_transports = pytest.mark.parametrize("transport", ["polling", "websocket"])


@pytest.fixture(scope="session")
def gateways(valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """As shipped, on both ports. No test may harm them."""
    directory = tmp_path_factory.mktemp("socketio")
    deployment = Deployment(
        valkey,
        directory,
        DATABASE_URL=f"sqlite:///{directory}/db.sqlite3",
        CUSTOM_SERVICES=f"herald:{HERALD_KEY}:news:Tells everybody everything",
        CORS_ORIGIN=ORIGIN,
        RATE_LIMITS="off",
    )
    try:
        yield deployment.start("all")
    finally:
        deployment.stop()


@pytest.fixture(scope="session")
def impatient(valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """One with a quick heartbeat, that waits for nobody."""
    deployment = Deployment(
        valkey,
        tmp_path_factory.mktemp("impatient"),
        WS_PING_INTERVAL="300",
        WS_PING_TIMEOUT="1000",
        AUTH_TIMEOUT="1",
        MAX_OUTBOUND_BYTES="100000",
    )
    try:
        yield deployment.start()
    finally:
        deployment.stop()


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with running_node() as node:
        yield node
