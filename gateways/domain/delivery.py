"""From a request to every recipient's inbox, and what became of it for each."""

import itertools
import secrets
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import Struct

from gateways import metrics
from gateways.domain.limits import Allowances
from gateways.mailbox import Mailbox
from gateways.nudges import BroadcastNudge, MessageNudge, Placed
from gateways.protocol.errors import TooLarge, TooManyRecipients
from gateways.protocol.events import (
    MessageBody,
    Receipt,
    Recipients,
    SendMessage,
    now_ms,
    timestamp,
)
from gateways.protocol.internal_events import Broadcast, SendServiceMessage
from gateways.session import ServiceIdentity
from gateways.store.inbox import InboxStore, Stored
from gateways.store.keys import Keys
from gateways.store.nodes import NodeStore
from gateways.trail import Trail

#: What only the server may say about a message: a sender's own words under these names are dropped.
RESERVED_METADATA: Final = ("source", "serviceName", "serviceType", "timestamp")

_encode = msgspec.json.Encoder().encode
_decode_receipt = msgspec.json.Decoder(Receipt).decode


class Sender(Struct, frozen=True):
    """Who a message is from. `key` tells senders apart where their message ids are compared."""

    key: str
    user_id: str | None
    provenance: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.user_id or f"service {self.provenance['serviceName']}"

    @classmethod
    def user(cls, user_id: str) -> "Sender":
        return cls(user_id, user_id, {"source": "user"})

    @classmethod
    def service(cls, service: ServiceIdentity) -> "Sender":
        return cls(
            # No user's id has a control character.
            f"\0{service.name}",
            None,
            {
                "source": "internal_service",
                "serviceName": service.name,
                "serviceType": service.type,
                "metadata": service.metadata,
            },
        )


