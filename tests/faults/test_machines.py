"""Two machines, one of which is cut off from everything for longer than its lease, under load."""

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.client import dial_as
from tests.e2e.gateways import Deployment, GatewayProcess
from tests.faults.conftest import VARIABLES, befriend
from tests.faults.load import load
from tests.faults.machines import Machine, machines
from tests.valkey import Valkey, running_valkey

#: Longer than a lease, and than what the others need to bury a node.
AWAY_SECONDS = 8.0

pytestmark = [
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("ip") is None, reason="needs root, and iproute2"
    ),
    pytest.mark.timeout(180),
]


class Site:
    """The machines, a gateway on each, and the store here."""

    def __init__(self, machines: list[Machine], store: Valkey, directory: Path) -> None:
        self.machines = machines
        self.store = store
        self.deployment = Deployment(store, directory, **VARIABLES)
        self.deployment.logs_stay_clean = False
        self.gateways: list[GatewayProcess] = []

    def start(self) -> None:
        for machine in self.machines:
            self.gateways.append(
                self.deployment.start(
                    inside=machine.inside,
                    host=machine.address,
                    HOST=machine.address,
                    REDIS_URL=f"redis://{machine.here}:{self.store.port}/0",
                )
            )
        befriend(self.deployment)

    @property
    def urls(self) -> list[str]:
        return [gateway.url for gateway in self.gateways]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    with machines(2) as both:
        here = " ".join(["127.0.0.1", *(machine.here for machine in both)])
        with running_valkey(f"bind {here}", "protected-mode no") as store:
            site = Site(both, store, tmp_path)
            try:
                await asyncio.to_thread(site.start)
                yield site
            finally:
                await asyncio.to_thread(site.deployment.stop)


async def test_one_is_cut_off_and_heals(site: Site) -> None:
    lease, grace = float(VARIABLES["NODE_LEASE"]), float(VARIABLES["OFFLINE_GRACE"])
    site.deployment.befriend("watcher", "alice")
    watcher = await dial_as(site.urls[0], "watcher")
    alice = await dial_as(site.urls[1], "alice")
    await watcher.status_of("alice", "online")
    async with load(site.urls) as at_work:
        await at_work.progress(200)
        cut_at = time.monotonic()
        site.machines[1].cut_off()
        await watcher.status_of("alice", "offline")
        assert time.monotonic() - cut_at < 2 * lease + grace
        await asyncio.sleep(cut_at + AWAY_SECONDS - time.monotonic())
        site.machines[1].heal()
        # The others gave it up meanwhile: it sends its clients away, and they resume.
        assert await alice.closed() == 4508
        alice = await dial_as(site.urls[1], "alice")
        await watcher.status_of("alice", "online")
        await at_work.progress(400)
        record = await at_work.finish()
        assert record.faults() == []
    assert watcher.statuses_of("alice") == ["online", "offline", "online"]
    for client in (alice, watcher):
        await client.socket.close()
