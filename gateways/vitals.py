"""What can be seen of this process when somebody asks, and how late its event loop is."""

import asyncio
import os
import resource
from pathlib import Path
from typing import Final

from gateways import metrics
from gateways.gateway import Gateway

#: Between two looks at the event loop's lag.
LAG_SECONDS: Final = 0.25

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_PROC: Final = Path("/proc/self")


async def watch_loop() -> None:
    """Until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LAG_SECONDS
        await asyncio.sleep(LAG_SECONDS)
        metrics.loop_lag_seconds.observe(max(loop.time() - due, 0.0))


def observed(gateway: Gateway) -> dict[str, float]:
    """The gauges of this process, by name. Some ms for ten thousand sockets."""
    values = {
        metrics.connections: len(gateway.connections),
        metrics.sessions: len(gateway.hub),
        metrics.service_sessions: len(gateway.service_sessions),
        metrics.users: len(gateway.hub.user_ids),
        metrics.queue_bytes: sum(connection.waiting_bytes for connection in gateway.connections),
        metrics.announcements_waiting: len(gateway.announcer),
        metrics.store_waiting: gateway.redis.waiting,
        metrics.deaf: int(gateway.mailbox.deaf),
        metrics.lease_age: gateway.node.lease_age_seconds,
        **_process(),
    }
    return {metric.name: float(value) for metric, value in values.items()}


def _process() -> dict[metrics.Metric, float]:
    """What Linux says in /proc is left out elsewhere."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    values: dict[metrics.Metric, float] = {
        metrics.cpu_seconds: usage.ru_utime + usage.ru_stime,
        metrics.max_descriptors: resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    }
    if _PROC.exists():
        pages = int((_PROC / "statm").read_text().split()[1])
        values[metrics.resident_bytes] = pages * _PAGE_BYTES
        values[metrics.descriptors] = sum(1 for _ in (_PROC / "fd").iterdir())
    return values
