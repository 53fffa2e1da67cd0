"""A player in a terminal: two of them are the first thing to see of a gateway."""

import asyncio
import contextlib
import socket
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateways.client.client import Client
from gateways.client.events import CannotConnect, Refused
from gateways.management import operators
from gateways.management.chat import keyboard, lines
from gateways.management.chat.room import Room
from gateways.management.chat.screen import Screen


class Command(BaseCommand):
    help = (
        "Chats as a user, over the user gateway. Reads lines from a pipe, too: each is carried out"
        " when the one before is answered."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", metavar="USER")
        parser.add_argument("--email")
        parser.add_argument("--url", default=f"ws://127.0.0.1:{settings.PORT}/ws")
        parser.add_argument(
            "--friends", default="", metavar="USER,…", help="make friends first, on both sides"
        )

    def handle(
        self,
        *_args: Any,
        user: str,
        email: str | None,
        url: str,
        friends: str,
        **_options: Any,
    ) -> None:
        user_id = operators.user_id(user)
        friend_ids = [operators.user_id(name) for name in lines.names(friends)]
        client = Client(
            url,
            lambda: operators.issue_token(user_id, email=email),
            device_id=f"terminal on {socket.gethostname()}"[:128],
            active_every_seconds=settings.IDLE_TIMEOUT / 3,
        )
        try:
            failed = asyncio.run(_chat(user_id, client, friend_ids))
        except Refused as error:
            raise CommandError(f"{url} does not take {user_id}: {error}") from None
        except CannotConnect as error:
            raise CommandError(
                f"No gateway at {url}: {error}. Start one in another terminal: script/server"
            ) from None
        except TimeoutError:
            raise CommandError("The gateway did not answer in time.") from None
        except KeyboardInterrupt:
            sys.exit(130)
        if failed:
            sys.exit(1)


async def _chat(user_id: str, client: Client, friend_ids: list[str]) -> bool:
    at_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    screen = Screen(plain=not sys.stdout.isatty())
    # Before the connect, which is what the friends then hear of.
    trouble = await _make_friends(user_id, friend_ids)
    async with client:
        room = Room(user_id, client, screen)
        room.known.update(friend_ids)
        if len(friend_ids) == 1:
            room.partners = tuple(friend_ids)
        if trouble:
            screen.error(trouble)
        following = asyncio.create_task(room.follow())
        read = keyboard.interactive if at_terminal else keyboard.piped
        await read(room, client, following)
        if following.done():
            screen.error(f"The gateway ended the connection: {following.result()}")
            return True
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
    return room.failed and not at_terminal


async def _make_friends(user_id: str, friend_ids: list[str]) -> str:
    """Returns what went wrong, to be said only where there is a gateway."""
    if friend_ids:
        try:
            async with operators.gateway() as gateway:
                await gateway.friends.add(user_id, friend_ids)
        except CommandError as error:
            return str(error)
    return ""
