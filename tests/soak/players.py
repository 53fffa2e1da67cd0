"""Players: they come, ask, write, lose their connection or say goodbye, and come back."""

import asyncio
import itertools
import random
import secrets
from collections.abc import Callable
from typing import Any, Final

import websockets

from tests.e2e.client import token
from tests.soak.links import KINDS, PATIENCE_SECONDS, Link, Plain
from tests.soak.record import Place, Record

USERS: Final = [f"player-{number}" for number in range(30)]
#: Of each user, by the number of the user.
DEVICES: Final = (1, 2, 3)
#: They have an inbox and never come.
AWAY: Final = [f"away-{number}" for number in range(15)]
#: They come for a moment, and leave in every way there is.
PASSERS_BY: Final = [f"passer-{number}" for number in range(20)]
QUESTIONS: Final[tuple[tuple[str, Any], ...]] = (
    ("ping", None),
    ("get_online_users", None),
    ("get_online_friends_only", None),
    ("get_all_online_users", {"limit": 20}),
    ("get_detailed_online_users", {"limit": 20}),
    ("get_sessions", None),
)
#: Ids of the senders' own are remembered for ten minutes. For eight of every twenty they are used,
#: so that as many are remembered at the end of the time as at its beginning.
REPEATING_SECONDS: Final = 480
REPEATING_EVERY_SECONDS: Final = 1200
#: Of those who pass by.
TOKEN_SECONDS: Final = 20.0
BROKEN: Final = (OSError, TimeoutError, websockets.WebSocketException, AssertionError)


class Player:
    """One device of one user."""

    def __init__(
        self, record: Record, port: int, user_id: str, device: int, kind: type[Link]
    ) -> None:
        self.place = Place(record, user_id, f"{user_id}/{device}")
        self._kind = kind
        self._record = record
        self._port = port
        self._numbers = itertools.count(1)
        self._began = asyncio.get_running_loop().time()
        self._repeated: dict[str, Any] | None = None
        self._repeated_at = 0.0
        self._moved = asyncio.Event()

    async def come_and_go(self, going: Callable[[], bool]) -> None:
        while going():
            await self._visit(going)
            await asyncio.sleep(random.uniform(0.1, 3))

    async def catch_up(self) -> None:
        """Come once more, for what is left."""
        link = await self._enter()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while self.place.seq < self._record.accepted[self.place.user_id]:
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            pass
        finally:
            await link.leave(goodbye=True)

    async def _visit(self, going: Callable[[], bool]) -> None:
        until = asyncio.get_running_loop().time() + random.uniform(1, 8)
        link: Link | None = None
        try:
            link = await self._enter()
            while going() and asyncio.get_running_loop().time() < until:
                await self._act(link)
                await asyncio.sleep(random.uniform(0.1, 1))
        except BROKEN as error:
            self._record.fault(f"{self.place.device_id}: {type(error).__name__} {error}")
        finally:
            if link is not None:
                await link.leave(goodbye=random.random() < 0.5)

    async def _enter(self) -> Link:
        link = await self._kind.open(self._port, self._pushed)
        try:
            place = self.place
            data = {"token": token(place.user_id), "deviceId": place.device_id, **place.resume}
            await link.enter(data)
        except BaseException:
            await link.leave(goodbye=False)
            raise
        self._record.counts["connects"] += 1
        return link

    async def _act(self, link: Link) -> None:
        if random.random() < 0.3:
            answer = await link.request(*random.choice(QUESTIONS))
            if answer.get("status") == "error":
                self._record.fault(f"{self.place.device_id}: {answer}")
            self._record.counts["questions"] += 1
            return
        await self._write(link)

    async def _write(self, link: Link) -> None:
        """A message; now and then the same one again, under the id that its sender gave it."""
        message = self._message()
        age = asyncio.get_running_loop().time() - self._began
        repeats = age % REPEATING_EVERY_SECONDS < REPEATING_SECONDS
        if repeats and (self._repeated is None or age - self._repeated_at > REPEATING_SECONDS):
            self._repeated_at = age
            message = self._repeated = {**message, "messageId": secrets.token_hex(8)}
        elif repeats and random.random() < 0.05:
            again = await link.request("send_message", self._repeated)
            self._record.answered(again, repeated=True)
            return
        self._record.answered(await link.request("send_message", message))

    def _message(self) -> dict[str, Any]:
        count = random.choice((1, 1, 1, 10))
        return {
            "recipientIds": random.sample(USERS + AWAY, count),
            "message": f"{self.place.device_id} {next(self._numbers)} {'x' * 60}",
        }

    def _pushed(self, event: str, data: Any) -> None:
        if event == "connected":
            self.place.connected(data)
        elif event == "message":
            self.place.message(data)
            self._moved.set()
        elif event == "user_status_update":
            self._record.counts["status updates"] += 1
        elif event in ("error", "server_shutdown", "session_expired"):
            self._record.fault(f"{self.place.device_id}: {event} {data}")


def players(record: Record, port: int) -> list[Player]:
    """Every user has one device or several, each with another kind of connection."""
    kinds = itertools.cycle(KINDS)
    return [
        Player(record, port, user_id, device, next(kinds))
        for number, user_id in enumerate(USERS)
        for device in range(DEVICES[number % len(DEVICES)])
    ]


async def pass_by(record: Record, port: int, going: Callable[[], bool]) -> None:
    """One after the other: in, one word, and out."""
    for user_id, kind in zip(itertools.cycle(PASSERS_BY), itertools.cycle(KINDS), strict=False):
        if not going():
            return
        auth = {
            "token": token(user_id, lifetime_seconds=TOKEN_SECONDS),
            "deviceId": user_id,
            # Kept as long as the token lasts.
            **({"recovery": True} if kind is not Plain and random.random() < 0.5 else {}),
        }
        link: Link | None = None
        try:
            link = await kind.open(port, lambda _event, _data: None)
            await link.enter(auth)
            await link.request("ping")
            record.counts["connects"] += 1
        except BROKEN as error:
            record.fault(f"{user_id}: {type(error).__name__} {error}")
        finally:
            if link is not None:
                await link.leave(goodbye=random.random() < 0.5)
        await asyncio.sleep(random.uniform(0, 0.1))
