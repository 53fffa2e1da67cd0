"""manage.py trace and explain, as processes, on two gateway processes."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.management.base import CommandError

from tests.e2e.client import connect_as, eventually
from tests.e2e.conftest import Deploy, Name, Pair
from tests.gateways.management.conftest import Command, Manage

CANARY = "a canary's song"


@pytest.fixture(scope="module")
def pair(deploy: Deploy) -> Pair:
    deployment = deploy(OFFLINE_GRACE="1")
    return Pair(deployment, *deployment.start_pair())


class Tracing:
    def __init__(self, process: subprocess.Popen[bytes], out: Path) -> None:
        self.process = process
        self.out = out

    @property
    def text(self) -> str:
        return self.out.read_text()

    @property
    def steps(self) -> list[dict[str, Any]]:
        return [
            json.loads(line) for line in self.text.splitlines(keepends=True) if line[-1] == "\n"
        ]

    async def says(self, *texts: str) -> None:
        async def said() -> bool:
            assert self.process.poll() is None, self.text
            return all(text in self.text for text in texts)

        await eventually(said, f"{texts} in {self.text}")


@contextmanager
def tracing(pair: Pair, tmp_path: Path, *arguments: str) -> Iterator[Tracing]:
    manage = Manage(pair.first)
    with (tmp_path / "out").open("wb") as out:
        process = subprocess.Popen(
            [*manage.command, "trace", *arguments],
            cwd=Path(__file__).parents[3],
            env=pair.first.environment,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Tracing(process, tmp_path / "out")
    finally:
        process.kill()
        process.wait(10)


async def followed_by_both(trace: Tracing) -> None:
    async def both() -> bool:
        assert trace.process.poll() is None, trace.text
        return trace.text.count("followed") >= 2

    await eventually(both, "both nodes to follow")


async def test_two_nodes_events_arrive_in_one_trace(pair: Pair, name: Name, tmp_path: Path) -> None:
    alice, bob = name("alice"), name("bob")
    with tracing(pair, tmp_path, bob, "--json") as trace:
        await followed_by_both(trace)
        async with connect_as(pair.first.url, alice) as sender:
            async with connect_as(pair.second.url, bob):
                receipt = await sender.message(bob, CANARY)
                await trace.says('"handed"')
            await trace.says('"disconnected"', '"offline"')
        trace.process.send_signal(signal.SIGINT)
        assert trace.process.wait(10) == 0
        by_step = {step["step"]: step for step in trace.steps}
    assert by_step["stored"]["messageId"] == by_step["handed"]["messageId"] == receipt["messageId"]
    assert by_step["stored"]["node"] != by_step["handed"]["node"] == by_step["connected"]["node"]
    assert by_step["handed"]["seq"] == 1
    assert by_step["disconnected"]["code"] == 1000
    assert CANARY not in trace.text
    assert "eyJ" not in trace.text


async def test_a_trace_for_people(pair: Pair, name: Name, tmp_path: Path) -> None:
    bob = name("bob")
    with tracing(pair, tmp_path, bob) as trace:
        await followed_by_both(trace)
        async with connect_as(pair.second.url, bob, deviceId="phone") as client:
            await trace.says("connected", "device phone")
            await client.request("\x1b[31mred")
            await trace.says("unknown_event", "\N{REPLACEMENT CHARACTER}[31mred")
        assert "\x1b" not in trace.text


def test_a_trace_ends_by_itself(pair: Pair, name: Name) -> None:
    run = Manage(pair.first).run("trace", name("bob"), "--seconds", "1")
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.count("followed") == 2


def test_a_trace_without_a_store_says_why(pair: Pair) -> None:
    run = Manage(pair.first).run("trace", "bob", REDIS_URL="redis://127.0.0.1:1/0")
    assert run.returncode == 1
    assert "Redis does not answer" in run.stderr
    assert "Traceback" not in run.stderr


async def test_explain(pair: Pair, name: Name) -> None:
    bob, manage = name("bob"), Manage(pair.first)
    unknown = manage.run("explain", bob)
    assert unknown.returncode == 0
    assert "Unknown" in unknown.stdout
    async with connect_as(pair.second.url, bob, deviceId="phone"):
        explained = manage.run("explain", bob)
        assert explained.returncode == 0, explained.stderr
        assert "Looks offline to all" in explained.stdout
        assert "device phone" in explained.stdout
        assert "holds its lease" in explained.stdout
        found = json.loads(manage.run("explain", bob, "--json").stdout)
    assert found["known"] is True
    assert found["sessions"][0]["node"] == found["nodes"][0]
    assert found["inbox"]["newestSeq"] == 0


@pytest.mark.parametrize("name", ["trace", "explain"])
def test_what_is_no_user_id_is_refused(command: Command, name: str) -> None:
    with pytest.raises(CommandError, match="is no user id"):
        command(name, "x\x1b")
