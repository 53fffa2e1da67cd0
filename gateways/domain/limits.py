"""How much of the gateway one socket, one user and one address may take.

What one process can judge is judged here, in a microsecond. What must hold for a user on all nodes
together is drawn from the store's buckets in portions.
"""

import time
from collections import OrderedDict
from ipaddress import ip_address, ip_network
from math import inf
from typing import Final

from gateways import metrics
from gateways.protocol.errors import CloseCode, RateLimited
from gateways.store.limits import LimitStore, Rate

#: Portions that a user's bucket is drawn in: one message in so many of a full one waits for Redis.
PORTIONS: Final = 20
#: Users, and addresses, that are remembered: the longest silent one is forgotten first.
MAX_KNOWN: Final = 100_000
#: Refused frames in a row after which a socket is not told any more, but closed.
MAX_REFUSED: Final = 100

#: Where somebody must go before another may come.
BUSY_SECONDS: Final = 5.0
#: Most who share an address, or have a session too many, behave: all may come back.
LATER: Final = CloseCode.UNAVAILABLE
#: The scope's extension that holds the pace of a socket which is more than one consumer's, and has
#: come in by the door.
PACE_EXTENSION: Final = "scarfall.pace"


#: What sums of a clock's seconds are wrong by, and more: a full bucket has its last token, too.
ROUNDING_SECONDS: Final = 1e-6


class Bucket:
    """Tokens of one process. Kept as the moment at which it is full again (the generic cell rate
    algorithm, ITU-T I.371), so that nothing has to fill it. What is larger than a bucket takes a
    full one.
    """

    __slots__ = ("_full_at", "_rate", "_token_seconds")

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._token_seconds = rate.seconds / rate.count
        self._full_at = 0.0

    def wait(self) -> float:
        """In how many seconds there is a token; 0.0: now."""
        now = time.monotonic()
        missing = max(self._full_at, now) + self._token_seconds - now - self._rate.seconds
        return missing if missing > ROUNDING_SECONDS else 0.0

    def take(self, tokens: int = 1) -> float:
        """Take so many, or none where there are too few. Returns 0.0, or in how many seconds there
        are so many.
        """
        now = time.monotonic()
        full_at = max(self._full_at, now) + min(tokens, self._rate.count) * self._token_seconds
        missing = full_at - now - self._rate.seconds
        if missing > ROUNDING_SECONDS:
            return missing
        self._full_at = full_at
        return 0.0


class Pace:
    """How fast one socket may send frames, and bytes."""

    def __init__(self, frames: Rate | None, frame_bytes: Rate | None) -> None:
        self._frames = Bucket(frames) if frames else None
        self._bytes = Bucket(frame_bytes) if frame_bytes else None
        self._refused = 0

    @property
    def abused(self) -> bool:
        """Whether its peer goes on and on, whatever it is told."""
        return self._refused >= MAX_REFUSED

    def take(self, size: int) -> RateLimited | None:
        """A frame of so many bytes came. Returns why it is not served."""
        wait = self._frames.take() if self._frames else 0.0
        if not wait and self._bytes:
            wait = self._bytes.take(size)
        if not wait:
            self._refused = 0
            return None
        self._refused += 1
        return too_much("frames", "This socket sends too much.", wait)


