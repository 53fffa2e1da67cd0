"""Whether a gateway stays as it is, however long it serves: the command line of script/soak.

Real gateway processes and a Valkey of their own serve a mixed load from another process: plain and
Socket.IO players of every transport who come, resume and go, services, slow readers, and strangers
who break every rule. Users are a fixed set and inboxes are short, so that nothing has to grow.

Fails where a curve of memory, queues, descriptors or keys rises, a message is lost, doubled or out
of order, something is left behind when all have gone, or the logs have a trace.
"""

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import redis
from rich.console import Console

from benchmarks import machine
from tests.e2e.gateways import ROOT, Deployment, GatewayProcess
from tests.soak import page, readings
from tests.soak.figures import FIGURES, Verdict, verdict
from tests.soak.services import VARIABLE
from tests.valkey import Valkey, running_valkey

#: Between two samples: 90 in three minutes, 900 in an hour.
SAMPLE_SECONDS: Final = (2.0, 4.0)
#: For all players to come once more, and for the gateway to forget who went.
END_SECONDS: Final = 120.0
#: Descriptors that may be open at the end and not at the beginning: of a database, of a thread.
LEFT_BEHIND: Final = 5
VARIABLES: Final = {
    "WEB_CONCURRENCY": "2",
    "CUSTOM_SERVICES": VARIABLE,
    # So short that they are full, and stay so, before the first third is over.
    "INBOX_MAX_MESSAGES": "200",
    "INBOX_TTL": "120",
    "MAX_OUTBOUND_BYTES": "131072",
    "AUTH_TIMEOUT": "5",
    "WS_PING_INTERVAL": "5000",
    "WS_PING_TIMEOUT": "5000",
    # As shipped; but for strangers, of whom some are to meet them.
    "LIMIT_CONNECTIONS": "1000/10",
    "LIMIT_ADMISSIONS": "1000/2",
    "LIMIT_FAILED_TOKENS": "5/60",
    "LIMIT_FRAMES": "600/10",
    "LIMIT_BYTES": "8388608/10",
    "LIMIT_MESSAGES": "300/10",
    "LIMIT_RECIPIENTS": "20000/10",
    "LIMIT_PRESENCE_QUERIES": "30/10",
}
RATES: Final = ("connects", "strangers", "messages", "deliveries", "questions")


def main() -> int:
    parser = argparse.ArgumentParser(prog="script/soak", description=__doc__)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--out", type=Path, default=ROOT / "var" / "soak", help="for the curves")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scarfall-soak-") as folder, running_valkey() as valkey:
        directory = Path(folder)
        deployment = Deployment(
            valkey, directory, DATABASE_URL=f"sqlite:///{directory}/db.sqlite3", **VARIABLES
        )
        try:
            soak = Soak(valkey, deployment.start("all"), options.minutes * 60)
            asyncio.run(soak.run())
        finally:
            with contextlib.suppress(AssertionError):
                deployment.stop()
        if "Traceback" in (logs := soak.gateway.logs()):
            at = logs.index("Traceback")
            soak.faults.append(f"a trace in the logs: {logs[max(at - 300, 0) : at + 2000]}")
    return soak.report(options.out)


