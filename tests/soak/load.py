"""The load, in a process of its own: `python -m tests.soak.load PORT INTERNAL_PORT`.

It says on its output, a line of JSON each second, what it has done and seen so far. It ends when
its input does, with every player coming back for what is left and a last line.
"""

import asyncio
import json
import sys
from typing import Final

from tests.soak.players import pass_by, players
from tests.soak.record import Record
from tests.soak.services import KEYS, PlatformService
from tests.soak.strangers import AT_ONCE, read_slowly, trouble

SLOW_READERS: Final = [f"slow-{number}" for number in range(4)]
PASSING: Final = 4


async def run(port: int, internal_port: int) -> None:
    record, ending = Record(), asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, ending.set)

    def going() -> bool:
        return not ending.is_set()

    everybody = players(record, port)
    services = [PlatformService(record, internal_port, name, SLOW_READERS) for name in KEYS]
    telling = asyncio.create_task(_tell(record))
    async with asyncio.TaskGroup() as group:
        for player in everybody:
            group.create_task(player.come_and_go(going))
        for service in services:
            group.create_task(service.come_and_go(going))
        group.create_task(services[0].try_wrong_keys(going))
        for _ in range(PASSING):
            group.create_task(pass_by(record, port, going))
        for _ in range(AT_ONCE):
            group.create_task(trouble(record, port, going))
        for user_id in SLOW_READERS:
            group.create_task(read_slowly(record, port, user_id, going))
    for player in everybody:
        await player.catch_up()
        seq, accepted = player.place.seq, record.accepted[player.place.user_id]
        if seq != accepted:
            record.fault(f"{player.place.device_id}: {accepted} accepted, {seq} came")
    telling.cancel()
    _say(record, done=True)


async def _tell(record: Record) -> None:
    while True:
        await asyncio.sleep(1)
        _say(record)


def _say(record: Record, *, done: bool = False) -> None:
    said = {"counts": record.counts, "faults": record.faults, "done": done}
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    asyncio.run(run(*map(int, sys.argv[1:])))
