"""What Linux, Valkey and the gateway itself say of the processes that are watched."""

import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import redis

from tests.soak.figures import KIB, MIB

#: Figure, subject and value.
Reading = tuple[str, str, float]

_ESTABLISHED: Final = "01"
_QUEUED: Final = re.compile(r"^scarfall_queue_bytes(?:\{[^}]*\})? ([0-9.e+]+)$", re.MULTILINE)


def process(name: str, process_id: int) -> Iterator[Reading]:
    """Raises OSError where it has ended."""
    folder = Path("/proc") / str(process_id)
    status = dict(
        line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line
    )
    yield "resident", name, int(status["VmRSS"].split()[0]) * KIB / MIB
    yield "anonymous", name, int(status["RssAnon"].split()[0]) * KIB / MIB
    yield "threads", name, int(status["Threads"])
    yield "descriptors", name, len([*(folder / "fd").iterdir()])


def store(client: redis.Redis) -> Iterator[Reading]:
    memory = client.info("memory")
    clients = client.client_list()
    yield "data", "valkey", memory["used_memory"] / MIB
    yield "buffers", "valkey", sum(int(each["omem"]) for each in clients) / KIB
    yield "keys", "valkey", client.dbsize()


def sockets(ports: dict[str, int]) -> Iterator[Reading]:
    """Of the connections at each port, by its name."""
    totals = {name: [0, 0, 0] for name in ports}
    names = {f"{port:04X}": name for name, port in ports.items()}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, queues, *_ = line.split()
        name = names.get(local.rpartition(":")[2])
        if name is not None and state == _ESTABLISHED:
            unsent, unread = (int(part, 16) for part in queues.split(":"))
            total = totals[name]
            total[0] += 1
            total[1] += unsent
            total[2] += unread
    for name, (connections, unsent, unread) in totals.items():
        yield "connections", name, connections
        yield "unsent", name, unsent / KIB
        yield "unread", name, unread / KIB


def metrics(port: int) -> Iterator[Reading]:
    """What the gateways say of their own queues, where they do."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            values = [float(value) for value in _QUEUED.findall(answer.read().decode())]
    except (urllib.error.HTTPError, TimeoutError):
        return
    if values:
        yield "queued", "gateways", sum(values) / KIB


def names(process_ids: Sequence[int]) -> dict[str, int]:
    """The gateway's processes, by what `serve` calls them."""
    found = {}
    for process_id in process_ids:
        environment = Path(f"/proc/{process_id}/environ").read_bytes().split(b"\0")
        (name,) = (e[17:].decode() for e in environment if e.startswith(b"SCARFALL_PROCESS="))
        found[name] = process_id
    return found