class Soak:
    def __init__(self, valkey: Valkey, gateway: GatewayProcess, seconds: float) -> None:
        self.gateway = gateway
        self.faults: list[str] = []
        self._valkey = valkey
        self._processes = readings.names(gateway.node_pids)
        self._seconds = seconds
        self._samples: list[tuple[float, str, str, float]] = []
        self._counts: dict[str, int] = {}
        self._counted: list[tuple[float, dict[str, int]]] = []
        self._done = False

    async def run(self) -> None:
        with self._valkey.client() as client:
            before = dict(self._descriptors())
            async with self._load() as load:
                await self._sample(client, load)
            if not self._done:
                self.faults.append("the load did not come to its end")
            await self._nothing_is_left(client, before)

    def report(self, out: Path) -> int:
        """Write and say what was found. Returns the exit code."""
        curves = page.by_figure(self._samples)
        verdicts = [
            verdict(figure, subject, points)
            for figure in FIGURES
            for subject, points in curves.get(figure.name, {}).items()
        ]
        heading = {
            "minutes": self._seconds / 60,
            "date": datetime.now(UTC).date().isoformat(),
            "commit": machine.commit(),
            "counts": self._counts,
        }
        page.write(
            out,
            heading=heading,
            curves=curves,
            rates=self._rates(),
            verdicts=verdicts,
            faults=self.faults,
        )
        for each in verdicts:
            _say(each)
        for fault in self.faults:
            print(f"FAULT {fault}")
        rising = [each for each in verdicts if not each.flat]
        print(f"{len(verdicts)} curves, {len(rising)} rise; {len(self.faults)} faults; see {out}")
        return int(bool(rising or self.faults))

    # --- while it runs ----------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _load(self) -> AsyncIterator[asyncio.subprocess.Process]:
        """At the end of the context it is told to come to its end, and waited for."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.soak.load"),
            *(str(self.gateway.port), str(self.gateway.internal_port)),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            limit=1 << 20,
        )
        assert process.stdin is not None
        listening = asyncio.create_task(self._listen(process))
        try:
            yield process
            process.stdin.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(END_SECONDS):
                    await listening
                    await process.wait()
        finally:
            listening.cancel()
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def _listen(self, load: asyncio.subprocess.Process) -> None:
        assert load.stdout is not None
        async for line in load.stdout:
            said: dict[str, Any] = json.loads(line)
            self._counts, self._done = said["counts"], said["done"]
            self.faults[:] = said["faults"]

    async def _sample(self, client: redis.Redis, load: asyncio.subprocess.Process) -> None:
        console = Console(stderr=True)
        begun = time.monotonic()
        every = min(max(self._seconds / 90, SAMPLE_SECONDS[0]), SAMPLE_SECONDS[1])
        with console.status("script/soak") as status:
            while (at := time.monotonic() - begun) < self._seconds and load.returncode is None:
                taken = [*self._readings(client)]
                self._samples += [(at, *reading) for reading in taken]
                self._counted.append((at, dict(self._counts)))
                line = self._line(at, taken)
                status.update(line)
                if not console.is_terminal and int(at / 30) != int((at - every) / 30):
                    print(line, file=sys.stderr, flush=True)
                await asyncio.sleep(every)

    def _readings(self, client: redis.Redis) -> list[readings.Reading]:
        processes = {**self._processes, "valkey": self._valkey.process.pid}
        ports = {"user": self.gateway.port, "internal": self.gateway.internal_port}
        return [
            *(reading for each in processes.items() for reading in readings.process(*each)),
            *readings.store(client),
            *readings.sockets(ports),
            *readings.metrics(self.gateway.internal_port),
        ]

    def _line(self, at: float, taken: list[readings.Reading]) -> str:
        memory = ", ".join(f"{who} {value:.1f}" for what, who, value in taken if what == "resident")
        done = ", ".join(f"{self._counts.get(name, 0):,} {name}" for name in RATES)
        faults = self._counts.get("faults", 0)
        return (
            f"{at / 60:.1f} of {self._seconds / 60:g} min; MiB: {memory}; {done}, {faults} faults"
        )

    # --- when it ends -----------------------------------------------------------------------------

    async def _nothing_is_left(self, client: redis.Redis, before: dict[str, float]) -> None:
        """All have gone, some of them without a word: their sockets and sessions go too."""
        deadline = time.monotonic() + END_SECONDS
        while left := self._left(client, before):
            if time.monotonic() > deadline:
                self.faults += left
                return
            await asyncio.sleep(0.5)

    def _left(self, client: redis.Redis, before: dict[str, float]) -> list[str]:
        sessions = [key.decode() for key in client.scan_iter("*:sessions") if client.hlen(key)]
        left = [f"sessions are left: {sessions[:5]}"] if sessions else []
        for name, descriptors in self._descriptors():
            if descriptors > before[name] + LEFT_BEHIND:
                left.append(f"{name}: {descriptors} descriptors are left of {before[name]}")
        return left

    def _descriptors(self) -> list[tuple[str, float]]:
        return [
            (name, value)
            for name, process_id in self._processes.items()
            for figure, _, value in readings.process(name, process_id)
            if figure == "descriptors"
        ]

    def _rates(self) -> dict[str, list[tuple[float, float]]]:
        """Each over about fifteen seconds."""
        step = max(len(self._counted) // 60, 5)
        return {
            name: [
                (round(then, 1), round((later.get(name, 0) - first.get(name, 0)) / (then - at), 1))
                for (at, first), (then, later) in zip(
                    self._counted[::step], self._counted[step::step], strict=False
                )
            ]
            for name in RATES
        }


def _say(each: Verdict) -> None:
    print(
        f"{'flat ' if each.flat else 'RISES'} {each.curve}: {each.typical:.1f} {each.figure.unit}"
        f", {each.rise:+.2f} of {each.figure.bound:g} ({each.rise_an_hour:+.2f} an hour)"
    )


if __name__ == "__main__":
    sys.exit(main())
