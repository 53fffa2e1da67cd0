"""How manage.py ends."""

import os
import subprocess
import sys

from scarfall.environment import BASE_DIR


def test_a_reader_that_has_seen_enough_is_no_failure_to_speak_of() -> None:
    """As in `manage.py asyncapi | head`."""
    with subprocess.Popen(
        [sys.executable, "manage.py", "asyncapi"],
        cwd=BASE_DIR,
        # Unbuffered, Python does not notice that it could not write all.
        env={**os.environ, "PYTHONUNBUFFERED": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        assert command.stdout.readline() == "{\n"
        command.stdout.close()
        assert command.stderr.read() == ""
    # As a shell says of who died of SIGPIPE.
    assert command.returncode == 141
