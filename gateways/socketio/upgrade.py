"""From polling to a WebSocket, as Engine.IO has it ("Upgrade"): probe, answer, upgrade."""

import asyncio
from typing import Final

from gateways.protocol import engineio
from gateways.protocol.engineio import InvalidPacket
from gateways.socketio.wires import PollingWire, WebSocketWire

#: As Socket.IO's own server: from the probe to the upgrade.
UPGRADE_SECONDS: Final = 10.0
#: While it is tried, a poll that waits is released so often.
RELEASE_SECONDS: Final = 0.1


async def negotiate(old: PollingWire, new: WebSocketWire) -> None:
    """The client holds on to the old wire until the new one has proved itself. Raises InvalidPacket
    where it does not go through with it.
    """
    releasing: asyncio.Task[None] | None = None
    try:
        async with asyncio.timeout(UPGRADE_SECONDS):
            if await new.receive() != engineio.PROBE:
                raise InvalidPacket("no probe")
            new.write([engineio.PROBED])
            releasing = asyncio.get_running_loop().create_task(_release_polls(old))
            if await new.receive() != engineio.UPGRADE:
                raise InvalidPacket("no upgrade")
    except TimeoutError:
        raise InvalidPacket("no upgrade in time") from None
    finally:
        if releasing is not None:
            releasing.cancel()


async def _release_polls(wire: PollingWire) -> None:
    while True:
        wire.release_poll()
        await asyncio.sleep(RELEASE_SECONDS)
