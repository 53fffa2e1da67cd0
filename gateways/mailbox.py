"""The node's one channel in the channel layer, and the way to the other nodes'."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context
from typing import Any, Final, Protocol

import structlog

from gateways import metrics, nudges
from gateways.connections import Connections
from gateways.nudges import (
    BroadcastNudge,
    CloseNudge,
    Echo,
    MessageNudge,
    Nudge,
    StatusNudge,
    TraceNudge,
)
from gateways.store.errors import StoreUnavailable
from services_registry import notices

log = structlog.get_logger(__name__)

#: Nudges that wait for one node. Beyond this the node, or Redis, is away, and its reconcile will
#: mend it.
MAX_WAITING: Final = 10_000
#: Nudges in one layer message.
MAX_BATCH: Final = 500
#: Before what could not be sent, and must be, is sent again.
RETRY_SECONDS: Final = 1.0
#: How often a node calls itself, to know that it is not deaf.
ECHO_SECONDS: Final = 1.0
#: Before it calls again, where a call came before its subscription: twice as long each time.
SUBSCRIPTION_SECONDS: Final = 0.005
#: Echoes that may be outstanding before the node counts as deaf: the channel layer itself waits a
#: second before it reconnects.
ECHO_TOLERANCE: Final = 3
#: How long a node stays deaf before it gives its subscription up and takes a new one.
DEAF_SECONDS: Final = 5.0


class ChannelLayer(Protocol):
    """`send` answers or fails within the store's time-out."""

    def send(self, channel: str, message: dict[str, Any]) -> Awaitable[Any]: ...

    def receive(self, channel: str) -> Awaitable[dict[str, Any]]: ...

    async def group_add(self, group: str, channel: str) -> None: ...

    async def flush(self) -> None: ...


class Receiver(Protocol):
    """Who takes what arrives for users: the hub."""

    def on_message(self, nudge: MessageNudge) -> None: ...

    def on_status(self, nudge: StatusNudge) -> None: ...

    def on_broadcast(self, nudge: BroadcastNudge) -> None: ...


