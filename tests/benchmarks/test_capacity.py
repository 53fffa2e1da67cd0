"""docs/capacity.md begins with figures: those of the benchmarks, and what follows from them."""

import re
from typing import Final

import pytest

from benchmarks.cases import CASES
from benchmarks.contenders import GATEWAY, ROOT
from benchmarks.page import RAW
from benchmarks.results import Results

PAGE: Final = (ROOT / "docs" / "capacity.md").read_text()
RESULTS: Final = Results.read(RAW)
#: Of a GB, for what is bytes; a core's second, for what is µs.
UNITS: Final = {"µs": 1e6, "ms": 1e3, "KiB": 1e9 / 1024, "KB": 1e6}
#: What a row is of: a case's figure, and by how much it is divided.
MEASURED: Final = {
    "a message to one recipient, server CPU": ("to-1", "cpu_us", 1),
    "ten recipients, each delivery": ("to-10", "cpu_us", 1),
    "one recipient, on another process": ("across-1", "cpu_us", 1),
    "one recipient, among 20,000 users": ("among-20000", "cpu_us", 1),
    "connect and authenticate": ("storm", "connect_cpu_ms", 1),
    "an idle connection, CPU": ("idle", "idle_share", 5_000 / 1e6),
    "an idle connection, memory": ("idle", "rss_kib", 1),
    "a friend told of a change": ("status", "transition_cpu_ms", 1),
    "Valkey's CPU, a delivery to one recipient": ("to-1", "redis_us", 1),
    "Valkey's CPU, a delivery to one of ten": ("to-10", "redis_us", 1),
}


def rows() -> list[tuple[str, float, str, float]]:
    """What, how much of which unit, and how many of it a core or a GB carries."""
    found = re.findall(
        r"^\| ([^|]+) \| ([\d.]+) (\S+)[^|]* \| ([\d,]+) [^|]+\|$", PAGE, re.MULTILINE
    )
    return [
        (what, float(n), unit, float(carries.replace(",", ""))) for what, n, unit, carries in found
    ]


@pytest.mark.parametrize("what", MEASURED)
def test_a_measured_figure_is_the_benchmarks(what: str) -> None:
    (figure,) = [figure for name, figure, _, _ in rows() if name == what]
    name, which, divisor = MEASURED[what]
    (case,) = [case for case in CASES if case.name == name]
    measured = RESULTS.median(case, GATEWAY, which)
    assert measured is not None
    assert figure == pytest.approx(measured / divisor, rel=0.02)


def test_what_follows_from_it_is_calculated_right() -> None:
    assert len(rows()) == len(MEASURED) + 3
    for what, figure, unit, carries in rows():
        assert carries == pytest.approx(UNITS[unit] / figure, rel=0.02), what
