"""How often passwords may be tried at the admin.

There is no bucket of a name alone: whoever knows an operator's name could keep them out by it. What
is counted is who tries: an address, and more closely what it tries for one name.
"""

from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from gateways.domain.limits import Bucket, bucket_of, peer_of
from gateways.store.limits import LimitStore, Rate

#: Those who share an address, as an office's, may be wrong so many times as often together.
SHARING: Final = 5


@dataclass(frozen=True, slots=True)
class Attempt:
    """A password from an address for a name. Names that differ in case only are one: who guesses
    gains nothing by it.
    """

    address: str
    name: str

    def buckets(self, rate: Rate) -> list[tuple[str, str, Rate]]:
        """Name, subject and rate of each. Some type their password where the name goes: the store
        does not get to see it.
        """
        who = sha256(self.name.strip().casefold().encode()).hexdigest()[:32]
        peer = peer_of(self.address)
        shared = Rate(rate.count * SHARING, rate.seconds)
        return [("login", f"{peer} {who}", rate), ("logins", peer, shared)]


class Logins:
    """At all processes together. Its calls raise StoreUnavailable."""

    def __init__(self, limits: LimitStore, rate: Rate | None) -> None:
        """`rate` of wrong passwords from one address for one name; None: any number."""
        self._limits = limits
        self._rate = rate

    async def take(self, attempt: Attempt) -> float:
        """Before it is known whether the password is right: any number may come at once. Returns
        0.0, or in how many seconds another may be tried.
        """
        taken: list[tuple[str, str, Rate]] = []
        for bucket in attempt.buckets(self._rate) if self._rate else ():
            wait_ms = await self._limits.take(*bucket)
            if wait_ms:
                for other in taken:
                    await self._limits.put_back(*other)
                return wait_ms / 1000
            taken.append(bucket)
        return 0.0

    async def put_back(self, attempt: Attempt) -> None:
        """The password was right."""
        for bucket in attempt.buckets(self._rate) if self._rate else ():
            await self._limits.put_back(*bucket)


class LocalLogins:
    """At one process, while the store is away: right passwords count as well."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, attempt: Attempt, rate: Rate) -> float:
        """As `Logins.take`."""
        return max(
            bucket_of(self._buckets, f"{name} {subject}", each).take()
            for name, subject, each in attempt.buckets(rate)
        )
