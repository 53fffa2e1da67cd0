"""Real gateway processes on real sockets, against a real Valkey."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.gateways import Deployment, GatewayProcess
from tests.postgresql import PostgreSQL
from tests.valkey import Valkey, running_valkey

StartGateway = Callable[..., GatewayProcess]
#: `deploy(VARIABLE="value")`: a deployment that lasts as long as the module.
Deploy = Callable[..., Deployment]
#: The URL of an empty database.
MakeDatabase = Callable[[], str]
#: Of the service `herald`, which the environment names.
HERALD_KEY = "a key that only herald knows"
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


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def make_database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> MakeDatabase:
    """On each of the databases that are supported, in turn."""
    if request.param == "sqlite":
        return lambda: f"sqlite:///{tmp_path_factory.mktemp('database')}/db.sqlite3"
    postgresql: PostgreSQL = request.getfixturevalue("postgresql")
    return lambda: postgresql.create_database(f"e2e-{secrets.token_hex(4)}")


@pytest.fixture(scope="session")
def platform(
    make_database: MakeDatabase, valkey: Valkey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    """Two user gateways and two internal ones, on one database; they start at once, and migrate it.
    No test may harm them.
    """
    deployment = Deployment(
        valkey,
        tmp_path_factory.mktemp("platform"),
        DATABASE_URL=make_database(),
        CUSTOM_SERVICES=f"herald:{HERALD_KEY}:news:Tells everybody everything",
        OFFLINE_GRACE="1",
        # Long: what takes effect at once must not owe that to the next look.
        RECONCILE_INTERVAL="60",
        NODE_LEASE="6",
        RATE_LIMITS="off",
        MAX_SERVICES="1000",
    )
    try:
        yield Pair(deployment, *deployment.start_pair("all"))
    finally:
        deployment.stop()


@pytest.fixture(scope="module")
def deploy(valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deploy]:
    with ExitStack() as stack:

        def make(**variables: str) -> Deployment:
            deployment = Deployment(valkey, tmp_path_factory.mktemp("deployment"), **variables)
            stack.callback(deployment.stop)
            return deployment

        yield make


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
