"""One pipeline a turn of the event loop, instead of one round trip a call.

Calls that are made in the same turn leave together; while MAX_IN_FLIGHT pipelines are under way the
next ones gather, which makes the batches larger the busier the process is. A batch costs no task
and no timer of its own, only the write, the read and a future for each call (store/link.py).
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateways import metrics
from gateways.store.calls import Pending, answer, resolve
from gateways.store.errors import StoreUnavailable
from gateways.store.lane import Lane
from gateways.store.link import Link, LinkLost, Refusal
from gateways.store.resp import Argument, Command, pack, pack_packed_run, pack_run
from gateways.store.scripts import Script

#: Two keep Redis busy while replies are read; more only make the batches smaller.
MAX_IN_FLIGHT: Final = 2
MAX_BATCH: Final = 512
#: Before a second connection is tried again, while the first serves.
REST_SECONDS: Final = 1.0
#: Beyond this many waiting calls Redis is not keeping up, and a quick refusal is kinder than a late
#: one.
MAX_WAITING: Final = 20_000

#: Users whom one script call is about: Redis is not held for longer than about half a millisecond.
USERS_A_CALL: Final = 100

A_REPLICA: Final = "The server is a replica now."

_ASKING: Final = pack(("ASKING",))


class Batcher:
    """Carries out Redis commands in batches. Await one call before another that must follow it.

    Every call is answered within `timeout_seconds` of being sent: with its result as Redis has it,
    with StoreUnavailable, which says nothing about whether it was carried out, or with the Refusal
    that Redis gave for this one call. Nothing is repeated, except scripts that Redis said it did
    not know, and so did not run.

    With `fsync`, calls that make a promise to somebody are answered once their writes are on the
    server's disk. WAITAOF speaks of the writes of its own connection (Valkey, "WAITAOF"), so it
    goes at the end of the same pipeline, once for all that are in it.
    """

    users_a_call = USERS_A_CALL

    def __init__(self, redis: "Redis", *, timeout_seconds: float, fsync: bool = False) -> None:
        # Asked for once: each time is a system call until Python 3.12.
        self._loop = asyncio.get_running_loop()
        self._redis = redis
        self._fsync = fsync
        self._timeout_seconds = timeout_seconds
        # Its own time-out ends first, so that the rest of the batch has its results all the same.
        self._wait = pack(("WAITAOF", 1, 0, int(timeout_seconds * 800)))
        self._waiting: deque[Pending] = deque()
        self._waiting_commands = 0
        self._lanes = [
            Lane(self._loop, timeout_seconds=timeout_seconds) for _ in range(MAX_IN_FLIGHT)
        ]
        self._scheduled = False
        self._closed = False
        self._idle = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Calls that wait for a connection."""
        return self._waiting_commands

    # Futures, not coroutines, which each message would have to be woken through.

    def call(self, *command: Argument) -> asyncio.Future[Any]:
        return self._enqueue(Pending(pack(command), self._loop.create_future()))

    async def call_all(self, commands: Sequence[Command]) -> list[Any]:
        results: list[Any] = []
        for start in range(0, len(commands), MAX_BATCH):
            some = [pack(command) for command in commands[start : start + MAX_BATCH]]
            pending = Pending(
                b"".join(some), self._loop.create_future(), count=len(some), together=True
            )
            results += await self._enqueue(pending)
        return results

    def run(
        self, script: Script, keys: Sequence[str], *args: Argument, promises: bool = False
    ) -> asyncio.Future[Any]:
        """`promises`: somebody will be told that it is done."""
        return self.carry(pack_run(script, keys, args), script, promises=promises)

    def run_packed(
        self,
        script: Script,
        key_count: int,
        keys: Sequence[bytes],
        *args: Argument,
        promises: bool = False,
    ) -> asyncio.Future[Any]:
        """`keys` as `pack_arguments` made them, one or several each."""
        packed = pack_packed_run(script, key_count, keys, args)
        return self.carry(packed, script, promises=promises)

    def carry(
        self, packed: bytes, script: Script | None = None, *, promises: bool = False
    ) -> asyncio.Future[Any]:
        """One command that is packed already."""
        future: asyncio.Future[Any] = self._loop.create_future()
        return self._enqueue(Pending(packed, future, script=script, promises=promises))

    async def carry_asking(
        self, packed: bytes, script: Script | None = None, *, promises: bool = False
    ) -> Any:
        """The same, of a key that is about to move to this node of a cluster (Redis Cluster
        specification, "ASK redirection").
        """
        if script is not None:
            await self.call("SCRIPT", "LOAD", script.text)
        future: asyncio.Future[Any] = self._loop.create_future()
        pending = Pending(_ASKING + packed, future, count=2, together=True, promises=promises)
        return (await self._enqueue(pending))[1]

    async def run_all(
        self, script: Script, calls: Sequence[tuple[Sequence[str], Sequence[Argument]]]
    ) -> list[Any]:
        return list(await asyncio.gather(*[self.run(script, keys, *args) for keys, args in calls]))

    async def everywhere(self, *command: Argument) -> list[Any]:
        """The answers of all servers that hold something: here of one."""
        return [await self.call(*command)]

    async def close(self) -> None:
        """What is under way is answered first; what waits is refused."""
        self._closed = True
        self._fail_waiting("The gateway is shutting down.")
        while any(lane.batch for lane in self._lanes):
            self._idle.clear()
            await self._idle.wait()
        connecting = [lane.connecting for lane in self._lanes if lane.connecting is not None]
        for task in connecting:
            task.cancel()
        await asyncio.gather(*connecting, return_exceptions=True)
        for lane in self._lanes:
            lane.close("The gateway is shutting down.")
        await self._redis.aclose()

    # --- out --------------------------------------------------------------------------------------

    def _enqueue(self, pending: Pending) -> asyncio.Future[Any]:
        if self._waiting_commands >= MAX_WAITING:
            pending.future.set_exception(StoreUnavailable("Too many calls are waiting for Redis."))
            return pending.future
        self._waiting.append(pending)
        self._waiting_commands += pending.count
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)
        return pending.future

    def _flush(self) -> None:
        self._scheduled = False
        if self._closed:
            self._fail_waiting("The gateway is shutting down.")
        for lane in self._lanes:
            if not self._waiting:
                return
            if not lane.busy:
                self._fill(lane)

    def _fill(self, lane: Lane) -> None:
        if lane.link is None or not lane.link.idle:
            if self._loop.time() >= lane.rests_until or not self._served():
                lane.connecting = self._loop.create_task(self._connect(lane))
            return
        batch: list[Pending] = []
        commands = 0
        while self._waiting and commands < MAX_BATCH:
            batch.append(pending := self._waiting.popleft())
            commands += pending.count
        self._waiting_commands -= commands
        self._send(lane, batch)

    def _send(self, lane: Lane, batch: list[Pending], repeated_by: float | None = None) -> None:
        """`repeated_by`: the deadline that the batch has had since it was first sent."""
        assert lane.link is not None
        parts = [pending.packed for pending in batch]
        expected = sum([pending.count for pending in batch])
        synced = self._fsync and any(pending.promises for pending in batch)
        if synced:
            parts.append(self._wait)
            expected += 1
        lane.begin(batch, repeated_by)
        metrics.store_calls.add(expected)
        lane.link.send(
            b"".join(parts),
            expected,
            lambda outcome: self._returned(
                lane, batch, outcome, synced=synced, repeated=repeated_by is not None
            ),
        )

    def _served(self) -> bool:
        return any(lane.alive for lane in self._lanes)

    async def _connect(self, lane: Lane) -> None:
        """Where it fails, and no other connection serves them, those that wait have waited for
        this: another try each would break the bound.
        """
        try:
            async with asyncio.timeout(self._timeout_seconds):
                pool = self._redis.connection_pool
                connection = pool.make_connection()  # type: ignore[no-untyped-call]
                lane.link = await Link.open(connection)
            if self._closed:  # redis-py may lose a cancellation
                lane.link.close("The gateway is shutting down.")
        except (RedisError, OSError, TimeoutError, LinkLost) as error:
            lane.rests_until = self._loop.time() + REST_SECONDS
            if not self._served():
                self._fail_waiting(f"Redis does not answer: {str(error) or type(error).__name__}")
        except Exception as error:  # noqa: BLE001  # a defect; nobody may wait for ever for it
            self._refuse_waiting(error)
        finally:
            lane.connecting = None
        self._flush()

    # --- back -------------------------------------------------------------------------------------

    def _returned(
        self,
        lane: Lane,
        batch: list[Pending],
        outcome: list[Any] | LinkLost,
        *,
        synced: bool,
        repeated: bool,
    ) -> None:
        lane.end(answered=not isinstance(outcome, LinkLost))
        if isinstance(outcome, LinkLost):
            self._lost(batch, outcome)
        else:
            if any(map(_is_a_replicas, outcome)):
                self._leave(A_REPLICA)  # the next connection asks who is not
            try:
                unknown = answer(batch, outcome, synced=synced)
                if unknown and (lane.link is None or lane.link.closed):  # left just now
                    for pending, _ in unknown:
                        resolve(pending.future, StoreUnavailable(A_REPLICA))
                elif unknown and not repeated:
                    self._load_and_repeat(lane, unknown)
                for pending, refusal in unknown if repeated else ():
                    resolve(pending.future, refusal)
            except Exception as error:  # noqa: BLE001  # a defect; nobody may wait for ever for it
                for pending in batch:
                    resolve(pending.future, error)
        if not lane.batch:
            self._idle.set()
            self._flush()

    def _lost(self, batch: list[Pending], why: LinkLost) -> None:
        # What was sent may still wait in a hung server's sockets. Only on connections that are new
        # will that server come to what follows after it, and not before.
        self._leave("Another connection was lost.")
        sentence = f"Redis does not answer: {why}"
        for pending in batch:
            resolve(pending.future, StoreUnavailable(sentence))
        # They have waited as long as this batch took; another time-out each would break the bound.
        self._fail_waiting(sentence)

    def _leave(self, reason: str) -> None:
        """Close what is under way with nothing."""
        for lane in self._lanes:
            if lane.link is not None and lane.link.idle:
                lane.link.close(reason)

    def _load_and_repeat(self, lane: Lane, unknown: list[tuple[Pending, Refusal]]) -> None:
        """A restarted Redis has forgotten its scripts: load them, then run those calls that it
        refused, once, in the time that their batch has.
        """
        batch, deadline = [pending for pending, _ in unknown], lane.deadline
        texts = {p.script.sha: p.script.text for p in batch if p.script is not None}
        loads = [pack(("SCRIPT", "LOAD", text)) for text in texts.values()]

        def loaded(outcome: list[Any] | LinkLost) -> None:
            refused = isinstance(outcome, LinkLost) or any(
                isinstance(result, Refusal) for result in outcome
            )
            if refused:
                answers = outcome if isinstance(outcome, LinkLost) else [r for _, r in unknown]
                self._returned(lane, batch, answers, synced=False, repeated=True)
            else:
                self._send(lane, batch, repeated_by=deadline)

        assert lane.link is not None
        lane.begin(batch, deadline)
        lane.link.send(b"".join(loads), len(loads), loaded)

    def _fail_waiting(self, sentence: str) -> None:
        self._refuse_waiting(StoreUnavailable(sentence))

    def _refuse_waiting(self, error: Exception) -> None:
        waiting, self._waiting, self._waiting_commands = self._waiting, deque(), 0
        for pending in waiting:
            resolve(pending.future, error)


def _is_a_replicas(result: Any) -> bool:
    return isinstance(result, Refusal) and result.kind == "READONLY"
