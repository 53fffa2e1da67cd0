"""One caller's commands on their way through the batcher, and what their replies mean to it."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, Protocol

from gateways.store.errors import StoreUnavailable
from gateways.store.link import Refusal
from gateways.store.resp import Argument, Command
from gateways.store.scripts import Script


class Caller(Protocol):
    """What the store's modules need of the batcher, or of a cluster's."""

    #: How many users one script call may be about.
    users_a_call: int

    def call(self, *command: Argument) -> Awaitable[Any]: ...

    async def call_all(self, commands: Sequence[Command]) -> list[Any]: ...

    def run(
        self, script: Script, keys: Sequence[str], *args: Argument, promises: bool = False
    ) -> Awaitable[Any]: ...

    def run_packed(
        self,
        script: Script,
        key_count: int,
        keys: Sequence[bytes],
        *args: Argument,
        promises: bool = False,
    ) -> Awaitable[Any]: ...

    async def run_all(
        self, script: Script, calls: Sequence[tuple[Sequence[str], Sequence[Argument]]]
    ) -> list[Any]: ...

    async def everywhere(self, *command: Argument) -> list[Any]: ...


class Pending:
    """One command, or several (`together`) whose caller wants all their results at once."""

    __slots__ = ("count", "future", "packed", "promises", "script", "together")

    def __init__(
        self,
        packed: bytes,
        future: asyncio.Future[Any],
        *,
        count: int = 1,
        together: bool = False,
        script: Script | None = None,
        promises: bool = False,
    ) -> None:
        self.packed = packed
        self.future = future
        self.count = count
        self.together = together
        self.script = script
        self.promises = promises


def unkept(synced: Any) -> StoreUnavailable | None:
    """What WAITAOF's answer means for those who made promises."""
    if not isinstance(synced, list) or synced[0] < 1:
        return StoreUnavailable(f"Redis has not written it to its disk: {synced}")
    return None


#: Redis' refusals that are about its own state, not about the call: it may be tried again later.
_PASSING = (
    "OOM",
    "LOADING",
    "READONLY",
    "MISCONF",
    "MASTERDOWN",
    "BUSY",
    "NOREPLICAS",
    "CLUSTERDOWN",
)


def resolve(future: asyncio.Future[Any], result: Any) -> None:
    if future.done():  # its caller was cancelled
        return
    if isinstance(result, Refusal) and result.kind in _PASSING:
        future.set_exception(StoreUnavailable(f"Redis refuses: {result}"))
    elif isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)


def resolve_together(future: asyncio.Future[Any], results: list[Any]) -> None:
    """One refusal is all that its caller hears."""
    refusal = next((result for result in results if isinstance(result, Refusal)), None)
    resolve(future, results if refusal is None else refusal)


def answer(
    batch: list[Pending], outcome: list[Any], *, synced: bool
) -> list[tuple[Pending, Refusal]]:
    """Give everybody their results. Returns those whose script Redis does not know."""
    unsynced = unkept(outcome.pop()) if synced else None
    unknown = []
    replies = iter(outcome)
    for pending in batch:
        if pending.together:
            results = [next(replies) for _ in range(pending.count)]
            if unsynced and pending.promises:
                resolve(pending.future, unsynced)
            else:
                resolve_together(pending.future, results)
            continue
        result = next(replies)
        if isinstance(result, Refusal) and result.kind == "NOSCRIPT":
            unknown.append((pending, result))
        elif unsynced and pending.promises and not isinstance(result, Refusal):
            resolve(pending.future, unsynced)
        else:
            resolve(pending.future, result)
    return unknown
