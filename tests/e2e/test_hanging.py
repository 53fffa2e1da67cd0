"""One of two processes behind a port hangs, and goes on again."""

import asyncio
import os
import signal
from contextlib import AsyncExitStack

from tests.e2e.client import connect_as, eventually
from tests.e2e.conftest import Name
from tests.e2e.gateways import Deployment


async def test_new_connections_come_to_the_other_meanwhile(
    deployment: Deployment, name: Name
) -> None:
    gateway = await asyncio.to_thread(deployment.start, WEB_CONCURRENCY="2", HANG_TIMEOUT="0")
    async with AsyncExitStack() as opened:

        async def node_of_another() -> str:
            client = await opened.enter_async_context(connect_as(gateway.url, name("new")))
            session_id: str = client.seen("connected")[0]["sessionId"]
            return session_id.partition(".")[0]

        async def ten_are_let_in() -> bool:
            try:
                async with asyncio.timeout(2):
                    return len({await node_of_another() for _ in range(10)}) == 1
            except TimeoutError:  # one of them came to the process that hangs
                return False

        async def one_comes_to_it() -> bool:
            return await node_of_another() not in others

        hanging = gateway.node_pids[0]
        os.kill(hanging, signal.SIGSTOP)
        try:
            await eventually(ten_are_let_in, "the other to get all")
            others = {await node_of_another()}
        finally:
            os.kill(hanging, signal.SIGCONT)
        await eventually(one_comes_to_it, "it to be given some again")
