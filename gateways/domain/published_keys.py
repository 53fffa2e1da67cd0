"""The keys that JWT_JWKS_URL publishes (RFC 7517): fetched ahead, and kept while they can't be.

A token of a known key waits for no fetch. One of an unknown key waits for one at most, which all
of them share; strangers who make keys up cause few. What a good answer no longer has is no key.
"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from typing import Any, Final

import jwt
import structlog
from jwt import InvalidKeyError, PyJWKClient

from gateways.protocol.errors import Unavailable

log = structlog.get_logger(__name__)

#: A client whose key is unknown waits so long: well within AUTH_TIMEOUT.
FETCH_TIMEOUT_SECONDS: Final = 3.0
#: How old a key may be that was taken back, while the endpoint answers.
REFRESH_SECONDS: Final = 300.0
#: After a good fetch an unknown key causes no other: a new key is published before it signs.
COOLDOWN_SECONDS: Final = 30.0
#: The same after a failed one, which is then repeated: it may be that nobody can come in meanwhile.
RETRY_SECONDS: Final = 5.0


class PublishedKeys:
    def __init__(self, url: str, algorithm: str) -> None:
        self._client = PyJWKClient(url, cache_jwk_set=False, timeout=FETCH_TIMEOUT_SECONDS)
        self._algorithm = jwt.get_algorithm_by_name(algorithm)
        self._keys: dict[str, Any] = {}
        #: Whether one that is missing may be good: the newest fetch failed, or there was none.
        self._doubtful = True
        self._fetching: asyncio.Task[None] | None = None
        self._next: asyncio.TimerHandle | None = None
        self._quiet_until = 0.0

    async def find(self, key_id: str) -> Any | None:
        """The key of this id, or None where none is published. Raises Unavailable where it is not
        known and the keys can't be fetched.
        """
        if key_id not in self._keys and time.monotonic() >= self._quiet_until:
            await self.fetch()
        key = self._keys.get(key_id)
        if key is None and self._doubtful:
            raise Unavailable("The keys that sign tokens can't be fetched now.")
        return key

    async def fetch(self) -> None:
        """From then on they are fetched again and again. Where it fails, what was fetched before
        stays, and `find` tells.
        """
        # Not awaited itself: one who no longer waits does not end it for the others.
        await asyncio.wait([self._begin()])

    def close(self) -> None:
        if self._next is not None:
            self._next.cancel()
        if self._fetching is not None:
            self._fetching.cancel()

    def _begin(self) -> asyncio.Task[None]:
        if self._fetching is None or self._fetching.done():
            if self._next is not None:
                self._next.cancel()
            loop = asyncio.get_running_loop()
            self._fetching = loop.create_task(self._fetch(), context=Context())
        return self._fetching

    async def _fetch(self) -> None:
        loop = asyncio.get_running_loop()
        # The client's own time-out is one of each read: a thread that hangs all the same is left
        # behind, and holds up no later fetch.
        thread = ThreadPoolExecutor(1, thread_name_prefix="jwks")
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_SECONDS):
                self._keys = await loop.run_in_executor(thread, self._download)
        except Exception as error:  # noqa: BLE001  # the endpoint answers what it likes
            log.warning("keys not fetched", error=f"{type(error).__name__}: {error}")
            self._doubtful = True
            quiet_seconds = again_seconds = RETRY_SECONDS
        else:
            # None for our algorithm: that is for the operator to mend, and no token's fault.
            self._doubtful = not self._keys
            if self._doubtful:
                log.warning("no published key is for the algorithm")
            quiet_seconds, again_seconds = COOLDOWN_SECONDS, REFRESH_SECONDS
        finally:
            thread.shutdown(wait=False)
        self._quiet_until = time.monotonic() + quiet_seconds
        self._next = loop.call_later(again_seconds, self._begin)

    def _download(self) -> dict[str, Any]:
        """By id, what can verify a token of our algorithm. Raises whatever the client does."""
        keys: dict[str, Any] = {}
        for published in self._client.get_signing_keys():
            # Ids may repeat where the kinds of key differ (RFC 7517, section 4.5).
            if isinstance(published.key_id, str) and self._verifies(published.key):
                keys.setdefault(published.key_id, published.key)
        return keys

    def _verifies(self, key: Any) -> bool:
        try:
            return hasattr(self._algorithm.prepare_key(key), "verify")
        except (TypeError, ValueError, InvalidKeyError):
            return False
