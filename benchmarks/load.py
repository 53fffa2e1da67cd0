"""`manage.py loadtest`, on the core that the servers leave to it."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from benchmarks.contenders import ROOT, Running
from benchmarks.machine import LOAD_CORE, on_core

Options = Mapping[str, float | str]


def load(running: Running, options: Options) -> dict[str, Any]:
    """The report of a load on all of a contender's processes (loadtest/report.py has its fields).

    Raises SystemExit where it could not be measured.
    """
    done = subprocess.run(
        _command(running, options, running.urls),
        cwd=ROOT,
        env=running.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise SystemExit(
            f"script/bench: no load on {running.contender.title}: {done.stderr.strip()}"
        ) from None
    return report


@contextmanager
def online(running: Running, url: str, users: int) -> Iterator[None]:
    """So many users are connected at one address, and do nothing."""
    if not users:
        yield
        return
    options: Options = {"users": users, "senders": 0, "warmup": 0, "seconds": 3600}
    process = subprocess.Popen(
        _command(running, options, [url]),
        cwd=ROOT,
        env=running.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        if "connected" not in (said := process.stderr.readline()):
            raise SystemExit(f"script/bench: {users} users did not connect: {said.strip()}")
        yield
    finally:
        process.terminate()
        process.wait(60)


def _command(running: Running, options: Options, urls: list[str]) -> list[str]:
    watched = ",".join(map(str, running.process_ids))
    return [
        *on_core(LOAD_CORE),
        *(sys.executable, "manage.py", "loadtest", "--json"),
        *(
            f"--{name}={value:g}" if isinstance(value, float) else f"--{name}={value}"
            for name, value in options.items()
        ),
        *(f"--url={url}" for url in urls),
        f"--watch=server={watched}",
        f"--watch=redis={running.redis_process_id}",
    ]
