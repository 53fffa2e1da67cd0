"""Changes of presence, told to the directory and to those who watch the user.

The store remembers which change was announced last, and says with every later one, of any node,
what is still untold. So an announcement that a failing store or a dying node swallowed is made up
for by whoever next has to do with the user. Hearing of one change twice does no harm: every hub
drops what it has told before.
"""

import asyncio
from collections import defaultdict
from typing import Final

import structlog

from gateways.mailbox import Mailbox
from gateways.nudges import StatusNudge
from gateways.store.directory import DirectoryStore
from gateways.store.errors import StoreUnavailable
from gateways.store.friends import FriendStore
from gateways.store.sessions import SessionStore, Transition, node_of

log = structlog.get_logger(__name__)

RETRY_SECONDS: Final = 1.0


class Announcer:
    def __init__(
        self,
        *,
        sessions: SessionStore,
        friends: FriendStore,
        directory: DirectoryStore,
        mailbox: Mailbox,
    ) -> None:
        self._sessions = sessions
        self._friends = friends
        self._directory = directory
        self._mailbox = mailbox
        self._newest: dict[str, Transition] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def announce(self, transition: Transition | None) -> None:
        """In the background, and repeated until the store takes it. Of one user's changes that wait
        only the newest is told.
        """
        if transition is None:
            return
        user_id = transition.user_id
        current = self._newest.get(user_id)
        if current is not None and current.generation >= transition.generation:
            return
        self._newest[user_id] = transition
        if current is None:
            task = asyncio.get_running_loop().create_task(self._announce(user_id))
            self._tasks[user_id] = task
            task.add_done_callback(lambda done: self._ended(user_id, done))

    async def announced(self, user_id: str) -> None:
        """Wait until nothing about the user is being announced."""
        while (task := self._tasks.get(user_id)) is not None:
            await asyncio.wait([task])

    async def settle(self) -> None:
        """Wait until nothing is being announced."""
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    async def stop(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def __len__(self) -> int:
        return len(self._tasks)

    async def index(self, user_ids: list[str]) -> None:
        """Make the directory say what the users' states say.

        Written first and checked after: of two nodes that write at once, the last writer sees the
        newest state.
        """
        states = await self._sessions.states(user_ids)
        while user_ids:
            await self._directory.write(
                {user: state.online for user, state in zip(user_ids, states, strict=True)}
            )
            again = await self._sessions.states(user_ids)
            changed = [
                (user, now)
                for user, then, now in zip(user_ids, states, again, strict=True)
                if then.online != now.online
            ]
            user_ids, states = [user for user, _ in changed], [state for _, state in changed]

    async def _announce(self, user_id: str) -> None:
        told: Transition | None = None
        try:
            while told is not (transition := self._newest[user_id]):
                try:
                    await self.index([user_id])
                    await self._tell_watchers(transition)
                    await self._sessions.mark_announced(user_id, transition.generation)
                except StoreUnavailable:
                    await asyncio.sleep(RETRY_SECONDS)
                else:
                    told = transition
        finally:
            del self._newest[user_id]

    async def _tell_watchers(self, transition: Transition) -> None:
        watchers = await self._friends.watchers(transition.user_id)
        if not watchers:
            return
        held: defaultdict[str, list[str]] = defaultdict(list)
        for watcher, session_ids in zip(
            watchers, await self._sessions.ids_of_users(watchers), strict=True
        ):
            for node_id in {node_of(session_id) for session_id in session_ids}:
                held[node_id].append(watcher)
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

    def _ended(self, user_id: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(user_id) is task:
            del self._tasks[user_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("announcement failed", exc_info=error)
