"""Where lines come from: a person at a terminal, or a pipe."""

import asyncio
import os
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.patch_stdout import patch_stdout

from gateways.client.client import Client
from gateways.management.chat.room import Room
from gateways.management.chat.screen import STYLE, Fragment, name

#: A line of a pipe that is not answered by then is given up.
ANSWER_SECONDS: Final = 30.0
LONGEST_LINE_BYTES: Final = 2**24
QUIT: Final = "/quit"


async def interactive(room: Room, client: Client, following: asyncio.Task[str]) -> None:
    """Until the person leaves, or `following` ends."""
    session: PromptSession[str] = PromptSession(
        lambda: _prompt(room),
        bottom_toolbar=lambda: _toolbar(room, client),
        completer=_Completer(room),
        style=STYLE,
        erase_when_done=True,
    )
    room.typing = lambda: bool(session.default_buffer.text)

    def leave(_: asyncio.Task[str]) -> None:
        if session.app.is_running:
            session.app.exit(exception=EOFError)

    following.add_done_callback(leave)
    entering: set[asyncio.Task[None]] = set()
    with patch_stdout(raw=True), suppress(EOFError):
        while not following.done():
            try:
                line = await session.prompt_async()
            except KeyboardInterrupt:
                # The first one clears a line that was begun.
                if not session.default_buffer.text:
                    break
                continue
            if line.strip() == QUIT:
                break
            # Answers take their time where the connection is away; typing goes on.
            task = asyncio.create_task(room.enter(line))
            entering.add(task)
            task.add_done_callback(entering.discard)
    # What was said just before leaving goes out, if that is quick.
    if entering and client.connected:
        await asyncio.wait(entering, timeout=1.0)


async def piped(room: Room, client: Client, following: asyncio.Task[str]) -> None:
    """Each line when the one before is answered, until the pipe's end, or `following` ends."""
    work = asyncio.create_task(_enter_all(room, client))
    await asyncio.wait({work, following}, return_when=asyncio.FIRST_COMPLETED)
    if not work.done():
        work.cancel()
        return
    await work


async def _enter_all(room: Room, client: Client) -> None:
    await client.caught_up()
    async for line in _stdin():
        text = line.decode(errors="replace").strip()
        if text == QUIT:
            return
        async with asyncio.timeout(ANSWER_SECONDS):
            await room.enter(text)
    await client.caught_up()


def _stdin() -> asyncio.StreamReader:
    """The loop can wait for a pipe but not for a file, so a thread reads either. It holds no lock
    of sys.stdin's that the end of the process would wait for.
    """
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(LONGEST_LINE_BYTES)

    def pump() -> None:
        with suppress(RuntimeError):  # the loop has ended meanwhile
            while chunk := os.read(sys.stdin.fileno(), 65536):
                loop.call_soon_threadsafe(reader.feed_data, chunk)
            loop.call_soon_threadsafe(reader.feed_eof)

    threading.Thread(target=pump, daemon=True).start()
    return reader


def _prompt(room: Room) -> FormattedText:
    partners: list[Fragment] = []
    for user_id in room.partners:
        partners += [("", ", " if partners else " → "), name(user_id)]
    return FormattedText([name(room.user_id), *partners, ("", " > ")])


def _toolbar(room: Room, client: Client) -> FormattedText:
    if not client.connected:
        return FormattedText([("class:down", "○ "), ("", "connecting again …")])
    friends = ", ".join(sorted(room.online)) or "none"
    return FormattedText(
        [("class:up", "● "), ("", f"connected   friends online: {friends}   /help")]
    )


class _Completer(Completer):
    """Commands after `/`, names after `@`."""

    def __init__(self, room: Room) -> None:
        self._room = room

    def get_completions(self, document: Document, _: CompleteEvent) -> Iterable[Completion]:
        typed = document.text_before_cursor
        if typed.startswith("/"):
            choices = [f"/{command} " for command in (*self._room.commands, "quit")]
        elif typed.startswith("@") and " " not in typed:
            choices = [f"@{user_id} " for user_id in sorted(self._room.known)]
        else:
            return
        for choice in choices:
            if choice.startswith(typed):
                yield Completion(choice, -len(typed))
