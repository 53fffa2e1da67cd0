"""Waiting for what another process does, never for a time."""

import time
from collections.abc import Callable

#: Two busy cores may be slow; a condition that holds is not waited for.
WAIT_SECONDS = 30


def wait_until(
    condition: Callable[[], object], what: str, *, seconds: float = WAIT_SECONDS
) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
