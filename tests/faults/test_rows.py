"""docs/reliability.md shows every fault of the suite, and none besides."""

import subprocess
import sys
from pathlib import Path

from tests.faults import rows

ROOT = Path(__file__).parents[2]
#: The store's own loss, of which every client is told; with it goes the memory of what was there.
LOSES_ITS_DATA = {"store: it is killed and has no log", "store: its data are lost"}


def test_the_table_has_a_row_for_every_fault() -> None:
    run = [sys.executable, "-m", "pytest", "--collect-only", "-q", *rows.SUITE]
    collected = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    faults = [
        rows.words(line)
        for line in collected.splitlines()
        if "::" in line and not line.startswith("tests/faults/test_rows.py")
    ]
    _, _, table = rows.PAGE.read_text().partition(rows.HEAD)
    shown = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("|")]
    assert faults
    assert sorted(shown) == sorted(faults)


def test_nothing_in_the_table_was_lost_or_doubled_but_where_the_store_lost_its_data() -> None:
    _, _, table = rows.PAGE.read_text().partition(rows.HEAD)
    for line in table.splitlines():
        if line.startswith("|"):
            fault, _, messages, deliveries, lost, doubled, *_ = line.strip("| ").split(" | ")
            assert int(messages) > 0, line
            assert int(deliveries) > 0, line
            assert (lost, doubled) == ("0", "0") or fault in LOSES_ITS_DATA, line
