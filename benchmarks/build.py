"""The peers, made ready to run: their packages, at the versions that are pinned."""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from benchmarks.contenders import PEERS, PEERS_PYTHON, Contender

_NODE_LOCK: Final = PEERS / "package-lock.json"
_NODE_BUILT: Final = PEERS / "node_modules" / ".package-lock.json"
_PYTHON_LOCK: Final = PEERS / "requirements.txt"
_PYTHON_BUILT: Final = PEERS / ".venv" / "built-from.txt"


def build(contenders: Iterable[Contender]) -> None:
    """What those need that is not there yet."""
    programs = {each.command[0] for each in contenders if each.command is not None}
    if "node" in programs and not _newer(_NODE_BUILT, _NODE_LOCK):
        _run("npm", "ci", "--silent", "--prefix", str(PEERS))
    if str(PEERS_PYTHON) in programs and not _newer(_PYTHON_BUILT, _PYTHON_LOCK):
        _run(sys.executable, "-m", "venv", str(PEERS / ".venv"))
        pip = (str(PEERS_PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        _run(*pip, "--requirement", str(_PYTHON_LOCK))
        _PYTHON_BUILT.write_text(_PYTHON_LOCK.read_text())


def _newer(built: Path, lock: Path) -> bool:
    return built.exists() and built.stat().st_mtime >= lock.stat().st_mtime


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
