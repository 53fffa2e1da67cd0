"""What was promised and what came, in a size that does not grow with the time.

Every message to a user comes from this load. So those that were accepted are as many as the user's
`seq`; each device has to see every `seq` once, one after the other, however often it comes back;
and of each sender only what was sent later.
"""

import json
from collections import Counter, defaultdict
from typing import Any, Final

MOST_FAULTS: Final = 20


class Record:
    def __init__(self) -> None:
        #: How often what was done.
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        #: Messages to each user that were answered `sent` or `queued`.
        self.accepted: Counter[str] = Counter()

    def fault(self, what: str) -> None:
        self.counts["faults"] += 1
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(what)

    def answered(self, receipt: Any, *, repeated: bool = False) -> None:
        """A message's receipt came."""
        recipients = receipt.get("recipients")
        if recipients is None or recipients["failed"]:
            self.fault(f"not accepted: {json.dumps(receipt)[:300]}")
            return
        self.counts["messages"] += 1
        if not repeated:
            self.accepted.update(recipients["sent"] + recipients["queued"])


class Place:
    """How far one device of a user has come."""

    def __init__(self, record: Record, user_id: str, device_id: str) -> None:
        self.user_id = user_id
        self.device_id = device_id
        self.epoch = ""
        self.seq = 0
        self._record = record
        self._newest: defaultdict[str, int] = defaultdict(int)

    @property
    def resume(self) -> dict[str, Any]:
        return {"resume": {"epoch": self.epoch, "seq": self.seq}} if self.epoch else {}

    def connected(self, data: Any) -> None:
        begins = data["seq"] - data["missed"]
        if not self.epoch:
            self.epoch, self.seq = data["epoch"], begins
        elif not data["recovered"] or (data["epoch"], begins) != (self.epoch, self.seq):
            self._record.fault(f"{self.device_id}: not recovered at {self.seq}: {data}")
            self.epoch, self.seq = data["epoch"], begins

    def message(self, data: Any) -> None:
        if "seq" not in data:
            self._record.counts["broadcasts"] += 1
            return
        self._record.counts["deliveries"] += 1
        sender, number, _ = data["message"].split(" ", 2)
        if data["seq"] != self.seq + 1:
            self._record.fault(f"{self.device_id}: seq {data['seq']} after {self.seq}")
        if int(number) <= self._newest[sender]:
            self._record.fault(f"{self.device_id}: {sender}'s {number} came late, or again")
        self.seq, self._newest[sender] = data["seq"], int(number)
