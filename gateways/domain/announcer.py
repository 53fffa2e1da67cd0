"""Changes of presence, told to the directory and to those who watch the user.

The store remembers which change was announced last, and says with every later one, of any node,
what is still untold. So an announcement that a failing store or a dying node swallowed is made up
for by whoever next has to do with the user. Hearing of one change twice does no harm: every hub
drops what it has told before.

Those that wait are told together, in five round trips however many they are: a storm of clients
costs a few batches, and a lone change waits for nobody.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextvars import Context
from itertools import islice
from typing import Final

import structlog

from gateways import metrics
from gateways.mailbox import Mailbox
from gateways.nudges import StatusNudge
from gateways.store.directory import DirectoryStore
from gateways.store.errors import StoreUnavailable
from gateways.store.friends import FriendStore
from gateways.store.records import Transition
from gateways.store.sessions import SessionStore
from gateways.trail import Trail

log = structlog.get_logger(__name__)

RETRY_SECONDS: Final = 1.0
#: Changes that are told together. Their watchers' sessions are asked for in one go.
MAX_BATCH: Final = 100


class Announcer:
    def __init__(
        self,
        *,
        sessions: SessionStore,
        friends: FriendStore,
        directory: DirectoryStore,
        mailbox: Mailbox,
        trail: Trail,
    ) -> None:
        self._sessions = sessions
        self._friends = friends
        self._directory = directory
        self._mailbox = mailbox
        self._trail = trail
        #: The newest change of each user that waits, and of each that is being told.
        self._waiting: dict[str, Transition] = {}
        self._telling: dict[str, Transition] = {}
        self._teller: asyncio.Task[None] | None = None
        self._silent: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def announce(self, transition: Transition | None) -> None:
        """In the background, and repeated until the store takes it. Of one user's changes that wait
        only the newest is told.
        """
        if transition is None:
            return
        user_id = transition.user_id
        for known in (self._waiting.get(user_id), self._telling.get(user_id)):
            if known is not None and known.generation >= transition.generation:
                return
        self._waiting[user_id] = transition
        if self._teller is None:
            # For all whose changes wait: a line that it logs is of no one request.
            loop = asyncio.get_running_loop()
            self._teller = loop.create_task(self._tell_waiting(), context=Context())

    def __contains__(self, user_id: str) -> bool:
        return user_id in self._waiting or user_id in self._telling

    def __len__(self) -> int:
        return len(self._waiting.keys() | self._telling.keys())

    async def announced(self, user_id: str) -> None:
        """Wait until nothing about the user is being announced."""
        while user_id in self:
            await self._silent[user_id].wait()

    async def settle(self) -> None:
        """Wait until nothing is being announced."""
        while self._teller is not None:
            await asyncio.wait([self._teller])

    async def stop(self) -> None:
        if self._teller is not None:
            self._teller.cancel()
            await asyncio.wait([self._teller])

    async def index(self, user_ids: Sequence[str]) -> None:
        """Make the directory say what the users' states say."""
        states = await self._sessions.states(user_ids)
        await self._index(
            {user: state.online for user, state in zip(user_ids, states, strict=True)}
        )

    async def _index(self, online: Mapping[str, bool]) -> None:
        """Written first and checked after: of two nodes that write at once, the last writer sees
        the newest state.
        """
        while online:
            await self._directory.write(online)
            states = await self._sessions.states(list(online))
            online = {
                user_id: state.online
                for (user_id, written), state in zip(online.items(), states, strict=True)
                if state.online != written
            }

    async def _tell_waiting(self) -> None:
        try:
            size = MAX_BATCH
            while self._waiting:
                self._telling = dict(islice(self._waiting.items(), size))
                for user_id in self._telling:
                    del self._waiting[user_id]
                try:
                    await self._tell_apart(list(self._telling.values()))
                except StoreUnavailable:
                    # Should it be more than the store takes at once: by fewer, and others first.
                    size = max(size // 2, 1)
                    for user_id, transition in self._telling.items():
                        self._waiting.setdefault(user_id, transition)
                    await asyncio.sleep(RETRY_SECONDS)
                else:
                    size = MAX_BATCH
                told, self._telling = self._telling, {}
                self._fall_silent(told)
        finally:
            self._teller = None

    def _fall_silent(self, user_ids: Iterable[str]) -> None:
        for user_id in user_ids:
            if user_id not in self._waiting and user_id in self._silent:
                self._silent.pop(user_id).set()

    async def _tell_apart(self, transitions: Sequence[Transition]) -> None:
        """Together, or each for itself where something is wrong with one of them."""
        try:
            await self._tell(transitions)
        except StoreUnavailable:
            raise
        except Exception:
            if len(transitions) == 1:
                log.exception("announcement failed", user_id=transitions[0].user_id)
                return
            for transition in transitions:
                await self._tell_apart([transition])

    async def _tell(self, transitions: Sequence[Transition]) -> None:
        await self._index({change.user_id: change.online for change in transitions})
        await self._tell_watchers(transitions)
        await self._sessions.mark_announced(
            {change.user_id: change.generation for change in transitions}
        )
        for change in transitions:
            metrics.transitions.add("online" if change.online else "offline")

    async def _tell_watchers(self, transitions: Sequence[Transition]) -> None:
        watchers = await self._friends.watchers([change.user_id for change in transitions])
        everybody = list({watcher for those in watchers for watcher in those})
        nodes = dict(zip(everybody, await self._sessions.nodes_of(everybody), strict=True))
        for transition, those in zip(transitions, watchers, strict=True):
            held: defaultdict[str, list[str]] = defaultdict(list)
            for watcher in those:
                for node_id in nodes[watcher]:
                    held[node_id].append(watcher)
            if self._trail.on:
                self._trail.note(
                    "announced",
                    transition.user_id,
                    status="online" if transition.online else "offline",
                    generation=transition.generation,
                    friends=len(those),
                    nodes=" ".join(held),
                )
            for node_id, here in held.items():
                self._mailbox.send(
                    node_id,
                    StatusNudge(
                        user_id=transition.user_id,
                        online=transition.online,
                        generation=transition.generation,
                        email=transition.email,
                        last_seen_ms=transition.last_seen_ms,
                        watchers=here,
                    ),
                )
