"""What was sent, answered and received under a fault, and the one judge over it."""

import itertools
import time
from collections import defaultdict
from dataclasses import dataclass, field

AWAY = "away"


@dataclass
class Sent:
    """One message of one sender, which knows no other way than to send it until it is answered."""

    message_id: str
    sender: int
    number: int
    recipients: tuple[str, ...]
    begun: float = field(default_factory=time.monotonic)
    answered: float | None = None
    accepted: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Received:
    message_id: str
    epoch: str
    seq: int
    at: float


@dataclass
class Arrival:
    """A `connected` that a recipient got."""

    epoch: str
    seq: int
    recovered: bool
    missed: int
    reason: str | None
    resumed: bool


class Record:
    def __init__(self) -> None:
        self.sent: dict[str, Sent] = {}
        self.received: defaultdict[str, list[Received]] = defaultdict(list)
        self.arrivals: defaultdict[str, list[Arrival]] = defaultdict(list)
        #: Watcher → friend → what it heard of it, in order; AWAY where the watcher came back
        #: itself, and may have missed something.
        self.heard: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(
            lambda: defaultdict(list)
        )
        self.refusals: defaultdict[str, int] = defaultdict(int)
        #: How long each client was away, in seconds, each time that it came back.
        self.absences: list[float] = []

    @property
    def answered(self) -> int:
        return sum(sent.answered is not None for sent in self.sent.values())

    @property
    def transitions(self) -> int:
        """How often anybody heard that a friend came or went."""
        return sum(
            status != AWAY
            for friends in self.heard.values()
            for statuses in friends.values()
            for status in statuses
        )

    def outstanding(self) -> dict[str, set[str]]:
        """Recipient → ids that it was promised and has not received."""
        promised: defaultdict[str, set[str]] = defaultdict(set)
        for sent in self.sent.values():
            for recipient in sent.accepted:
                promised[recipient].add(sent.message_id)
        missing = {
            recipient: ids - {received.message_id for received in self.received[recipient]}
            for recipient, ids in promised.items()
        }
        return {recipient: ids for recipient, ids in missing.items() if ids}

    def doubled(self) -> int:
        """Messages that a recipient got more than once."""
        return sum(
            len(received) - len({message.message_id for message in received})
            for received in self.received.values()
        )

    def worst_answer_seconds(self) -> float:
        """The longest that a message took from its first sending to its answer."""
        waits = [sent.answered - sent.begun for sent in self.sent.values() if sent.answered]
        return max(waits, default=0.0)

    def worst_delivery_seconds(self) -> float:
        """The longest that an accepted message took from its answer to a recipient."""
        waits = [
            received.at - sent.answered
            for messages in self.received.values()
            for received in messages
            if (sent := self.sent[received.message_id]).answered
        ]
        return max(waits, default=0.0)

    def delivery_seconds(self, since: float, until: float) -> list[float]:
        """What each delivery of a message took that was sent between two monotonic moments, from
        its sending, the shortest first.
        """
        return sorted(
            received.at - sent.begun
            for messages in self.received.values()
            for received in messages
            if since <= (sent := self.sent[received.message_id]).begun < until
        )

    # --- the judge --------------------------------------------------------------------------------

    def faults(self, *, may_lose: bool = False, may_repeat: bool = False) -> list[str]:
        """Every breach of what is promised, in words; none is right.

        `may_lose`: the store lost its data, and with them which messages it had.
        What a new epoch began is then held to the same; but what came before and was not answered
        yet is sent again, and comes again. `may_repeat`: it lost the last of them, so that the new
        epoch begins with those that it still had.
        """
        found = [f"never answered: {s.message_id}" for s in self.sent.values() if not s.answered]
        if not may_lose:
            for recipient, ids in self.outstanding().items():
                found.append(f"{recipient}: lost {len(ids)}, as {min(ids)}")
        for recipient, received in self.received.items():
            found += self._judge(recipient, received, may_lose=may_lose, may_repeat=may_repeat)
        for watcher, friends in self.heard.items():
            for friend, statuses in friends.items():
                if any(a == b for a, b in itertools.pairwise(statuses)):
                    found.append(f"{watcher}: of {friend} heard {statuses}")
        return found

    def _judge(
        self, recipient: str, received: list[Received], *, may_lose: bool, may_repeat: bool
    ) -> list[str]:
        found = []
        seen: dict[str, Received] = {}
        newest: dict[int, int] = {}
        epochs: list[str] = []
        last_seq = 0
        for message in received:
            sent = self.sent.get(message.message_id)
            if sent is None or recipient not in sent.recipients:
                found.append(f"{recipient}: got {message.message_id}, which is not for it")
                continue
            if not epochs or message.epoch != epochs[-1]:
                if message.epoch in epochs:
                    found.append(f"{recipient}: epoch {message.epoch} came back")
                epochs.append(message.epoch)
                if may_repeat:
                    seen.clear()
                    newest.clear()
            elif message.seq != last_seq + 1:
                found.append(f"{recipient}: seq {message.seq} after {last_seq}")
            first = seen.setdefault(message.message_id, message)
            if first is not message and not (may_lose and self._forgotten(first, message, sent)):
                found.append(f"{recipient}: got {message.message_id} again")
            if newest.get(sent.sender, -1) > sent.number:
                found.append(f"{recipient}: {message.message_id} came late")
            newest[sent.sender] = max(newest.get(sent.sender, -1), sent.number)
            last_seq = message.seq
        return found

    @staticmethod
    def _forgotten(first: Received, again: Received, sent: Sent) -> bool:
        """Whether the store lost the message between the two, before its sender had an answer."""
        answered_later = sent.answered is not None and sent.answered > first.at
        return first.epoch != again.epoch and answered_later
