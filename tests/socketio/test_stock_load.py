"""Processes die under load, and stock clients with connection state recovery miss nothing."""

import asyncio
import os
import signal

import pytest

from tests.e2e.gateways import Deployment
from tests.socketio.clients import Node
from tests.socketio.stock_load import stock_load, turning

# Seventy clients come back, some of them twice, which takes a small machine most of a minute.
pytestmark = pytest.mark.timeout(150)


def at(port: int) -> str:
    return f"http://127.0.0.1:{port}"


async def test_one_of_two_is_killed(node: Node, deployment: Deployment) -> None:
    """Its clients recover at the other, which knows of them only what the store knows."""
    deployment.logs_stay_clean = False
    dying, other = await asyncio.to_thread(deployment.start_pair)
    async with (
        turning(dying.port) as proxy,
        stock_load(node, [at(proxy.port), at(other.port)]) as at_work,
    ):
        await at_work.progress(200)
        os.kill(dying.node_pid, signal.SIGKILL)
        proxy.turn(other.port)
        for client in at_work.at(0):
            await client.once("connect", 2)
        await at_work.progress(200)
        record = await at_work.finish()
        assert record.faults() == []
        assert at_work.not_recovered() == []
        assert all(len(client.of_kind("connect")) == 1 for client in at_work.at(1))


async def test_all_are_restarted_one_after_the_other(node: Node, deployment: Deployment) -> None:
    """Clients are turned to the one that runs, and back again to the one that is new."""
    gateways = list(await asyncio.to_thread(deployment.start_pair))
    async with turning(gateways[0].port) as one, turning(gateways[1].port) as two:
        proxies = [one, two]
        async with stock_load(node, [at(proxy.port) for proxy in proxies]) as at_work:
            await at_work.progress(200)
            for place, proxy in enumerate(proxies):
                old, other = gateways[place], gateways[1 - place]
                proxy.point(other.port)
                await asyncio.to_thread(old.stop)
                await at_work.progress(100)
                gateways[place] = await asyncio.to_thread(deployment.start, PORT=str(old.port))
                proxy.turn(gateways[place].port)
                await at_work.progress(100)
            record = await at_work.finish()
            assert record.faults() == []
            assert at_work.not_recovered() == []
            for client in at_work.clients:
                assert len(client.of_kind("connect")) > 1


async def test_one_of_three_that_share_a_port_is_killed(node: Node, deployment: Deployment) -> None:
    """Whatever was its comes to the others, or to the one that is started in its place."""
    deployment.logs_stay_clean = False
    gateway = await asyncio.to_thread(deployment.start, WEB_CONCURRENCY="3")
    async with stock_load(node, [at(gateway.port)]) as at_work:
        await at_work.progress(200)
        os.kill(gateway.node_pids[0], signal.SIGKILL)
        await at_work.progress(400)
        record = await at_work.finish()
        assert record.faults() == []
        assert at_work.not_recovered() == []
        returned = [client for client in at_work.clients if len(client.of_kind("connect")) > 1]
        # A third of them, more or less, was at each.
        assert len(at_work.clients) / 6 < len(returned) < len(at_work.clients) / 2
