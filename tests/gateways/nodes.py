"""How nodes and sockets die in tests."""

import asyncio
import contextlib

from gateways.gateway import Gateway
from tests.gateways.consumers.client import Client


async def die(gateway: Gateway) -> None:
    """As after a kill: nothing is said to anybody."""
    mailbox = gateway.mailbox
    tasks = [
        *gateway.node._tasks,
        *gateway.presence._leaving.values(),
        *gateway.presence._graces,
        *gateway.hub._readers.values(),
        *(
            task
            for task in (mailbox._caller, mailbox._listener, gateway.announcer._teller)
            if task is not None
        ),
    ]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    gateway.node._tasks.clear()  # so that its stop, at the end of the test, gives no lease up


async def abandon(client: Client) -> None:
    """Its socket dies with its process: the consumer does not get to say that it goes."""
    client.task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await client.task
