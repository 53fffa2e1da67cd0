"""The service's settings as the tests see them, whatever .env or the shell say."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from scarfall.variables import SECTIONS

for _variables in SECTIONS.values():
    for _variable in _variables:
        os.environ.pop(_variable.name, None)

_directory = Path(tempfile.mkdtemp(prefix="scarfall-tests-"))
atexit.register(shutil.rmtree, _directory, ignore_errors=True)

os.environ |= {
    "ENV_FILE": os.devnull,
    "DATA_DIR": str(_directory),
    "LOG_DIR": str(_directory / "logs"),
    "JWT_SECRET": "a-secret-that-only-these-tests-know",
    "SECRET_KEY": "another-secret-that-only-these-tests-know",
}

from scarfall.settings import *  # noqa: E402, F403
