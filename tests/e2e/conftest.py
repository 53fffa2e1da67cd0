"""Real gateway processes on real sockets, against a real Valkey."""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.gateways import Deployment, GatewayProcess
from tests.valkey import Valkey, running_valkey

StartGateway = Callable[..., GatewayProcess]
#: `deploy(VARIABLE="value")`: a deployment that lasts as long as the module.
Deploy = Callable[..., Deployment]
#: `name("alice")`: a user id of this test's own.
Name = Callable[[str], str]


@dataclass(frozen=True)
class Pair:
    """Two gateway processes of one deployment."""

    deployment: Deployment
    first: GatewayProcess
    second: GatewayProcess


@pytest.fixture(scope="session")
def pair(valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """As shipped, but for the times that a test would have to wait for. No test may harm it."""
    deployment = Deployment(
        valkey,
        tmp_path_factory.mktemp("pair"),
        OFFLINE_GRACE="1",
        RECONCILE_INTERVAL="2",
        NODE_LEASE="6",
    )
    try:
        yield Pair(deployment, *deployment.start_pair())
    finally:
        deployment.stop()


@pytest.fixture(scope="module")
def deploy(valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deploy]:
    deployments: list[Deployment] = []

    def make(**variables: str) -> Deployment:
        directory = tmp_path_factory.mktemp("deployment")
        deployments.append(Deployment(valkey, directory, **variables))
        return deployments[-1]

    yield make
    for deployment in deployments:
        deployment.stop()


@pytest.fixture
def deployment(valkey: Valkey, tmp_path: Path) -> Iterator[Deployment]:
    """Of one test, which may do to its processes what it likes."""
    deployment = Deployment(valkey, tmp_path)
    yield deployment
    deployment.stop()


@pytest.fixture
def start_gateway(deployment: Deployment) -> StartGateway:
    """`start_gateway(OFFLINE_GRACE="1")`: a gateway process with these variables; stopped after the
    test.
    """
    return deployment.start


@pytest.fixture
def gateway_process(start_gateway: StartGateway) -> GatewayProcess:
    return start_gateway()


@pytest.fixture
def fragile(tmp_path: Path) -> Iterator[Deployment]:
    """A deployment of one test on a Valkey of its own, to be stopped, killed and restarted."""
    with running_valkey() as valkey:
        deployment = Deployment(valkey, tmp_path)
        deployment.logs_stay_clean = False
        yield deployment
        deployment.stop()


@pytest.fixture
def name() -> Name:
    suffix = secrets.token_hex(4)
    return lambda who: f"{who}-{suffix}"
