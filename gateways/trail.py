"""What happens to users, step by step, for whoever looks: the debug log, and traces.

Each step is noted at one place of the code, and goes to both. Nearly always nobody looks, so that
each of these places asks `on` first, and that is all it costs. A trace (domain/tracing.py) names a
user to every node, again and again while it lasts; what happens to that user is published to it, a
few steps at a time, and dropped and counted where it is too much: a trace slows no node down.

A step has ids, numbers and reasons; never a message's body, never a token.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Final

import msgspec
import structlog
from msgspec import Struct

from gateways.protocol.events import now_ms
from gateways.session import Session
from gateways.store.errors import StoreUnavailable

log = structlog.get_logger(__name__)

#: How long a node follows a user whom no trace names again. A trace that dies runs out by itself.
TRACE_SECONDS: Final = 15.0
#: Users that a node follows at a time. Whoever comes later is followed once one of them is not.
MAX_FOLLOWED: Final = 20
#: Steps of one user that wait to be published, and how long they may gather.
MAX_WAITING: Final = 100
GATHER_SECONDS: Final = 0.1
#: Of what a client or a service named: an event, a device, a reason.
MAX_TEXT: Final = 200

Detail = str | int | float | bool | None

#: How a message came to a session.
PUSHED: Final = "pushed"
READ: Final = "read from the inbox"


class Step(Struct, frozen=True):
    """What happened to a user at a node, when, by that node's clock."""

    at_ms: int
    node: str
    user_id: str
    step: str
    details: dict[str, Detail]


class Report(Struct, frozen=True):
    """Steps in order. `dropped`: how many others came too fast, or could not be published."""

    node: str
    dropped: int
    steps: list[Step]


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Report).decode


class _Identified(Struct):
    id: str = ""


_message = msgspec.json.Decoder(_Identified).decode


def message_id(body: bytes) -> str:
    """A stored message's id. `body` is a MessageBody as JSON; '' of one that is none: to look does
    not keep it from being handed over.
    """
    try:
        return _message(body).id
    except msgspec.DecodeError:
        return ""


class Trail:
    def __init__(self, node_id: str, publish: Callable[[str, bytes], Awaitable[None]]) -> None:
        """`publish(user_id, report)` may raise StoreUnavailable."""
        self._node_id = node_id
        self._publish = publish
        self.logs: Final = logging.getLogger(__name__).isEnabledFor(logging.DEBUG)
        #: Whether anybody looks at all. What follows is for where it holds.
        self.on = self.logs
        #: User → until when, in the loop's seconds.
        self._followed: dict[str, float] = {}
        self._waiting: dict[str, list[Step]] = {}
        self._dropped: Counter[str] = Counter()
        self._publisher: asyncio.Task[None] | None = None

    def watches(self, user_id: str | None) -> bool:
        """Whether a step of this user is worth the making."""
        return self.logs or user_id in self._followed

    def note(self, step: str, user_id: str | None, **details: Detail) -> None:
        """`user_id` None: not known yet, and so of no trace."""
        if self.logs:
            log.debug(step, user_id=user_id, **details)
        if user_id in self._followed:
            assert user_id is not None
            self._gather(user_id, step, details)

    def handed(self, session: Session, seq: int, body: bytes, how: str) -> None:
        """A message was given to a session's socket."""
        if self.watches(session.user_id):
            self.note(
                "handed",
                session.user_id,
                message_id=message_id(body),
                seq=seq,
                how=how,
                session_id=session.session_id,
            )

    # --- traces -----------------------------------------------------------------------------------

    def follow(self, user_id: str) -> None:
        """A trace names the user: from now on, and for TRACE_SECONDS, its steps are published."""
        loop = asyncio.get_running_loop()
        if user_id not in self._followed:
            if len(self._followed) >= MAX_FOLLOWED:
                return
            loop.call_later(TRACE_SECONDS, self._run_out, user_id)
            self._followed[user_id] = 0.0
            self._gather(user_id, "followed", {})
        self._followed[user_id] = loop.time() + TRACE_SECONDS
        self.on = True

    async def stop(self) -> None:
        if self._publisher is not None:
            self._publisher.cancel()
            await asyncio.wait([self._publisher])

    def _run_out(self, user_id: str) -> None:
        loop = asyncio.get_running_loop()
        until = self._followed[user_id]
        if loop.time() < until:
            loop.call_at(until, self._run_out, user_id)
            return
        del self._followed[user_id]
        self.on = self.logs or bool(self._followed)

    def _gather(self, user_id: str, step: str, details: dict[str, Detail]) -> None:
        waiting = self._waiting.setdefault(user_id, [])
        if len(waiting) >= MAX_WAITING:
            self._dropped[user_id] += 1
            return
        waiting.append(Step(now_ms(), self._node_id, user_id, step, _bounded(details)))
        if self._publisher is None:
            loop = asyncio.get_running_loop()
            self._publisher = loop.create_task(self._publish_waiting(), context=Context())

    async def _publish_waiting(self) -> None:
        try:
            while self._waiting:
                gathered, self._waiting = self._waiting, {}
                for user_id, steps in gathered.items():
                    report = Report(self._node_id, self._dropped.pop(user_id, 0), steps)
                    try:
                        await self._publish(user_id, encode(report))
                    except StoreUnavailable:
                        self._dropped[user_id] += report.dropped + len(steps)
                await asyncio.sleep(GATHER_SECONDS)
        finally:
            self._publisher = None


def _bounded(details: dict[str, Detail]) -> dict[str, Detail]:
    return {
        name: value[:MAX_TEXT] if isinstance(value, str) else value
        for name, value in details.items()
    }
