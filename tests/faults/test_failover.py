"""A primary dies under load, and its replica takes over: in a cluster, and under Sentinels.

Replication is asynchronous, so a replica may lack what its primary took in its last moments.
Whoever is concerned is told by a new epoch; everybody else notices nothing but a wait.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.cluster import Cluster, Watched, running_cluster, running_sentinels
from tests.e2e.gateways import Deployment
from tests.faults.conftest import VARIABLES, befriend
from tests.faults.load import load
from tests.faults.record import Record

#: What a replica may lack, in seconds before its primary's death.
LAG_SECONDS = 1.0

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def started(
    stack: AsyncExitStack, servers: Cluster | Watched, directory: Path
) -> tuple[Deployment, list[str]]:
    deployment = Deployment(servers, directory, **VARIABLES)
    deployment.logs_stay_clean = False
    stack.push_async_callback(asyncio.to_thread, deployment.stop)
    pair = await asyncio.to_thread(deployment.start_pair)
    befriend(deployment)
    return deployment, [gateway.url for gateway in pair]


def assert_only_the_last_moments_are_gone(record: Record, died_at: float) -> None:
    faults = record.faults(may_lose=True, may_repeat=True)
    assert faults == []
    for user_id, message_ids in record.outstanding().items():
        for message_id in message_ids:
            answered = record.sent[message_id].answered
            assert answered is not None
            assert died_at - LAG_SECONDS < answered < died_at + LAG_SECONDS, (user_id, message_id)
        assert record.arrivals[user_id][-1].reason == "epoch", user_id


async def test_in_a_cluster(stack: AsyncExitStack, tmp_path: Path) -> None:
    cluster = stack.enter_context(running_cluster())
    deployment, urls = await started(stack, cluster, tmp_path)
    async with load(urls) as at_work:
        await at_work.progress(300)
        victim = cluster.primary_of(deployment.keys.state("r1"))
        died_at = time.monotonic()
        victim.kill()
        await at_work.progress(300)
        record = await at_work.finish()
    assert_only_the_last_moments_are_gone(record, died_at)


async def test_under_sentinels(stack: AsyncExitStack, tmp_path: Path) -> None:
    servers = stack.enter_context(running_sentinels())
    _, urls = await started(stack, servers, tmp_path)
    async with load(urls) as at_work:
        await at_work.progress(300)
        died_at = time.monotonic()
        servers.primary.kill()
        await at_work.progress(300)
        record = await at_work.finish()
    assert_only_the_last_moments_are_gone(record, died_at)