class Allowances:
    """How many messages, to how many recipients, a user may send, on all nodes together.

    A node draws portions of the user's buckets in the store and spends them without asking again.
    """

    def __init__(
        self, store: LimitStore, *, messages: Rate | None, recipients: Rate | None
    ) -> None:
        self._store = store
        self._rates = {
            name: rate
            for name, rate in (("messages", messages), ("recipients", recipients))
            if rate is not None
        }
        #: User → what is left of the portions that were drawn; infinity of what has no rate.
        self._left: OrderedDict[str, dict[str, float]] = OrderedDict()

    def spend_drawn(self, user_id: str, recipients: int) -> bool:
        """Spend of what is drawn already, as `spend` would, without its coroutines: 2 µs less.
        False, and nothing spent: it is too little.
        """
        if not self._rates:
            return True
        left = self._left.get(user_id)
        if left is None or left["messages"] < 1 or left["recipients"] < recipients:
            return False
        left["messages"] -= 1
        left["recipients"] -= recipients
        self._left.move_to_end(user_id)
        return True

    async def spend(self, user_id: str, recipients: int) -> None:
        """Raises RateLimited; StoreUnavailable."""
        if not self._rates:
            return
        left = self._known(user_id)
        wanted = {"messages": 1, "recipients": recipients}
        for name, rate in self._rates.items():
            wanted[name] = min(wanted[name], rate.count)
            while left[name] < wanted[name]:
                portion = max(wanted[name], rate.count // PORTIONS)
                wait_ms = await self._store.take(name, user_id, rate, portion)
                if wait_ms:
                    raise too_much(name, f"Too many {name}.", wait_ms / 1000)
                left[name] += portion
        for name in self._rates:
            left[name] -= wanted[name]

    def _known(self, user_id: str) -> dict[str, float]:
        left = self._left.get(user_id)
        if left is None:
            left = {"messages": inf, "recipients": inf} | dict.fromkeys(self._rates, 0.0)
            self._left[user_id] = left
            if len(self._left) > MAX_KNOWN:
                self._left.popitem(last=False)
        else:
            self._left.move_to_end(user_id)
        return left


class Door:
    """Which addresses may open sockets, and how fast clients may authenticate.

    An address of IPv6 is its /64, which one peer has to itself (RFC 6177).
    """

    def __init__(
        self,
        *,
        connections: Rate | None,
        at_once: int,
        failed_tokens: Rate | None,
        admissions: Rate | None,
    ) -> None:
        """`at_once` 0: as many as it likes. `admissions` are of everybody together."""
        self._connections = connections
        self._at_once = at_once
        self._failed_tokens = failed_tokens
        self._admissions = Bucket(admissions) if admissions else None
        self._open: dict[str, int] = {}
        self._came: OrderedDict[str, Bucket] = OrderedDict()
        self._failed: OrderedDict[str, Bucket] = OrderedDict()

    def enter(self, address: str) -> RateLimited | None:
        """A socket opened: to be followed by `leave`. Returns why it is to come back later."""
        peer = peer_of(address)
        count = self._open.get(peer, 0)
        self._open[peer] = count + 1
        if not peer:  # a UNIX socket, or a server that does not say
            return None
        if self._at_once and count >= self._at_once:
            sentence = "This address has too many connections."
            return too_much("address_connections", sentence, BUSY_SECONDS, LATER)
        if (failed := self._failed.get(peer)) and (wait := failed.wait()):
            sentence = "Too many bad tokens came from this address."
            return too_much("failed_tokens", sentence, wait, LATER)
        if self._connections and (wait := bucket_of(self._came, peer, self._connections).take()):
            return too_much("connections", "Too many come at once from this address.", wait, LATER)
        return None

    def leave(self, address: str) -> None:
        peer = peer_of(address)
        self._open[peer] -= 1
        if not self._open[peer]:
            del self._open[peer]

    def note_failure(self, address: str) -> None:
        """A token was refused."""
        if self._failed_tokens and (peer := peer_of(address)):
            bucket_of(self._failed, peer, self._failed_tokens).take()

    def admit(self) -> None:
        """A client begins a session. Raises RateLimited, which ends its socket: many at once are
        to come one after the other, so that those who are in notice nothing.
        """
        if self._admissions and (wait := self._admissions.take()):
            raise too_much("admissions", "Too many clients come at once.", wait, LATER)


def frame_size(frame: str | bytes) -> int:
    """In bytes. Of a text that is ASCII, as most are, it takes no look at it."""
    return len(frame if isinstance(frame, bytes) or frame.isascii() else frame.encode())


def too_much(
    limit: str, sentence: str, wait_seconds: float, close_code: CloseCode | None = None
) -> RateLimited:
    """The refusal, counted. `limit` is which one was met."""
    metrics.rate_limited.add(limit)
    wait_ms = int(wait_seconds * 1000) + 1
    return RateLimited(sentence, retry_after_ms=wait_ms, close_code=close_code)


def bucket_of(buckets: OrderedDict[str, Bucket], peer: str, rate: Rate) -> Bucket:
    """The peer's; made where there is none, for which the longest silent one is forgotten."""
    bucket = buckets.get(peer)
    if bucket is None:
        bucket = buckets[peer] = Bucket(rate)
        if len(buckets) > MAX_KNOWN:
            buckets.popitem(last=False)
    else:
        buckets.move_to_end(peer)
    return bucket


def peer_of(address: str) -> str:
    """Whom an address belongs to."""
    try:
        peer = ip_address(address.partition("%")[0])
    except ValueError:  # no address: '' or whatever a proxy wrote
        return address
    if peer.version == 6 and peer.ipv4_mapped is None:
        return str(ip_network((peer, 64), strict=False))
    return str(peer.ipv4_mapped if peer.version == 6 else peer)
