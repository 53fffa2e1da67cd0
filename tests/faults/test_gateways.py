"""A gateway process dies, stops, or is restarted under load."""

import asyncio
import os
import signal

import pytest

from tests.faults.conftest import Field
from tests.faults.load import load


async def test_one_is_killed(field: Field) -> None:
    async with load(field.urls) as at_work:
        await at_work.progress(200)
        os.kill(field.gateways[0].node_pid, signal.SIGKILL)
        await at_work.progress(400)
        record = await at_work.finish()
        assert record.faults() == []


async def test_one_is_told_to_stop(field: Field) -> None:
    async with load(field.urls) as at_work:
        await at_work.progress(200)
        await asyncio.to_thread(field.gateways[0].stop)
        await at_work.progress(400)
        record = await at_work.finish()
        assert record.faults() == []


@pytest.mark.parametrize("seconds", [1.0, 6.0], ids=["within its lease", "past its lease"])
async def test_one_is_paused(field: Field, seconds: float) -> None:
    async with load(field.urls) as at_work:
        await at_work.progress(200)
        pid = field.gateways[0].node_pid
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        os.kill(pid, signal.SIGCONT)
        await at_work.progress(400)
        record = await at_work.finish()
        assert record.faults() == []


async def test_all_are_restarted_one_after_the_other(field: Field) -> None:
    """Nobody's friends see them flicker."""
    async with load(field.urls) as at_work:
        await at_work.progress(200)
        before = at_work.record.transitions
        for gateway, proxy in zip(list(field.gateways), field.proxies, strict=True):
            await asyncio.to_thread(gateway.stop)
            await asyncio.to_thread(
                field.deployment.start,
                REDIS_URL=f"redis://127.0.0.1:{proxy.port}/0",
                PORT=str(gateway.port),
            )
            await at_work.progress(200)
        record = await at_work.finish()
        assert record.faults() == []
        assert record.transitions == before
