"""One Django behind two gateways: each has its own URLs, and nothing of the other's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponseBase
from django.utils.decorators import async_only_middleware

Handler = Callable[[ASGIRequest], Awaitable[HttpResponseBase]]


@async_only_middleware
def choose_urlconf(get_response: Handler) -> Handler:
    """`scope["gateway"]` is set by scarfall/asgi.py, never by a client; without it, the user's."""

    async def middleware(request: ASGIRequest) -> HttpResponseBase:
        if request.scope.get("gateway") == "internal":
            request.urlconf = "scarfall.urls_internal"
        return await get_response(request)

    return middleware
