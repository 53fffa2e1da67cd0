"""Commands as they go over the wire (Redis, "RESP protocol specification"), packed by hiredis."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import cast

import hiredis

from gateways.store.scripts import Script

Argument = str | bytes | int | float
Command = tuple[Argument, ...]

#: A whole command. Its stub knows only commands of one word. Raises UnicodeEncodeError for a lone
#: surrogate.
pack = cast("Callable[[Command], bytes]", hiredis.pack_command)


def pack_arguments(*arguments: Argument) -> bytes:
    """A part of a command, to be put together with others: only its head says how many they are
    (RESP, "Arrays").
    """
    return pack(arguments).partition(b"\r\n")[2]


def pack_run(script: Script, keys: Sequence[str], args: Sequence[Argument]) -> bytes:
    return pack(("EVALSHA", script.sha, len(keys), *keys, *args))


def pack_packed_run(
    script: Script, key_count: int, keys: Sequence[bytes], args: Sequence[Argument]
) -> bytes:
    """`keys` as `pack_arguments` made them, one or several each."""
    count = 3 + key_count + len(args)
    start = _start_of_run(script.sha, key_count)
    return b"*%d\r\n%b%b%b" % (count, start, b"".join(keys), pack_arguments(*args))


@lru_cache(maxsize=1024)
def _start_of_run(sha: str, key_count: int) -> bytes:
    return pack_arguments("EVALSHA", sha, key_count)


def first_of(packed_arguments: bytes) -> bytes:
    """The first of what `pack_arguments` made: "$<length>", the argument, and so on (RESP, "Bulk
    strings").
    """
    head, _, rest = packed_arguments.partition(b"\r\n")
    return rest[: int(head[1:])]
