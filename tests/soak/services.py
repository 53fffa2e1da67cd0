"""The platform's services: they come, write to many, keep the lists of friends, and go."""

import asyncio
import itertools
import random
from collections.abc import Callable, Sequence
from typing import Any, Final

from tests.soak.links import KINDS, Link
from tests.soak.players import AWAY, BROKEN, USERS
from tests.soak.record import Record

KEYS: Final = {"herald": "a key that only herald knows", "clerk": "a key that only clerk knows"}
VARIABLE: Final = ",".join(f"{name}:{key}:soak" for name, key in KEYS.items())
#: Of what slow readers are sent.
LARGE: Final = 8192


class PlatformService:
    def __init__(self, record: Record, port: int, name: str, slow_readers: Sequence[str]) -> None:
        self.name = name
        self._record = record
        self._port = port
        self._slow_readers = slow_readers
        self._numbers = itertools.count(1)

    async def come_and_go(self, going: Callable[[], bool]) -> None:
        for kind in itertools.cycle(KINDS):
            if not going():
                return
            until = asyncio.get_running_loop().time() + random.uniform(5, 15)
            link: Link | None = None
            try:
                link = await self._enter(kind)
                while going() and asyncio.get_running_loop().time() < until:
                    await self._act(link)
                    await asyncio.sleep(random.uniform(0.05, 0.2))
            except BROKEN as error:
                self._record.fault(f"{self.name}: {type(error).__name__} {error}")
            finally:
                if link is not None:
                    await link.leave(goodbye=random.random() < 0.5)

    async def try_wrong_keys(self, going: Callable[[], bool]) -> None:
        """Rarely: each costs the gateway half a second of a core."""
        while going():
            link = await KINDS[0].open(self._port, lambda _event, _data: None)
            reply = await link.request(
                "authenticate_service", {"serviceName": self.name, "serviceKey": "a wrong key"}
            )
            if reply.get("code") not in ("unauthenticated", "rate_limited", "unavailable"):
                self._record.fault(f"{self.name}: a wrong key was answered {reply}")
            self._record.counts["wrong keys"] += 1
            await link.leave(goodbye=True)
            await asyncio.sleep(random.uniform(5, 10))

    async def _enter(self, kind: type[Link]) -> Link:
        link = await kind.open(self._port, lambda _event, _data: None)
        try:
            data = {"serviceName": self.name, "serviceKey": KEYS[self.name]}
            await link.enter(data, event="authenticate_service")
        except BaseException:
            await link.leave(goodbye=False)
            raise
        self._record.counts["services' connects"] += 1
        return link

    async def _act(self, link: Link) -> None:
        user_id = random.choice(USERS)
        friends = random.sample(USERS + AWAY, 5)
        event, data = random.choice(
            (
                *[("send_message", self._message(random.sample(USERS + AWAY, 5), 60))] * 3,
                *[("send_message", self._message(self._slow_readers, LARGE))] * 10,
                ("set_friends", {"userId": user_id, "friendIds": friends}),
                ("add_friends", {"userId": user_id, "friendIds": friends}),
                ("remove_friends", {"userId": user_id, "friendIds": friends}),
                ("get_friends", {"userId": user_id}),
                ("get_user_status", {"userIds": friends}),
                ("list_services", None),
                ("broadcast", {"message": "to all"}),
            )
        )
        reply = await link.request(event, data)
        if event == "send_message":
            self._record.answered(reply)
        elif reply.get("status") == "error":
            self._record.fault(f"{self.name}: {event}: {reply}")

    def _message(self, recipient_ids: Sequence[str], length: int) -> dict[str, Any]:
        text = f"{self.name} {next(self._numbers)} {'x' * length}"
        return {"recipientIds": list(recipient_ids), "message": text}
