"""What one Socket.IO connection does for its client to recover it (domain/recovery.py)."""

from contextlib import suppress

from msgspec import structs

from gateways.consumers.handshake import Handshake
from gateways.domain.recovery import Recoverable, Recoveries
from gateways.domain.tokens import TokenVerifier
from gateways.protocol.errors import AuthenticationFailed
from gateways.protocol.socketio import offset
from gateways.session import Identity, Session
from gateways.store.errors import StoreUnavailable
from gateways.store.records import Opened


class Recovery:
    def __init__(self, recoveries: Recoveries, tokens: TokenVerifier) -> None:
        self._recoveries = recoveries
        self._tokens = tokens
        #: What the client is told; None once it is given up.
        self.id: str | None = recoveries.new_id()
        self._kept: Recoverable | None = None

    async def find(self, handshake: Handshake) -> Recoverable | None:
        """Who the client was, and how far it came by its own account; None where nobody knows, or
        where its token now is another's, or none. Raises StoreUnavailable, Unavailable.
        """
        if handshake.recovery_id is None:
            return None
        was = await self._recoveries.find(handshake.recovery_id)
        if was is None:
            return None
        if handshake.token:
            try:
                identity = await self._tokens.verify(handshake.token)
            except AuthenticationFailed:
                return None
            if identity.user_id != was.identity.user_id:
                return None
            was = structs.replace(was, identity=identity)
        if handshake.offset:
            epoch, seq = offset(handshake.offset) or ("", 0)
            was = structs.replace(was, epoch=epoch, seq=seq)
        return was

    async def keep(self, session: Session, device_id: str | None, opened: Opened) -> None:
        """Where the store does not take it, the client authenticates anew should it come back."""
        self._kept = Recoverable(session.identity, device_id, opened.epoch, opened.position)
        await self._keep(self._kept)

    async def renew(self, identity: Identity) -> None:
        """It is worth what the newest token is. Where the session began stays as it was."""
        if self._kept is not None:
            self._kept = structs.replace(self._kept, identity=identity)
            await self._keep(self._kept)

    async def _keep(self, recoverable: Recoverable) -> None:
        if self.id is not None:
            with suppress(StoreUnavailable):
                await self._recoveries.keep(self.id, recoverable)

    def give_up(self) -> None:
        """The client said goodbye, or is sent away for good."""
        if self.id is not None:
            self._recoveries.forget(self.id)
            self.id = None
