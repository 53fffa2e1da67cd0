"""What was sent, and what became of it: answered, delivered, lost, doubled, and how fast."""

import time
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from gateways.management.loadtest.wires import Answer


@dataclass(slots=True)
class Message:
    sender: int
    sent_at: float
    #: Who is still to get it.
    waiting: set[int]
    answered: bool = False


class Latencies:
    """In seconds, in the order in which they were seen."""

    def __init__(self) -> None:
        self.values = array("d")
        #: Where each second of the measurement begins in them; the last has not ended.
        self._seconds = [0]

    def next_second(self) -> None:
        self._seconds.append(len(self.values))

    def percentile(self, share: float) -> float | None:
        return percentile(self.values, share)

    def by_second(self, share: float) -> list[float | None]:
        return [percentile(self.values[start:end], share) for start, end in pairwise(self._seconds)]

    def last_second(self) -> Sequence[float]:
        return self.values[self._seconds[-1] :]


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that so many of them do not exceed; None where there are none."""
    if not values:
        return None
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


class Ledger:
    """Numbers each message, and closes its account once all is said: then its sender may go on."""

    def __init__(self) -> None:
        self._open: dict[int, Message] = {}
        self._next = 1
        self._refused: set[int] = set()
        self.delivery = Latencies()
        self.answer_time = Latencies()
        self.refused: Counter[str] = Counter()
        self.delivered = 0
        self.answered = 0
        #: Deliveries, or answers, of what had them already.
        self.doubled = 0
        self.measuring = False

    @property
    def sent(self) -> int:
        return self._next - 1

    @property
    def in_flight(self) -> int:
        return len(self._open)

    @property
    def missing(self) -> int:
        """Deliveries that are still to come; at the end, lost."""
        return sum(len(message.waiting) for message in self._open.values())

    @property
    def unanswered(self) -> int:
        return sum(not message.answered for message in self._open.values())

    def send(self, sender: int, recipients: Sequence[int]) -> int:
        number = self._next
        self._next += 1
        self._open[number] = Message(sender, time.perf_counter(), set(recipients))
        return number

    def deliver(self, number: int, recipient: int) -> int | None:
        """Returns the sender, where that was all."""
        message = self._open.get(number)
        if message is None or recipient not in message.waiting:
            # "unavailable" means unknown: such a message may arrive.
            self.doubled += number not in self._refused
            return None
        message.waiting.discard(recipient)
        self.delivered += 1
        if self.measuring:
            self.delivery.values.append(time.perf_counter() - message.sent_at)
        return self._close(number, message)

    def answer(self, answer: Answer) -> int | None:
        """Returns the sender, where that was all."""
        message = self._open.get(answer.number)
        if message is None or message.answered:
            self.doubled += 1
            return None
        message.answered = True
        self.answered += 1
        if self.measuring:
            self.answer_time.values.append(time.perf_counter() - message.sent_at)
        if answer.code:
            self.refused[answer.code] += 1
            self._refused.add(answer.number)
            message.waiting.clear()  # nobody was promised it
        return self._close(answer.number, message)

    def measure(self) -> None:
        """From here on the figures count: what was before was warming up."""
        self.measuring = True
        self.delivered = self.answered = 0
        self.delivery, self.answer_time = Latencies(), Latencies()

    def next_second(self) -> None:
        self.delivery.next_second()
        self.answer_time.next_second()

    def _close(self, number: int, message: Message) -> int | None:
        if message.waiting or not message.answered:
            return None
        del self._open[number]
        return message.sender
