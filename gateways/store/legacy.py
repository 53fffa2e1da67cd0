"""What the service before this one kept: `friends:<user id>`, a JSON list as text."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Self

from gateways.store.batcher import Batcher
from gateways.store.calls import Caller
from gateways.store.connection import connect
from gateways.store.place import Place

#: A list may hold thousands of friends, so a page is about a megabyte where it is large.
_PAGE: Final = 100


class LegacyFriends:
    """Its keys have no prefix of the gateway's, and may lie in the same database. They are only
    read.
    """

    @classmethod
    @asynccontextmanager
    async def at(cls, url: str, prefix: str, *, timeout_seconds: float) -> AsyncIterator[Self]:
        redis = Batcher(
            connect(Place.of(url), timeout_seconds=timeout_seconds),
            timeout_seconds=timeout_seconds,
        )
        try:
            yield cls(redis, prefix)
        finally:
            await redis.close()

    def __init__(self, redis: Caller, prefix: str) -> None:
        self._redis = redis
        self._prefix = prefix.encode()

    async def pages(self) -> AsyncIterator[list[tuple[bytes, bytes | None]]]:
        """User ids with their lists, None where there is no text. As SCAN has it, one may come
        twice, and one that is deleted or added meanwhile may not come.
        """
        # The pattern's own characters (Redis, KEYS) are those of the prefix that stand for more.
        pattern = re.sub(rb"([*?\[\]\\^-])", rb"\\\1", self._prefix) + b"*"
        cursor = 0
        while True:
            position, keys = await self._redis.call(
                "SCAN", cursor, "MATCH", pattern, "COUNT", _PAGE
            )
            if keys:
                # It has None for what is no text, where GET would fail.
                values = await self._redis.call("MGET", *keys)
                user_ids = [key.removeprefix(self._prefix) for key in keys]
                yield list(zip(user_ids, values, strict=True))
            cursor = int(position)
            if cursor == 0:
                return
