"""A trace: what happens to one user, at all nodes, as it happens. `gateways/trail.py` observes."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Final

from gateways import trail
from gateways.mailbox import Mailbox
from gateways.nudges import TraceNudge
from gateways.store.errors import StoreUnavailable
from gateways.store.nodes import NodeStore
from gateways.store.traces import TraceStore
from gateways.trail import Report

#: How often every node is told whom to follow: several times before it forgets, and soon enough for
#: a node that has just come.
RENEW_SECONDS: Final = 3.0


class Tracing:
    def __init__(self, nodes: NodeStore, mailbox: Mailbox, traces: TraceStore) -> None:
        self._nodes = nodes
        self._mailbox = mailbox
        self._traces = traces

    async def follow(self, user_id: str) -> AsyncGenerator[Report, None]:
        """Without end. Each node first reports that it has begun. Raises StoreUnavailable."""
        async with self._traces.reports(user_id) as reports:
            naming = asyncio.create_task(self._name(user_id))
            try:
                async for report in reports:
                    yield trail.decode(report)
            finally:
                naming.cancel()
                await asyncio.wait([naming])

    async def _name(self, user_id: str) -> None:
        while True:
            with suppress(StoreUnavailable):  # whoever waits for reports hears of it
                for node_id in await self._nodes.all():
                    self._mailbox.send(node_id, TraceNudge(user_id))
            await asyncio.sleep(RENEW_SECONDS)