class Delivery:
    def __init__(
        self,
        inbox: InboxStore,
        nodes: NodeStore,
        mailbox: Mailbox,
        allowances: Allowances,
        trail: Trail,
        *,
        max_message_bytes: int,
        max_recipients: int,
    ) -> None:
        self._inbox = inbox
        self._nodes = nodes
        self._mailbox = mailbox
        self._allowances = allowances
        self._trail = trail
        self._max_message_bytes = max_message_bytes
        self._max_recipients = max_recipients

    async def send(self, sender: Sender, request: SendMessage | SendServiceMessage) -> Receipt:
        """Store the message at each recipient, nudge the nodes that hold them, and say what became
        of it.

        Raises TooManyRecipients, TooLarge, RateLimited: nothing was done. StoreUnavailable:
        unknown; the same message id may be sent again, and is then stored where it was not, and
        nowhere twice.
        """
        recipients = list(dict.fromkeys(request.recipient_ids))
        if len(recipients) > self._max_recipients:
            raise TooManyRecipients(
                f"recipientIds: expected at most {self._max_recipients}, got {len(recipients)}"
            )
        accepted_us = time.time_ns() // 1000
        accepted_ms = accepted_us // 1000
        accepted = timestamp(accepted_ms)
        message_id = request.message_id or uuid7(accepted_ms)
        body = self._body(sender, request, message_id, accepted)
        repeat_key = None
        if request.message_id is not None:
            earlier = await self._inbox.first_receipt(sender.key, message_id)
            if earlier is not None:
                if self._trail.on:
                    self._trail.note("sent again", sender.user_id, message_id=message_id)
                return _decode_receipt(earlier)
            repeat_key = Keys.repeat_key(sender.key, message_id)
        # What is stored counts: a long message as several to each.
        user_id, count = sender.user_id, len(recipients) * (1 + len(body) // 1024)
        # A service may send as much as it likes.
        if user_id is not None and not self._allowances.spend_drawn(user_id, count):
            await self._allowances.spend(user_id, count)
        stored = await self._inbox.deliver(
            recipients, body, repeat_key=repeat_key, new_epoch=new_epoch()
        )
        if self._trail.on:
            self._note(sender, message_id, stored)
        self._nudge(body, stored, accepted_us)
        receipt = _counted(_receipt(message_id, stored, accepted))
        if repeat_key is None or receipt.recipients.failed:  # who failed may be tried again
            return receipt
        kept = await self._inbox.keep_receipt(sender.key, message_id, _encode(receipt))
        return _decode_receipt(kept)

    async def broadcast(self, sender: Sender, request: Broadcast) -> None:
        """To everybody who is online now. It is stored nowhere, and nobody can ask for it later.

        Raises TooLarge, StoreUnavailable: nothing was done.
        """
        accepted_ms = now_ms()
        body = self._body(sender, request, uuid7(accepted_ms), timestamp(accepted_ms))
        for node_id in await self._nodes.all():
            self._mailbox.send(node_id, BroadcastNudge(body))

    def _body(
        self,
        sender: Sender,
        request: SendMessage | SendServiceMessage | Broadcast,
        message_id: str,
        accepted: str,
    ) -> bytes:
        metadata = {**sender.provenance, "timestamp": accepted}
        if request.metadata:
            own = {
                name: value
                for name, value in request.metadata.items()
                if name not in RESERVED_METADATA
            }
            metadata = own | metadata
        body = _encode(MessageBody(message_id, sender.user_id, request.message, metadata))
        if len(body) > self._max_message_bytes:
            raise TooLarge(
                f"The message with its metadata is {len(body)} bytes as JSON; "
                f"at most {self._max_message_bytes} are taken."
            )
        return body

    def _note(self, sender: Sender, message_id: str, stored: Sequence[Stored]) -> None:
        """Of the sender once, and of each recipient."""
        if self._trail.watches(sender.user_id):
            became = _receipt(message_id, stored, "").recipients
            self._trail.note(
                "sent",
                sender.user_id,
                message_id=message_id,
                sent=len(became.sent),
                queued=len(became.queued),
                failed=len(became.failed),
            )
        for outcome in stored:
            if self._trail.watches(outcome.user_id):
                kept = "stored" if outcome.live else "queued"  # nobody is here
                self._trail.note(
                    kept if outcome.seq else "not stored",
                    outcome.user_id,
                    message_id=message_id,
                    seq=outcome.seq,
                    epoch=outcome.epoch,
                    nodes=" ".join(outcome.nodes),
                    sender=sender.name,
                )

    def _nudge(self, body: bytes, stored: Sequence[Stored], accepted_us: int) -> None:
        by_node: defaultdict[str, list[Placed]] = defaultdict(list)
        for outcome in stored:
            for node_id in outcome.nodes:
                by_node[node_id].append((outcome.user_id, outcome.seq, outcome.epoch))
        for node_id, placed in by_node.items():
            self._mailbox.send(node_id, MessageNudge(body, placed, accepted_us))


def _receipt(message_id: str, stored: Sequence[Stored], accepted: str) -> Receipt:
    sent: list[str] = []
    queued: list[str] = []
    failed: list[str] = []
    for outcome in stored:
        became = failed if not outcome.seq else sent if outcome.live else queued
        became.append(outcome.user_id)
    return Receipt(
        status="sent" if sent or queued else "error",
        message_id=message_id,
        recipients=Recipients(total=len(stored), sent=sent, queued=queued, failed=failed),
        timestamp=accepted,
    )


def _counted(receipt: Receipt) -> Receipt:
    recipients = receipt.recipients
    metrics.messages_accepted.add()
    metrics.recipients.add("sent", len(recipients.sent))
    if recipients.queued or recipients.failed:
        metrics.recipients.add("queued", len(recipients.queued))
        metrics.recipients.add("failed", len(recipients.failed))
    return receipt


def new_epoch() -> str:
    """A name for the life of a count that begins: the store takes it only where there is none."""
    return f"{_LIFE}-{next(_epochs):x}"


def uuid7(ms: int) -> str:
    """RFC 9562, section 5.7: 48 bits of Unix time in ms, version, 12 bits, variant, 62 bits.

    Of the last two, 26 bits are this process's, the others a counter that began by chance
    (section 6.2, method 2).
    """
    return f"{_moment(ms)}-{next(_sequence) & (2**48 - 1):012x}"


@lru_cache(maxsize=256)
def _moment(ms: int) -> str:
    """All of the ids of one millisecond but their counter."""
    when = f"{ms & (2**48 - 1):012x}"
    return f"{when[:8]}-{when[8:]}-7{_PROCESS[:3]}-{_VARIANT}{_PROCESS[3:]}"


#: Unique names without asking the system for randomness each time, which takes longer than all the
#: rest of a name.
_sequence = itertools.count(secrets.randbits(48))
_PROCESS: Final = secrets.token_hex(3)
_VARIANT: Final = "89ab"[secrets.randbits(2)]
_LIFE: Final = f"{now_ms():x}{_PROCESS}"
_epochs = itertools.count()
