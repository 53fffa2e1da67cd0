"""What the registry has to say to the gateways, once it is committed.

The registry knows nothing of gateways: it sends a notice to a group of the channel layer, and each
gateway node listens there. A notice that gets lost is made up for by the nodes' own look at the
registry.
"""

import asyncio
import logging
from typing import Final

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import transaction

log = logging.getLogger(__name__)

GROUP: Final = "services"
#: The `type` of the layer's message; a node's mailbox knows it.
KIND: Final = "service.changed"


def send_after_commit(service_name: str) -> None:
    """Whatever holds sessions of this service is to look at it again.

    Blocks the commit's thread for REDIS_TIMEOUT at most.
    """
    transaction.on_commit(lambda: _send(service_name))


def _send(service_name: str) -> None:
    try:
        # In a thread of an ASGI server's this runs on its loop, anywhere else on one of its own.
        async_to_sync(_publish)(service_name)
    except Exception as error:  # noqa: BLE001  # the layer raises what it likes
        # The change is committed; nobody who asked for it should be told that it failed.
        log.warning(
            "Notice of a change to service %s not sent: %s: %s",
            service_name,
            type(error).__name__,
            error,
        )


async def _publish(service_name: str) -> None:
    async with asyncio.timeout(settings.REDIS_TIMEOUT):
        await get_channel_layer().group_send(GROUP, {"type": KIND, "service_name": service_name})
