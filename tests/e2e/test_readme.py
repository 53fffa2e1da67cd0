"""What README tells a newcomer to type does what it says."""

import re
import subprocess
import sys
from pathlib import Path

from tests.e2e.gateways import ROOT, GatewayProcess

README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"^\.venv/bin/python (manage\.py .+)$", README, re.MULTILINE)


def run(command: str, gateway: GatewayProcess, given: str = "") -> str:
    """Its output, once it has ended well."""
    done = subprocess.run(
        [sys.executable, *command.split()],
        cwd=ROOT,
        env=gateway.environment,
        input=given,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_players_talk(gateway_process: GatewayProcess) -> None:
    alice, bob, issue_token = COMMANDS
    assert "hello bob" in run(alice, gateway_process, "hello bob\n")
    assert "hello bob" in run(bob, gateway_process)
    assert run(issue_token, gateway_process).count(".") == 2


def test_every_place_it_names_is_there() -> None:
    table = README.partition("## Where things live")[2].partition("## One message's path")[0]
    named = re.findall(r"`([\w./]+/[\w./]*)`|\]\(([\w./]+)\)", table)
    assert len(named) > 10
    for code, link in named:
        assert (ROOT / (code or link)).exists(), code or link


def test_the_scripts_it_names_can_be_run() -> None:
    scripts = re.findall(r"^(script/\w+)", README, re.MULTILINE)
    assert scripts == ["script/server", "script/test"]
    for script in scripts:
        assert Path(ROOT / script).stat().st_mode & 0o111
