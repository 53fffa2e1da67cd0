"""What nodes tell each other through the channel layer. Losing one costs time, never a message."""

import msgspec
from msgspec import Struct

#: A recipient, and the message's seq and epoch in its inbox.
Placed = tuple[str, int, str]


class MessageNudge(Struct, frozen=True, tag="m", array_like=True):
    """A message was stored at these recipients, whose sessions the addressed node holds.

    `accepted_us`: when its gateway took it, in µs since the epoch, by that machine's clock.
    """

    body: bytes
    recipients: list[Placed]
    accepted_us: int = 0


class StatusNudge(Struct, frozen=True, tag="s", array_like=True):
    """A user came or went; these watchers, who have sessions on that node, are to hear it."""

    user_id: str
    online: bool
    generation: int
    email: str | None
    last_seen_ms: int
    watchers: list[str]


class CloseNudge(Struct, frozen=True, tag="c", array_like=True):
    """A session, a user's or a service's, was ended from elsewhere: its socket is to be closed."""

    session_id: str
    code: int
    reason: str


class BroadcastNudge(Struct, frozen=True, tag="b", array_like=True):
    """A message for everybody who is here now. It is stored nowhere."""

    body: bytes


class TraceNudge(Struct, frozen=True, tag="t", array_like=True):
    """An operator traces this user: for a while the node is to report what happens to them."""

    user_id: str


class Echo(Struct, frozen=True, tag="e", array_like=True):
    """A node's word to itself: that it comes back shows that the node is not deaf."""

    count: int


Nudge = MessageNudge | StatusNudge | CloseNudge | BroadcastNudge | TraceNudge | Echo

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(list[Nudge]).decode