class Mailbox:
    def __init__(
        self,
        layer: ChannelLayer,
        receiver: Receiver,
        connections: Connections,
        *,
        node_id: str,
        prefix: str,
        timeout_seconds: float,
        on_hearing_again: Callable[[], None],
        on_service_changed: Callable[[str], None],
        on_trace: Callable[[str], None],
    ) -> None:
        """`on_hearing_again` is called when the node hears again after it may have missed
        something; `on_service_changed` with the name that the registry sent a notice of;
        `on_trace` with the user whom an operator traces.
        """
        self._layer = layer
        self._receiver = receiver
        self._connections = connections
        self._node_id = node_id
        self._prefix = prefix
        self._timeout_seconds = timeout_seconds
        self._on_hearing_again = on_hearing_again
        self._on_service_changed = on_service_changed
        self._on_trace = on_trace
        #: Whether the registry's notices reach this node's channel.
        self._noticing = False
        self._waiting: dict[str, list[Nudge]] = {}
        self._senders: dict[str, asyncio.Task[None]] = {}
        self._caller: asyncio.Task[None] | None = None
        self._listener: asyncio.Task[None] | None = None
        self._called = 0
        self._heard = 0
        self._hearing = asyncio.Event()

    @property
    def deaf(self) -> bool:
        return not self._hearing.is_set()

    async def start(self) -> None:
        """Returns once the node hears itself. Raises StoreUnavailable where it does not in time."""
        if self._caller is None:
            loop = asyncio.get_running_loop()
            self._listener = loop.create_task(self._receive())
            self._caller = loop.create_task(self._call_myself())
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._hearing.wait()
        except TimeoutError:
            raise StoreUnavailable("The channel layer does not answer.") from None

    async def stop(self) -> None:
        mine = [task for task in (self._caller, self._listener) if task is not None]
        await _end(*mine, *self._senders.values())

    async def flushed(self, *, timeout_seconds: float) -> None:
        """Wait, so long at most, until what was given to `send` is on its way, or given up."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                while self._senders:
                    await asyncio.wait(list(self._senders.values()))

    def send(self, node_id: str, nudge: Nudge) -> None:
        """Give a node a nudge, in order, without waiting. What is for this node takes no detour."""
        if node_id == self._node_id:
            self._take(nudge)
            return
        waiting = self._waiting.setdefault(node_id, [])
        if len(waiting) >= MAX_WAITING:
            metrics.nudges_lost.add()
            return
        waiting.append(nudge)
        if node_id not in self._senders:
            # For all who give it nudges: a line that it logs is of no one request.
            loop = asyncio.get_running_loop()
            task = loop.create_task(self._send_waiting(node_id), context=Context())
            self._senders[node_id] = task

    async def _send_waiting(self, node_id: str) -> None:
        """While one layer message is under way the next one's nudges gather."""
        try:
            while waiting := self._waiting.pop(node_id, []):
                lost = [
                    nudge
                    for start in range(0, len(waiting), MAX_BATCH)
                    if not await self._publish(node_id, batch := waiting[start : start + MAX_BATCH])
                    for nudge in batch
                ]
                # A message is in its inbox, where the node finds it; a change of presence is told
                # by nothing else, and may be told twice.
                if again := [nudge for nudge in lost if isinstance(nudge, StatusNudge)]:
                    self._waiting[node_id] = again + self._waiting.get(node_id, [])
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._senders.pop(node_id, None)

    async def _publish(self, node_id: str, batch: list[Nudge]) -> bool:
        """Returns whether the layer took them; where not, they may have arrived all the same."""
        try:
            await self._layer.send(
                self._channel(node_id), {"type": "nudges", "nudges": nudges.encode(batch)}
            )
        except Exception as error:  # noqa: BLE001  # the layer raises what it likes
            log.warning(
                "nudge lost",
                node=node_id,
                nudges=len(batch),
                error=f"{type(error).__name__}: {error}",
            )
            metrics.nudges_lost.add(len(batch))
            return False
        metrics.nudges.add(len(batch))
        return True

    async def _receive(self) -> None:
        channel = self._channel(self._node_id)
        while True:
            try:
                message = await self._layer.receive(channel)
                if message["type"] == notices.KIND:
                    self._on_service_changed(message["service_name"])
                    continue
                batch = nudges.decode(message["nudges"])
            except Exception as error:  # noqa: BLE001  # likewise
                log.warning("mailbox failed", error=f"{type(error).__name__}: {error}")
                await asyncio.sleep(ECHO_SECONDS)
                continue
            for nudge in batch:
                try:
                    self._take(nudge)
                except Exception:
                    log.exception("nudge failed", kind=type(nudge).__name__)

    async def _call_myself(self) -> None:
        loop = asyncio.get_running_loop()
        deaf_since = loop.time()
        pause = SUBSCRIPTION_SECONDS
        while True:
            self._called += 1
            await self._publish(self._node_id, [Echo(self._called)])
            if not self._hearing.is_set():
                if loop.time() - deaf_since > DEAF_SECONDS:
                    deaf_since = loop.time()
                    await self._subscribe_anew()
                await asyncio.sleep(pause)
                pause = min(2 * pause, ECHO_SECONDS / 10)
                continue
            pause = SUBSCRIPTION_SECONDS
            if not self._noticing:
                await self._take_notice()
            if self._called - self._heard >= ECHO_TOLERANCE:
                log.warning("node is deaf", unanswered=self._called - self._heard)
                self._hearing.clear()
                deaf_since = loop.time()
            await asyncio.sleep(ECHO_SECONDS)

    async def _take_notice(self) -> None:
        """The layer lets a channel into a group only once it is listened to."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._layer.group_add(notices.GROUP, self._channel(self._node_id))
        except Exception as error:  # noqa: BLE001  # the layer raises what it likes
            log.warning("notices not heard", error=f"{type(error).__name__}: {error}")
        else:
            self._noticing = True

    async def _subscribe_anew(self) -> None:
        """The layer may hold a subscription that Redis knows nothing of: start it from nothing."""
        self._noticing = False
        if self._listener is not None:
            await _end(self._listener)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._layer.flush()
        except Exception as error:  # noqa: BLE001  # the layer raises what it likes
            log.warning("channel layer not flushed", error=f"{type(error).__name__}: {error}")
        self._listener = asyncio.get_running_loop().create_task(self._receive())

    def _take(self, nudge: Nudge) -> None:
        match nudge:
            case MessageNudge():
                self._receiver.on_message(nudge)
            case StatusNudge():
                self._receiver.on_status(nudge)
            case CloseNudge():
                self._connections.on_close(nudge)
            case BroadcastNudge():
                self._receiver.on_broadcast(nudge)
            case TraceNudge(user_id):
                self._on_trace(user_id)
            case Echo(count):
                self._hear(count)

    def _hear(self, count: int) -> None:
        # Before it first hears itself it has nobody for whom it might have missed something.
        first = self._heard == 0
        skipped = count > self._heard + 1
        self._heard = max(self._heard, count)
        was_deaf = not self._hearing.is_set()
        self._hearing.set()
        if not first and (skipped or was_deaf):
            self._on_hearing_again()

    def _channel(self, node_id: str) -> str:
        return f"{self._prefix}node.{node_id}"


async def _end(*tasks: asyncio.Task[None]) -> None:
    """Cancel until all are done: redis-py loses a cancellation that comes while it connects."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=ECHO_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)
