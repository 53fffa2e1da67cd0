"""The seam between wire formats and everything else: frames on one side, events on the other."""

from typing import Protocol

from msgspec import Raw, Struct

from gateways.protocol.events import Payload

#: What a client gives to tell replies apart; None where it wants none.
RequestId = int | str | None


class Inbound(Struct, frozen=True):
    """One request as it came: which event, its id, its data still encoded."""

    event: str
    request_id: RequestId
    data: bytes | Raw


class Codec(Protocol):
    """Stateless: one instance serves every socket that speaks the format. Frames are UTF-8 text."""

    def decode(self, frame: str) -> Inbound:
        """Raises InvalidFrame."""

    def reply(self, event: str, request_id: int | str, payload: Payload) -> bytes: ...

    def push(self, event: str, payload: Payload) -> bytes: ...

    def broadcast(self, recipient_id: str, body: bytes) -> bytes:
        """The push of a message that is stored nowhere, and so has no seq."""

    def message(self, recipient_id: str, seq: int, body: bytes) -> bytes:
        """The push of a stored message. `body` is a MessageBody as JSON, spliced in as it is."""
