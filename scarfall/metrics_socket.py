"""How the processes of one machine tell the one that Prometheus asks what they count.

Each listens on a UNIX socket of its own and answers whoever connects with all its figures: nothing
is written, or kept, between two questions.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import structlog
from django.conf import settings

from gateways import metrics, vitals

log = structlog.get_logger(__name__)

#: A process that does not answer by then has more to do than to count.
ANSWER_SECONDS = 2.0


class Figures(msgspec.Struct):
    """Of one process. One that did not answer has no values."""

    gateway: str
    process: str
    values: dict[str, metrics.Value]


_decode = msgspec.msgpack.Decoder(Figures).decode


@asynccontextmanager
async def served(gateway: str, observed: Callable[[], dict[str, float]]) -> AsyncIterator[None]:
    """Meanwhile this process answers. `observed` gives its gauges. A deployment is not worse for
    want of its figures, so it goes on without the socket where there can't be one.
    """
    name = settings.SCARFALL_PROCESS

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        figures = Figures(gateway, name, {**metrics.counted(), **observed()})
        with suppress(OSError):
            writer.write(msgspec.msgpack.encode(figures))
            await writer.drain()
            writer.close()

    path = _path(name)
    watch = asyncio.get_running_loop().create_task(vitals.watch_loop())
    server = None
    try:
        path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(answer, path)
    except OSError as error:
        log.warning("no metrics of this process", error=str(error))
    try:
        yield
    finally:
        watch.cancel()
        if server is not None:
            server.close()
            path.unlink(missing_ok=True)


async def ask_all() -> list[Figures]:
    """The figures of each process that serves here, by name."""
    paths = sorted(settings.METRICS_DIR.glob("*.sock"))
    return list(await asyncio.gather(*map(_ask, paths)))


async def _ask(path: Path) -> Figures:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                return _decode(await reader.read())
            finally:
                writer.close()
    except (OSError, TimeoutError, msgspec.MsgspecError):
        return Figures(path.stem.partition("-")[0], path.stem, {})


def _path(process: str) -> Path:
    return settings.METRICS_DIR / f"{process}.sock"
