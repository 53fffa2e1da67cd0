"""A Redis or Valkey Cluster: each call goes to the node that has its key's slot.

What a node carries, it carries as a single server does (store/batcher.py): in pipelines, in bounded
time. Here is only which one: the slots as a node told them, set right by whoever answers that a key
is elsewhere (Redis Cluster specification, "Redirection and resharding").
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextvars import Context
from functools import partial
from typing import Any, Final, TypeVar

import structlog
from redis.asyncio import Redis
from redis.crc import key_slot

from gateways.store.batcher import Batcher
from gateways.store.connection import node
from gateways.store.errors import StoreUnavailable
from gateways.store.link import Refusal
from gateways.store.place import Address, Place
from gateways.store.resp import Argument, Command, first_of, pack, pack_packed_run, pack_run
from gateways.store.scripts import Script

log = structlog.get_logger(__name__)

T = TypeVar("T")

SLOTS: Final = 16384
#: A key is elsewhere, and there too; beyond this the cluster does not know itself.
MAX_HOPS: Final = 5
#: Between two looks at who has which slots.
LOOK_SECONDS: Final = 0.25
#: How long those who hang are waited for, where others have answered.
VIEW_SECONDS: Final = 1.0
#: Between two tries while a slot's keys are on two nodes.
SPLIT_SECONDS: Final = 0.05
#: Calls that are made at once: more would hold up the loop, and a node's batcher refuses far more.
AT_ONCE: Final = 512
#: What any node may do.
KEYLESS: Final = ("PING", "PUBLISH", "TIME")


class Cluster:
    """The same to its callers as a Batcher."""

    #: A script's keys must be of one slot, and each user has one.
    users_a_call = 1

    def __init__(
        self, place: Place, client: "Redis", *, timeout_seconds: float, fsync: bool = False
    ) -> None:
        """`client` is closed with it."""
        self._place = place
        self._client = client
        self._timeout_seconds = timeout_seconds
        self._fsync = fsync
        self._nodes: dict[Address, Batcher] = {}
        self._slots: list[Address | None] = [None] * SLOTS
        self._looking: asyncio.Task[None] | None = None
        self._retiring: set[asyncio.Task[None]] = set()
        self._closed = False
        self._loop = asyncio.get_running_loop()

    @property
    def waiting(self) -> int:
        return sum(batcher.waiting for batcher in self._nodes.values())

    async def call(self, *command: Argument) -> Any:
        if command[0] in KEYLESS:
            return await self._anywhere(command)
        return await self._routed(command[1], pack(command))

    async def call_all(self, commands: Sequence[Command]) -> list[Any]:
        """Those of one node go in their order."""
        return await _all([partial(self.call, *command) for command in commands])

    async def run(
        self, script: Script, keys: Sequence[str], *args: Argument, promises: bool = False
    ) -> Any:
        return await self._routed(keys[0], pack_run(script, keys, args), script, promises=promises)

    async def run_packed(
        self,
        script: Script,
        key_count: int,
        keys: Sequence[bytes],
        *args: Argument,
        promises: bool = False,
    ) -> Any:
        packed = pack_packed_run(script, key_count, keys, args)
        return await self._routed(first_of(keys[0]), packed, script, promises=promises)

    async def run_all(
        self, script: Script, calls: Sequence[tuple[Sequence[str], Sequence[Argument]]]
    ) -> list[Any]:
        return await _all([partial(self.run, script, keys, *args) for keys, args in calls])

    async def everywhere(self, *command: Argument) -> list[Any]:
        """The answers of all primaries."""
        if not any(self._slots):
            await self._look()
        primaries = [self._node(address) for address in sorted(self._owners())]
        return list(await asyncio.gather(*[batcher.call(*command) for batcher in primaries]))

    async def close(self) -> None:
        self._closed = True
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])
        await asyncio.gather(*[batcher.close() for batcher in self._nodes.values()])
        await asyncio.gather(*self._retiring)
        await self._client.aclose()

    # --- which node -------------------------------------------------------------------------------

    async def _routed(
        self,
        key: Argument,
        packed: bytes,
        script: Script | None = None,
        *,
        promises: bool = False,
    ) -> Any:
        """Raises StoreUnavailable, as where the slot's primary is gone and no replica of it has
        been promoted yet. A node that refers to another one has not carried the call out, nor has
        one that has some of a call's keys while their slot moves, which it says of those that are
        nowhere too.
        """
        slot = key_slot(key if isinstance(key, bytes) else str(key).encode())
        asking: Address | None = None
        hops, deadline = 0, self._loop.time() + self._timeout_seconds
        while hops < MAX_HOPS:
            address = asking or self._slots[slot] or await self._learn(slot)
            batcher = self._node(address)
            try:
                if asking is not None:
                    return await batcher.carry_asking(packed, script, promises=promises)
                return await batcher.carry(packed, script, promises=promises)
            except Refusal as refusal:
                if refusal.kind == "TRYAGAIN":
                    if self._loop.time() > deadline:
                        raise StoreUnavailable(f"Redis refuses: {refusal}") from None
                    await asyncio.sleep(SPLIT_SECONDS)
                    asking, hops = None, 0  # the move may be over
                    continue
                if refusal.kind not in {"MOVED", "ASK"}:
                    raise
                hops += 1
                there = _referred(refusal, address)
                asking = there if refusal.kind == "ASK" else None
                if refusal.kind == "MOVED":
                    self._slots[slot] = there
                    self._look_soon()
            except StoreUnavailable:
                self._look_soon()
                raise
        raise StoreUnavailable("The cluster's nodes do not agree who has a key.")

    async def _anywhere(self, command: Command) -> Any:
        if not any(self._slots):
            await self._look()
        # The one that answered last; one that does not is the last to be asked again.
        address, batcher = next(iter(self._nodes.items()))
        try:
            return await batcher.call(*command)
        except StoreUnavailable:
            if self._nodes.pop(address, None) is not None:
                self._nodes[address] = batcher
            self._look_soon()
            raise

    async def _learn(self, slot: int) -> Address:
        await self._look()
        address = self._slots[slot]
        if address is None:
            raise StoreUnavailable("No node of the cluster has the key's slot.")
        return address

    def _node(self, address: Address) -> Batcher:
        batcher = self._nodes.get(address)
        if batcher is None:
            if self._closed:
                raise StoreUnavailable("The gateway is shutting down.")
            batcher = self._nodes[address] = Batcher(
                node(address, self._place, timeout_seconds=self._timeout_seconds),
                timeout_seconds=self._timeout_seconds,
                fsync=self._fsync,
            )
        return batcher

    def _owners(self) -> set[Address]:
        return {address for address in self._slots if address is not None}

    # --- who has which slots ----------------------------------------------------------------------

    def _look_soon(self) -> None:
        """One look at a time, for all who found the last one out of date."""
        if self._looking is None and not self._closed:
            loop = asyncio.get_running_loop()
            self._looking = loop.create_task(self._look_later(), context=Context())

    async def _look_later(self) -> None:
        try:
            await asyncio.sleep(LOOK_SECONDS)
            await self._look()
        except StoreUnavailable as error:
            log.warning("cluster not seen", error=str(error))
        finally:
            self._looking = None

    async def _look(self) -> None:
        """Ask all nodes that are known at once: who is cut off from the others does not know of a
        fail-over, so the newest view counts. Raises StoreUnavailable where none answers.
        """
        known = dict.fromkeys([*self._nodes, *self._place.addresses])
        seen = await _in_time([self._view(address) for address in known])
        if not seen:
            raise StoreUnavailable("No node of the cluster answers.")
        _, slots = max(seen, key=lambda view: view[0])
        self._slots = slots
        # Replicas that the place names are asked again at the next look, so they stay.
        wanted = self._owners().union(self._place.addresses)
        for address in self._nodes.keys() - wanted:
            self._retire(self._nodes.pop(address))
        for address in self._owners():
            self._node(address)

    async def _view(self, address: Address) -> tuple[int, list[Address | None]] | None:
        """How new a node's view is, and whom it believes to have each slot; None of one that does
        not answer.
        """
        asked = self._node(address)
        try:
            info, ranges = await asyncio.gather(
                asked.call("CLUSTER", "INFO"), asked.call("CLUSTER", "SLOTS")
            )
        except (StoreUnavailable, Refusal):
            return None
        slots: list[Address | None] = [None] * SLOTS
        for first, last, (host, port, *_), *_replicas in ranges:
            # '' or nothing: the address by which it was asked (Redis, "CLUSTER SLOTS").
            owner = (host.decode() if host else address[0], int(port))
            slots[first : last + 1] = [owner] * (last + 1 - first)
        return _epoch(info), slots

    def _retire(self, batcher: Batcher) -> None:
        """What is under way there is answered first."""
        task = asyncio.get_running_loop().create_task(batcher.close(), context=Context())
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)


async def _all(calls: Sequence[Callable[[], Awaitable[Any]]]) -> list[Any]:
    results: list[Any] = []
    for start in range(0, len(calls), AT_ONCE):
        results += await asyncio.gather(*[call() for call in calls[start : start + AT_ONCE]])
    return results


async def _in_time(views: Sequence[Coroutine[Any, Any, T | None]]) -> list[T]:
    """What came within VIEW_SECONDS; where nothing did, all that comes."""
    asked = [asyncio.ensure_future(view) for view in views]
    try:
        for patience in (VIEW_SECONDS, None):
            await asyncio.wait(asked, timeout=patience)
            done = [view.result() for view in asked if view.done()]
            if seen := [view for view in done if view is not None]:
                return seen
        return []
    finally:
        for view in asked:
            view.cancel()


def _epoch(info: bytes) -> int:
    """The cluster's newest configuration that a node has heard of."""
    fields = dict(line.partition(b":")[::2] for line in info.splitlines())
    return int(fields.get(b"cluster_current_epoch", 0))


def _referred(refusal: Refusal, by: Address) -> Address:
    """As in "MOVED 3999 host:port"; without a host, the one that says so (Redis Cluster
    specification, "MOVED Redirection").
    """
    host, _, port = str(refusal).split()[2].rpartition(":")
    return host or by[0], int(port)
