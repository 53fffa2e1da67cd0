"""Connection state recovery: who a Socket.IO client was, and where it stood, by an id it alone has.

The id is worth what the token was that its client authenticated with, for as long as that lasts;
whoever says goodbye, or is sent away for good, gives it up.
"""

import asyncio
import secrets
import time

import msgspec
import structlog

from gateways.session import Identity
from gateways.store.errors import StoreUnavailable
from gateways.store.recoveries import RecoveryStore

log = structlog.get_logger(__name__)


class Recoverable(msgspec.Struct, frozen=True):
    """`epoch` and `seq`: where the session began, for a client that got no message since."""

    identity: Identity
    device_id: str | None
    epoch: str
    seq: int


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Recoverable).decode


class Recoveries:
    def __init__(self, store: RecoveryStore) -> None:
        self._store = store
        self._forgetting: set[asyncio.Task[None]] = set()

    @staticmethod
    def new_id() -> str:
        return secrets.token_urlsafe(18)

    async def keep(self, recovery_id: str, recoverable: Recoverable) -> None:
        """Raises StoreUnavailable."""
        seconds = recoverable.identity.expires_at - time.time()
        await self._store.keep(recovery_id, _encode(recoverable), seconds=seconds)

    async def find(self, recovery_id: str) -> Recoverable | None:
        """Raises StoreUnavailable."""
        record = await self._store.find(recovery_id)
        if record is None:
            return None
        recoverable = _decode(record)
        return recoverable if recoverable.identity.expires_at > time.time() else None

    def forget(self, recovery_id: str) -> None:
        """In the background, and once: at worst it is worth what its token is."""
        task = asyncio.get_running_loop().create_task(self._forget(recovery_id))
        self._forgetting.add(task)
        task.add_done_callback(self._forgetting.discard)

    async def settle(self) -> None:
        await asyncio.gather(*self._forgetting)

    async def _forget(self, recovery_id: str) -> None:
        try:
            await self._store.forget(recovery_id)
        except StoreUnavailable as error:
            log.warning("recovery not forgotten", error=str(error))
