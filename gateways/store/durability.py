"""What a message that Redis has taken survives: what DURABILITY asks for, and the server gives."""

from enum import StrEnum
from typing import Final

import structlog

from gateways.store.calls import Caller

log = structlog.get_logger(__name__)

#: Under any other policy a full server throws away inboxes, all of which have a time to live
#: (Redis, "Key eviction").
SAFE_POLICY: Final = "noeviction"


class Durability(StrEnum):
    #: Nothing: a server that ends has forgotten it.
    MEMORY = "memory"
    #: The death of the server: it is in the append-only file, and with the kernel.
    PROCESS = "process"
    #: A power cut too: it was on the disk before the sender was answered.
    FSYNC = "fsync"


class DurabilityStore:
    def __init__(self, redis: Caller, *, asked: Durability) -> None:
        self._redis = redis
        self._asked = asked
        #: What the server gave when it was last looked at; None before.
        self.given: Durability | None = None

    async def refusal(self) -> str | None:
        """Look at the server. Returns why messages are not safe with it, in a sentence, or None.

        Raises StoreUnavailable where it does not answer.
        """
        persistence = await self._redis.everywhere("INFO", "persistence")
        memory = await self._redis.everywhere("INFO", "memory")
        kept = all(_fields(answer).get("aof_enabled") == "1" for answer in persistence)
        self._note(self._asked if kept else Durability.MEMORY)
        for answer in memory:
            policy = _fields(answer).get("maxmemory_policy", SAFE_POLICY)
            if policy != SAFE_POLICY:
                return f"the store may throw messages away: its maxmemory-policy is {policy}"
        if self._asked is Durability.FSYNC and self.given is not Durability.FSYNC:
            return "DURABILITY is fsync, and the store keeps no append-only file"
        return None

    def _note(self, given: Durability) -> None:
        if given is not self.given and given is not self._asked:
            log.warning("the store keeps less than was asked for", asked=self._asked, given=given)
        self.given = given


def _fields(info: bytes) -> dict[str, str]:
    """INFO's answer has a `name:value` on each line."""
    return dict(line.partition(":")[::2] for line in info.decode().splitlines())
