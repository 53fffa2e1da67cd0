"""Two gateways at work on a store of their own, each behind a proxy, and somebody to harm them."""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.gateways import Deployment, GatewayProcess
from tests.faults.proxy import Proxy, proxied
from tests.valkey import Valkey, running_valkey

#: Short where a test would wait for it; otherwise as shipped.
VARIABLES = {
    "REDIS_TIMEOUT": "2",
    "RECONCILE_INTERVAL": "2",
    "NODE_LEASE": "3",
    "OFFLINE_GRACE": "2",
}


@dataclass
class Field:
    valkey: Valkey
    deployment: Deployment
    gateways: list[GatewayProcess]
    #: Between each gateway and the store, in the same order.
    proxies: list[Proxy]

    @property
    def urls(self) -> list[str]:
        return [gateway.url for gateway in self.gateways]

    def memory_bytes(self, gateway: int) -> int:
        """What the process of a gateway holds resident."""
        status = Path(f"/proc/{self.gateways[gateway].node_pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024


@pytest.fixture(autouse=True)
def _seeded(request: pytest.FixtureRequest) -> None:
    """Where a seed is given, each test has its own random numbers, and the same ones again."""
    if seed := os.environ.get("FAULTS_SEED"):
        random.seed(f"{seed} {request.node.name}")


@pytest.fixture
def variables() -> dict[str, str]:
    """What the gateways of a test have otherwise than VARIABLES; a test parametrizes it."""
    return {}


@pytest.fixture
async def field(tmp_path: Path, variables: dict[str, str]) -> AsyncIterator[Field]:
    with running_valkey() as valkey:
        deployment = Deployment(valkey, tmp_path, **(VARIABLES | variables))
        deployment.logs_stay_clean = False
        async with proxied(valkey.port) as one, proxied(valkey.port) as two:
            proxies = [one, two]
            try:
                gateways = await asyncio.gather(
                    *(
                        # The proxies run on this loop, so it must not wait for what they serve.
                        asyncio.to_thread(
                            deployment.start, REDIS_URL=f"redis://127.0.0.1:{proxy.port}/0"
                        )
                        for proxy in proxies
                    )
                )
                befriend(deployment)
                yield Field(valkey, deployment, gateways, proxies)
            finally:
                await asyncio.to_thread(deployment.stop)


def befriend(deployment: Deployment) -> None:
    """Every recipient watches two others, which are at either gateway."""
    for number in range(50):
        deployment.befriend(f"r{number}", f"r{(number + 1) % 50}", f"r{(number + 2) % 50}")
