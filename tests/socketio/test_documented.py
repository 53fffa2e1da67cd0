"""What docs/socketio.md shows, as it stands there."""

import asyncio
import os
import re
import signal
import subprocess
from pathlib import Path

from tests.e2e.client import connect_as, connect_service, eventually, token
from tests.e2e.conftest import HERALD_KEY, Name
from tests.e2e.gateways import ROOT, Deployment
from tests.socketio.clients import installed

PAGE = ROOT / "docs" / "socketio.md"
PRELUDE = """
const [url, token] = process.argv.slice(2);
const handle = ({ seq, message }) => console.log(`${seq} ${message}`);
"""


def documented(beginning: str) -> str:
    """The page's block of code that begins so."""
    blocks = re.findall(r"```js\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (block,) = [block for block in blocks if block.startswith(beginning)]
    return str(block)


async def test_the_lossless_client_misses_nothing(
    deployment: Deployment, name: Name, tmp_path: Path
) -> None:
    """Its gateway is killed, and what is sent meanwhile and after that comes to it once. It goes on
    from the newest message that has a place, which a broadcast has not.
    """
    deployment.logs_stay_clean = False
    deployment.variables = {"CUSTOM_SERVICES": f"herald:{HERALD_KEY}:news"}
    first, second = await asyncio.to_thread(deployment.start_pair)
    internal = await asyncio.to_thread(deployment.start, "internal")
    packages = await asyncio.to_thread(installed)
    (tmp_path / "node_modules").symlink_to(packages / "node_modules")
    (tmp_path / "client.mjs").write_text(PRELUDE + documented("import { io }"))

    async def running() -> bool:
        return len(first.node_pids) == 1

    client = await asyncio.create_subprocess_exec(
        *("node", "client.mjs", f"http://127.0.0.1:{first.port}", token(name("bob"))),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
    )
    assert client.stdout is not None
    try:
        async with connect_as(second.url, name("alice")) as alice, asyncio.timeout(50):
            lines = []
            for round_ in range(3):
                for number in range(5):
                    await alice.message(name("bob"), f"{round_}.{number}")
                    if number == 2 and round_:
                        await eventually(running, "the process to be there")
                        os.kill(first.node_pid, signal.SIGKILL)
                lines += [(await client.stdout.readline()).decode().strip() for _ in range(5)]
            async with connect_service(internal.internal_url, "herald", HERALD_KEY) as herald:
                await herald.request("broadcast", {"message": "to all"})
            assert (await client.stdout.readline()).decode().strip() == "undefined to all"
            os.kill(first.node_pid, signal.SIGKILL)
            await alice.message(name("bob"), "end")
            assert (await client.stdout.readline()).decode().strip() == "16 end"
    finally:
        client.kill()
        await client.wait()
    texts = [f"{round_}.{number}" for round_ in range(3) for number in range(5)]
    assert lines == [f"{seq} {text}" for seq, text in enumerate(texts, start=1)]
