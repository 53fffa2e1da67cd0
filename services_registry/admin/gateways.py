"""What only a running gateway knows: who is connected just now.

The registry knows nothing of gateways. The one that serves this request put itself into its scope.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from asgiref.sync import async_to_sync
from django.conf import settings
from django.http import HttpRequest

T = TypeVar("T")

log = logging.getLogger(__name__)


class Unknown(Exception):
    """The gateways' store does not answer, or no gateway serves this page."""


def ask(request: HttpRequest, question: Callable[[Any], Awaitable[T]]) -> T:
    """What the running gateway (`gateways.gateway.Gateway`) answers. Raises Unknown, after
    REDIS_TIMEOUT at most.
    """
    running = getattr(request, "scope", {}).get("running")
    if running is None:
        raise Unknown("no gateway serves this page")

    async def answer() -> T:
        async with asyncio.timeout(settings.REDIS_TIMEOUT):
            return await question(await running())

    try:
        return async_to_sync(answer)()
    except Exception as error:
        # Whatever it is: an operator needs the rest of the page most when something is broken.
        log.warning("The gateway could not be asked: %s: %s", type(error).__name__, error)
        raise Unknown(str(error) or "it took too long") from error


def live_sessions(request: HttpRequest) -> dict[str, int] | None:
    """How many sessions each service has, of those that have any; None where that is unknown."""
    try:
        counts: dict[str, int] = ask(request, lambda gateway: gateway.service_sessions.counts())
    except Unknown:
        return None
    return counts
