"""The seam between wire formats and everything else: frames on one side, events on the other."""

from typing import Protocol

from msgspec import Raw, Struct

from gateways.protocol.errors import GatewayError
from gateways.protocol.events import Payload

#: What a client gives to tell replies apart; None where it wants none.
RequestId = int | str | None


class Inbound(Struct, frozen=True):
    """One request as it came: which event, its id, its data still encoded.

    `refusal`: the event and its id are clear, and yet it can't be served; this is to be answered.
    """

    event: str
    request_id: RequestId
    data: bytes | Raw
    refusal: GatewayError | None = None


class Codec(Protocol):
    """Stateless: one instance serves every socket that speaks the format. Frames are UTF-8 text."""

    #: So many in a row end the socket.
    max_invalid_frames: int
    #: Whether its clients recover by themselves, from what `greeting` and `message` give them.
    recovery: bool

    def decode(self, frame: str) -> Inbound:
        """Raises InvalidFrame."""

    def greeting(self, socket_id: str, recovery_id: str | None) -> bytes:
        """The first frame on a socket; empty where the format has none. `recovery_id` names what
        the client may recover should the connection end; None where it does not ask for that.
        """

    def reply(self, event: str, request_id: int | str, payload: Payload) -> bytes: ...

    def push(self, event: str, payload: Payload) -> bytes: ...

    def broadcast(self, recipient_id: str, body: bytes) -> bytes:
        """The push of a message that is stored nowhere, and so has no seq."""

    def message(self, recipient: bytes, epoch: str, seq: int, body: bytes) -> bytes:
        """The push of a stored message. The recipient's id and the MessageBody are JSON, spliced in
        as they are.
        """
