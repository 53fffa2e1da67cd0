"""The chat itself: what a user says and asks, what comes in, whom the next line goes to."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar

from django.core.management.base import CommandError

from gateways.client.client import Client
from gateways.client.events import (
    Disconnected,
    Dropped,
    Ended,
    Event,
    Message,
    RequestFailed,
)
from gateways.management import operators
from gateways.management.chat.lines import Call, Say, names, parse
from gateways.management.chat.screen import Screen
from gateways.protocol.events import (
    Connected,
    Failure,
    OnlineFriends,
    OnlineUsers,
    Sessions,
    StatusUpdate,
)

#: More names than this tell a person nothing.
MAX_NAMES = 40


class Room:
    """`typing` says whether a line is half typed: whom it goes to does not change then."""

    def __init__(self, user_id: str, client: Client, screen: Screen) -> None:
        self.user_id = user_id
        self.partners: tuple[str, ...] = ()
        self.online: set[str] = set()
        self.known: set[str] = set()
        self.failed = False
        self.typing: Callable[[], bool] = lambda: False
        self._client = client
        self._screen = screen
        self._away = False
        self._comparing: asyncio.Task[None] | None = None

    # --- what the user types ----------------------------------------------------------------------

    async def enter(self, line: str) -> None:
        """Carry it out, and show what became of it. Failures are shown, not raised."""
        entered = parse(line, is_name=lambda name: not self.partners or name in self.known)
        try:
            if isinstance(entered, Say):
                await self._say(entered)
            elif entered is not None:
                await self._call(entered)
        except (CommandError, RequestFailed, Disconnected) as error:
            self.failed = True
            self._screen.error(str(error))

    async def _say(self, say: Say) -> None:
        if say.user_ids:
            self._turn_to([operators.user_id(user_id) for user_id in say.user_ids])
        recipient_ids = self.partners
        if not recipient_ids:
            raise CommandError("To whom? Type @bob hello; /help says more.")
        if not say.text:
            return
        self._screen.said(self.user_id, recipient_ids, say.text)
        kept = not self._client.connected
        if kept:
            self._screen.note("kept until the connection is back")
        receipt = await self._client.send_message(recipient_ids, say.text)
        self._screen.outcome(receipt.recipients, say.text if kept else "")
        self.failed |= bool(receipt.recipients.failed)

    async def _call(self, call: Call) -> None:
        carry_out = self.commands.get(call.name)
        if carry_out is None:
            raise CommandError(f"/{call.name} is no command; /help lists them.")
        await carry_out(self, call.argument)

    async def _friends(self, argument: str) -> None:
        friend_ids = [operators.user_id(name) for name in names(argument)]
        async with operators.gateway() as gateway:
            if friend_ids:
                await gateway.friends.add(self.user_id, friend_ids)
            everyone = await gateway.friends.of(self.user_id)
        self.known.update(everyone)
        shown = _listed(everyone) or "nobody yet; /friends bob,carol adds them"
        self._screen.note(f"friends: {shown}")
        if friend_ids:
            await self._compare_friends()

    async def _unfriend(self, argument: str) -> None:
        friend_ids = [operators.user_id(name) for name in names(argument)]
        async with operators.gateway() as gateway:
            await gateway.friends.remove(self.user_id, friend_ids)
            everyone = await gateway.friends.of(self.user_id)
        self.online.difference_update(friend_ids)
        self._screen.note(f"friends: {_listed(everyone) or 'nobody'}")

    async def _online(self, _: str) -> None:
        user_ids = await self._online_friends()
        self.online = set(user_ids)
        self.known.update(user_ids)
        self._screen.note(f"friends online: {_listed(user_ids) or 'none'}")

    async def _who(self, _: str) -> None:
        answer = await self._client.ask("get_all_online_users", OnlineUsers)
        user_ids = [user.user_id for user in answer.users]
        self.known.update(user_ids)
        self._screen.note(f"{answer.total} online: {_listed(user_ids, answer.total)}")

    async def _sessions(self, _: str) -> None:
        answer = await self._client.ask("get_sessions", Sessions)
        for session in answer.sessions:
            here = "   (this one)" if session.current else ""
            device = session.device_id or "unnamed device"
            self._screen.note(f"{session.session_id}   {device}   {session.connected_at}{here}")

    async def _help(self, _: str) -> None:
        self._screen.help(
            [
                ("@bob hello", "say it to bob; @bob,carol to both; bob: hello does it too"),
                ("hello", "to whom the prompt names: who wrote last, or was written to"),
                ("/friends bob,carol", "add friends (you go on their lists too); alone: list them"),
                ("/unfriend bob", "remove a friend, on both sides"),
                ("/online", "friends who are online"),
                ("/who", "everybody who is online"),
                ("/sessions", "your own connections"),
                ("/quit", "leave; Ctrl-D does it too"),
            ]
        )

    commands: ClassVar[dict[str, Callable[["Room", str], Awaitable[None]]]] = {
        "friends": _friends,
        "unfriend": _unfriend,
        "online": _online,
        "who": _who,
        "sessions": _sessions,
        "help": _help,
    }

    # --- what comes in ----------------------------------------------------------------------------

    async def follow(self) -> str:
        """Show what comes until the connection ends for good. Returns why it did."""
        async for event in self._client.events():
            await self._show(event)
            if isinstance(event, Ended):
                return event.reason
        raise AssertionError("events end with Ended")

    async def _show(self, event: Event) -> None:
        match event:
            case Connected():
                await self._welcome(event)
            case Message():
                if event.sender_id and not self.typing():
                    self._turn_to([event.sender_id])
                self._screen.heard(event)
            case StatusUpdate():
                self._set_online(event.user_id, online=event.status == "online")
            case Failure():
                self._screen.error(event.error)
            case Dropped() if not self._away:
                # Only the first of a row: that it still tries is said by the toolbar.
                self._away = True
                reason = event.reason.rstrip(".")
                self._screen.error(f"disconnected ({reason}); it comes back by itself")

    async def _welcome(self, connected: Connected) -> None:
        back, self._away = self._away, False
        if connected.reason:
            self._screen.note(f"connected again; older messages are gone ({connected.reason})")
        elif back:
            self._screen.note("connected again, nothing was lost")
        else:
            self._screen.note(f"You are {self.user_id}. @bob hello writes to bob, /help says more.")
        if back:
            # Beside the rest, which a connection that is gone again must not hold up.
            self._comparing = asyncio.create_task(self._compare_friends())
        else:
            with contextlib.suppress(RequestFailed, Disconnected):
                await self._online("")
        if connected.missed:
            count = "1 message" if connected.missed == 1 else f"{connected.missed} messages"
            self._screen.note(f"{count} came {'meanwhile' if back else 'while you were away'}:")

    async def _online_friends(self) -> list[str]:
        answer = await self._client.ask("get_online_friends_only", OnlineFriends)
        return [friend.user_id for friend in answer.users]

    async def _compare_friends(self) -> None:
        """What was not heard while the connection was away, or before they were friends."""
        try:
            online = set(await self._online_friends())
        except (RequestFailed, Disconnected):
            return  # the next connection tells
        for user_id in sorted(self.online | online):
            self._set_online(user_id, online=user_id in online)

    def _set_online(self, user_id: str, *, online: bool) -> None:
        if online == (user_id in self.online):
            return
        self.known.add(user_id)
        (self.online.add if online else self.online.discard)(user_id)
        self._screen.presence(user_id, online=online)

    def _turn_to(self, user_ids: Sequence[str]) -> None:
        self.partners = tuple(user_ids)
        self.known.update(user_ids)


def _listed(user_ids: Sequence[str], total: int | None = None) -> str:
    more = max(total or 0, len(user_ids)) - MAX_NAMES
    return ", ".join(user_ids[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")
