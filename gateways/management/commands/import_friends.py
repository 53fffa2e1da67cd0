"""Takes friend lists over: from a file of JSON lines, or from the old service's keys in Redis."""

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from gateways.gateway import Gateway
from gateways.management import operators
from gateways.management.bookmark import Bookmark, Position
from gateways.management.friend_lists import FriendList, of_line, of_old_key
from gateways.management.tables import visible
from gateways.protocol.errors import InvalidPayload
from gateways.store.legacy import LegacyFriends
from scarfall.values import server_url

#: Lists at once. Each has up to 1000 commands on their way, and 20,000 may wait for Redis.
IN_FLIGHT: Final = 16
#: Renaming a file may wait for the disk, so it is not done for each few lines.
MARK_SECONDS: Final = 0.5


class Command(BaseCommand):
    help = (
        'Sets friend lists from a file with {"userId": …, "friendIds": […]} on each line, or from'
        " the old service's keys. A user's list is replaced, so doing it twice is harmless. What"
        " does not fit is named and skipped. An import of a file that was interrupted goes on"
        " where it stopped."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        source = parser.add_mutually_exclusive_group(required=True)
        source.add_argument("file", metavar="FILE.jsonl", nargs="?", type=Path)
        source.add_argument(
            "--from-redis",
            nargs="?",
            const=settings.REDIS_URL,
            metavar="URL",
            help="read the old service's keys instead, in the gateway's own Redis or in another",
        )
        parser.add_argument(
            "--old-prefix",
            default="friends:",
            metavar="PREFIX",
            help="what those keys begin with; the user's id follows (friends:)",
        )
        parser.add_argument(
            "--restart", action="store_true", help="begin at the file's first line in any case"
        )

    def handle(
        self,
        *_args: Any,
        file: Path | None,
        from_redis: str | None,
        old_prefix: str,
        restart: bool,
        **_options: Any,
    ) -> None:
        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[lists]:,} lists"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            if file is not None:
                work = self._open(progress, file, restart=restart)
            else:
                assert from_redis is not None  # the parser wants one of them
                url = operators.option("--from-redis", from_redis, server_url)
                work = _Import(progress, "Redis", total=None)
                asyncio.run(work.from_redis(url, old_prefix))
        self.stdout.write(f"{work.done:,} lists imported.")
        if work.bad:
            raise CommandError(f"{work.bad:,} could not be read and were skipped.")

    def _open(self, progress: Progress, path: Path, *, restart: bool) -> "_Import":
        store = settings.REDIS_URL + settings.REDIS_PREFIX
        try:
            with path.open("rb") as file:
                bookmark = Bookmark(path, store=store, directory=settings.DATA_DIR)
                work = _Import(progress, path.name, total=bookmark.start.size)
                position = bookmark.start if restart else bookmark.read()
                if position.offset:
                    progress.console.print(f"Goes on after line {position.line:,}.")
                try:
                    asyncio.run(work.from_file(file, bookmark, position))
                except (CommandError, KeyboardInterrupt):
                    progress.stop()
                    if work.line:
                        where = f"Stopped after line {work.line:,}"
                        self.stderr.write(f"{where}; the same command goes on there.")
                    raise
        except KeyboardInterrupt:
            sys.exit(130)
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}") from None
        return work


class _Import:
    """What was done so far, and how a person sees it go."""

    def __init__(self, progress: Progress, source: str, *, total: int | None) -> None:
        self._progress = progress
        self._source = source
        self._bar: TaskID = progress.add_task(source, total=total, lists=0)
        self.done = 0
        self.bad = 0
        self.line = 0

    async def from_file(self, file: BinaryIO, bookmark: Bookmark, position: Position) -> None:
        """Where it is interrupted, the bookmark is where it came to; where it is killed, a moment
        before that.
        """
        self.line, self.done, self.bad = position.line, position.done, position.bad
        file.seek(position.offset)
        mark_due = time.monotonic() + MARK_SECONDS
        try:
            async with operators.gateway() as gateway:
                while lines := list(islice(file, IN_FLIGHT)):
                    position = await self._from_lines(gateway, lines, position)
                    if time.monotonic() > mark_due:
                        bookmark.write(position)
                        mark_due = time.monotonic() + MARK_SECONDS
        except BaseException:
            bookmark.write(position)
            raise
        bookmark.remove()

    async def _from_lines(
        self, gateway: Gateway, lines: Sequence[bytes], position: Position
    ) -> Position:
        read = [
            self._read(f"{self._source}:{number}", of_line, line)
            for number, line in enumerate(lines, start=position.line + 1)
            if line.strip()
        ]
        await self._set(gateway, read)
        offset = position.offset + sum(map(len, lines))
        self.line = position.line + len(lines)
        self._progress.update(self._bar, completed=offset, lists=self.done)
        return msgspec.structs.replace(
            position, offset=offset, line=self.line, done=self.done, bad=self.bad
        )

    async def from_redis(self, url: str, prefix: str) -> None:
        timeout_seconds = settings.REDIS_TIMEOUT
        async with (
            operators.gateway() as gateway,
            LegacyFriends.at(url, prefix, timeout_seconds=timeout_seconds) as legacy,
        ):
            async for page in legacy.pages():
                for start in range(0, len(page), IN_FLIGHT):
                    read = [
                        self._read(
                            prefix + user_id.decode(errors="replace"), of_old_key, user_id, v
                        )
                        for user_id, v in page[start : start + IN_FLIGHT]
                    ]
                    await self._set(gateway, read)
                    self._progress.update(self._bar, lists=self.done)

    def _read(
        self, place: str, read: Callable[..., FriendList], *given: bytes | None
    ) -> FriendList | None:
        try:
            return read(*given)
        except InvalidPayload as error:
            self.bad += 1
            self._progress.console.print(
                visible(f"{place}: {error}"), markup=False, highlight=False, soft_wrap=True
            )
            return None

    async def _set(self, gateway: Gateway, read: Sequence[FriendList | None]) -> None:
        # Of two lists of one user the later counts, also where both are in flight.
        good = [entry for entry in read if entry is not None]
        lists = {entry.user_id: entry.friend_ids for entry in good}
        await asyncio.gather(*(gateway.friends.set(*item) for item in lists.items()))
        self.done += len(good)
