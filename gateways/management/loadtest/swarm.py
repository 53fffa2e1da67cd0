"""The users together: how they come in, how they send, and what it costs the processes watched."""

import asyncio
import gc
import itertools
import json
import random
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from picows import WSError, ws_connect

from gateways.management.loadtest import wires
from gateways.management.loadtest.ledger import Ledger
from gateways.management.loadtest.player import CannotConnect, Player
from gateways.management.loadtest.processes import Reading, Watched
from gateways.management.loadtest.wires import Answer

CONNECT_SECONDS: Final = 30.0
#: What is still on its way when the sending ends has so long to arrive.
STRAGGLERS_SECONDS: Final = 15.0
#: How often one that sends at a rate looks at its clock; uvloop's timers are no finer.
TICK_SECONDS: Final = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`window` messages of a sender may be under way at once; or `rate` messages a second are sent
    by all senders together, whatever becomes of them.
    """

    urls: Sequence[str]
    users: int
    senders: int
    recipients: int
    window: int
    rate: float | None
    seconds: float
    warmup_seconds: float
    message_bytes: int
    connecting: int
    prefix: str


@dataclass(slots=True)
class Readings:
    """What the watched processes had used at each turn of the test."""

    before: dict[str, Reading] = field(default_factory=dict)
    connected: dict[str, Reading] = field(default_factory=dict)
    measured_from: dict[str, Reading] = field(default_factory=dict)
    measured_to: dict[str, Reading] = field(default_factory=dict)


class Swarm:
    def __init__(
        self, plan: Plan, token_for: Callable[[str], str], watched: Sequence[Watched]
    ) -> None:
        self.plan = plan
        self.ledger = Ledger()
        self.readings = Readings()
        self.connect_seconds: list[float] = []
        self.connecting_seconds = 0.0
        self.measured_seconds = 0.0
        #: Of one core, while it was measured: near 1, this process was the bottleneck.
        self.own_share = 0.0
        self.lost_connections = 0
        self._watched = watched
        self._token_for = token_for
        self._run = secrets.token_hex(wires.RUN_DIGITS // 2)
        self._players: list[Player] = []
        self._user_ids = [f"{plan.prefix}{index}" for index in range(plan.users)]
        self._wires = {url: wires.of(url) for url in plan.urls}
        #: By where a user is connected: to whom it may write, in an order by chance.
        self._reachable = [self._others_than(place) for place in range(len(plan.urls))]
        self._sending = False
        self._settled = asyncio.Event()
        self._delivered = 0
        self._random = random.Random(self._run)  # noqa: S311

    async def connect(self) -> None:
        """Raises CannotConnect, and then nobody stays connected."""
        self.readings.before = self._read()
        gate = asyncio.Semaphore(self.plan.connecting)
        tokens = [self._token_for(user_id) for user_id in self._user_ids]
        began = time.perf_counter()

        async def one(index: int) -> None:
            async with gate:
                began = time.perf_counter()
                await self._connect(index, tokens[index])
                self.connect_seconds.append(time.perf_counter() - began)

        try:
            async with asyncio.TaskGroup() as group:
                for index in range(self.plan.users):
                    group.create_task(one(index))
        except BaseExceptionGroup as errors:
            self.leave()
            # The first is why the others ended.
            raise errors.exceptions[0] from None
        self.connecting_seconds = time.perf_counter() - began
        self._players.sort(key=lambda player: player.index)
        self.readings.connected = self._read()

    async def measure(self) -> None:
        """Warm up, measure, wait for the stragglers."""
        ticking = None
        gc.collect()
        gc.freeze()
        self._sending = True
        if self.plan.senders and self.plan.rate is None:
            for sender in range(self.plan.senders):
                for _ in range(self.plan.window):
                    self._send(sender)
        elif self.plan.senders:
            ticking = asyncio.create_task(self._send_at_rate())
        await asyncio.sleep(self.plan.warmup_seconds)
        self.readings.measured_from = self._read()
        began, own = time.perf_counter(), time.process_time()
        self.ledger.measure()
        for second in itertools.count(1):
            left = began + self.plan.seconds - time.perf_counter()
            if left <= 0:
                break
            await asyncio.sleep(min(began + second - time.perf_counter(), left))
            self.ledger.next_second()
        self.ledger.measuring = False
        self.readings.measured_to = self._read()
        self.measured_seconds = time.perf_counter() - began
        self.own_share = (time.process_time() - own) / self.measured_seconds
        self._delivered = self.ledger.delivered
        if ticking is not None:
            if ticking.done():
                ticking.result()  # it fell silent: say why
            ticking.cancel()
        await self._settle()
        self.lost_connections = sum(player.gone for player in self._players)

    @property
    def delivered(self) -> int:
        """While it was measured."""
        return self._delivered

    def leave(self) -> None:
        for player in self._players:
            player.leave()

    # --- connecting -------------------------------------------------------------------------------

    async def _connect(self, index: int, token: str) -> None:
        url = self.plan.urls[index % len(self.plan.urls)]
        player = Player(
            index,
            self._wires[url],
            token,
            self._run.encode(),
            on_message=self._delivered_to,
            on_answer=self._answered,
        )
        self._players.append(player)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await ws_connect(lambda: player, url, read_buffer_init_size=4096)
                await player.authenticated
        except (OSError, WSError) as error:
            raise CannotConnect(str(error) or type(error).__name__) from None
        except TimeoutError:
            raise CannotConnect(f"no answer within {CONNECT_SECONDS:g} s") from None

    def _others_than(self, place: int) -> list[tuple[int, bytes]]:
        """Users and their ids as JSON. With several addresses, those at another one."""
        places = len(self.plan.urls)
        there = [
            (index, json.dumps(user_id).encode())
            for index, user_id in enumerate(self._user_ids)
            if places == 1 or index % places != place
        ]
        random.Random(place).shuffle(there)  # noqa: S311
        return there

    # --- sending ----------------------------------------------------------------------------------

    def _send(self, sender: int) -> None:
        reachable = self._reachable[sender % len(self.plan.urls)]
        count = self.plan.recipients
        start = self._random.randrange(len(reachable))
        chosen = reachable[start : start + count]
        if len(chosen) < count:
            chosen = chosen + reachable[: count - len(chosen)]
        number = self.ledger.send(sender, [index for index, _ in chosen])
        player = self._players[sender]
        frame = self._wires[self.plan.urls[sender % len(self.plan.urls)]].request(
            number,
            b",".join([user_id for _, user_id in chosen]),
            wires.text(self._run, number, self.plan.message_bytes),
        )
        player.send(frame)

    async def _send_at_rate(self) -> None:
        assert self.plan.rate is not None
        began, sent = time.perf_counter(), 0
        while True:
            due = int((time.perf_counter() - began) * self.plan.rate)
            for number in range(sent, due):
                self._send(number % self.plan.senders)
            sent = max(sent, due)
            await asyncio.sleep(TICK_SECONDS)

    def _delivered_to(self, number: int, recipient: int) -> None:
        self._go_on(self.ledger.deliver(number, recipient))

    def _answered(self, answer: Answer) -> None:
        self._go_on(self.ledger.answer(answer))

    def _go_on(self, sender: int | None) -> None:
        """A message's account is closed: in a window its sender has room for the next."""
        if sender is None:
            return
        if self._sending and self.plan.rate is None:
            self._send(sender)
        elif not self.ledger.in_flight:
            self._settled.set()

    async def _settle(self) -> None:
        self._settled.clear()
        self._sending = False
        if self.ledger.in_flight:
            with suppress(TimeoutError):
                async with asyncio.timeout(STRAGGLERS_SECONDS):
                    await self._settled.wait()

    def _read(self) -> dict[str, Reading]:
        return {watched.name: watched.read() for watched in self._watched}
