"""Packages from npm that tests use: each set is a folder with a package.json and its lock."""

import fcntl
import shutil
import subprocess
from pathlib import Path

import pytest


def installed(directory: Path) -> Path:
    """The folder, with the packages of its lock in node_modules. Skips where there is no npm."""
    if shutil.which("npm") is None:
        pytest.skip("npm is missing: install Node.js 18 or newer")
    lock = (directory / "package-lock.json").read_bytes()
    stamp = directory / "node_modules" / "stamp"
    with (directory / ".install-lock").open("w") as one_at_a_time:
        fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_bytes() != lock:
            subprocess.run(["npm", "ci"], cwd=directory, check=True, capture_output=True)
            stamp.write_bytes(lock)
    return directory
