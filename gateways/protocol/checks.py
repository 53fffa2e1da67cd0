"""What a type does not tell of what a client sends. Each check raises ValueError, which names the
field and what was expected.
"""

import math
from typing import Any, Final

MAX_METADATA_DEPTH: Final = 32
#: Looking at one costs 0.1 µs; without a bound a frame of brackets would hold everybody up.
MAX_METADATA_VALUES: Final = 10_000
#: JSON numbers beyond this lose digits in every JavaScript client (RFC 8259, section 6).
MAX_SAFE_INTEGER: Final = 2**53 - 1


def check_printable(name: str, *values: str) -> None:
    if not "".join(values).isprintable():
        raise ValueError(f"{name}: expected printable characters only")


def check_json(value: Any) -> None:
    """Refuse what some client could not read back: deep nesting, numbers beyond a double."""
    level, values = [value], 1
    for _ in range(MAX_METADATA_DEPTH):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
            elif isinstance(item, int):
                if abs(item) > MAX_SAFE_INTEGER:
                    raise ValueError("metadata: expected integers of at most 2**53 - 1")
            elif isinstance(item, float) and not math.isfinite(item):
                raise ValueError("metadata: expected finite numbers")
        values += len(below)
        if values > MAX_METADATA_VALUES:
            raise ValueError(f"metadata: expected at most {MAX_METADATA_VALUES} values")
        if not below:
            return
        level = below
    raise ValueError(f"metadata: expected at most {MAX_METADATA_DEPTH} levels")
