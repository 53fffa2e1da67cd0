"""Channels of Redis' pub/sub, `trace:<user>`, by which nodes tell traces what happens to a user."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateways.store.calls import Caller
from gateways.store.errors import StoreUnavailable
from gateways.store.keys import Keys

_POLL_SECONDS: Final = 1.0


class TraceStore:
    def __init__(self, redis: Caller, keys: Keys, client: "Redis") -> None:
        """`client` makes the one connection that a subscription needs for itself."""
        self._redis = redis
        self._keys = keys
        self._client = client

    async def publish(self, user_id: str, report: bytes) -> None:
        await self._redis.call("PUBLISH", self._keys.trace(user_id), report)

    @asynccontextmanager
    async def reports(self, user_id: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """What is published from now on. Raises StoreUnavailable, then and later."""
        subscription = self._client.pubsub()
        try:
            await subscription.subscribe(self._keys.trace(user_id))

            async def published() -> AsyncIterator[bytes]:
                while True:
                    message = await subscription.get_message(
                        ignore_subscribe_messages=True, timeout=_POLL_SECONDS
                    )
                    if message is not None:
                        yield message["data"]

            yield published()
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"Redis does not answer: {error}") from error
        finally:
            await subscription.aclose()  # type: ignore[no-untyped-call]
