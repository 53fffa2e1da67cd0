"""The figures while a load test runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.table import Table

from gateways.management.loadtest.ledger import percentile
from gateways.management.loadtest.swarm import Swarm

REFRESH_SECONDS: Final = 0.5


@asynccontextmanager
async def live(swarm: Swarm, console: Console) -> AsyncIterator[None]:
    """Shows them as long as the body runs; nothing where nobody looks."""
    if not console.is_terminal:
        yield
        return
    with Live(_table(swarm, 0.0), console=console, transient=True, auto_refresh=False) as display:
        refreshing = asyncio.create_task(_refresh(swarm, display))
        try:
            yield
        finally:
            refreshing.cancel()


async def _refresh(swarm: Swarm, display: Live) -> None:
    before = 0
    while True:
        await asyncio.sleep(REFRESH_SECONDS)
        # It begins again at 0 once the warming up is over.
        delivered = swarm.ledger.delivered
        rate = max(delivered - before, 0) / REFRESH_SECONDS
        before = delivered
        display.update(_table(swarm, rate), refresh=True)


def _table(swarm: Swarm, rate: float) -> Table:
    ledger = swarm.ledger
    latest = ledger.delivery.last_second()
    row = {
        "connected": f"{len(swarm.connect_seconds):,} of {swarm.plan.users:,}",
        "delivered/s": f"{rate:,.0f}",
        "p50": _ms(percentile(latest, 0.5)),
        "p99": _ms(percentile(latest, 0.99)),
        "under way": f"{ledger.in_flight:,}",
        "doubled": f"{ledger.doubled:,}",
        "refused": f"{ledger.refused.total():,}",
    }
    table = Table(*row, box=None, pad_edge=False)
    table.add_row(*row.values())
    return table


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:.2f} ms"
