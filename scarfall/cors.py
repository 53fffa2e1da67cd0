"""CORS_ORIGIN for what Django answers at the user port: as for Engine.IO's requests, a page of an
allowed origin may read it. Nobody is refused for an Origin here, since nothing here acts.

Never at the internal port: there an operator's cookie opens the admin.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from gateways.socketio.cors import (
    Headers,
    allows,
    asks_before,
    cors_headers,
    origin_of,
    preflight_headers,
)

#: Also without an Origin: a cache must not give what it got so to a page that sends one.
VARIES: Headers = [(b"vary", b"Origin")]


def readable(app: Any, origins: Collection[str]) -> Any:
    """The ASGI application, for pages of these origins to read."""

    async def cors(scope: Any, receive: Any, send: Any) -> None:
        origin = origin_of(scope)
        allowed = origin is not None and allows(origins, origin)
        added = cors_headers(origin) if origin is not None and allowed else VARIES
        if asks_before(scope):
            headers = [*added, *preflight_headers(scope), (b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 204, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return

        async def named(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *added]}
            await send(message)

        await app(scope, receive, named)

    return cors
