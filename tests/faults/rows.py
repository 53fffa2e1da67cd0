"""The table in docs/reliability.md, from a run of the suite:

FAULTS_ROWS=rows.jsonl script/test tests/faults tests/socketio/test_stock_load.py
python -m tests.faults.rows rows.jsonl
"""

import json
import os
import sys
from pathlib import Path

from tests.faults.record import Record

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- made by python -m tests.faults.rows: -->", "<!-- until here -->"
HEAD = (
    "| fault | load | messages | deliveries | lost | doubled "
    "| longest wait for an answer | and then for its delivery |\n"
    "|---|---|---|---|---|---|---|---|\n"
)


#: Where the faults are: pytest's arguments.
SUITE = ("tests/faults", "tests/socketio/test_stock_load.py")


def note(record: Record, *, senders: int, recipients: int, timed: bool = True) -> None:
    """Add what one test saw to the file that FAULTS_ROWS names, if it names one.

    `timed`: the record has when each delivery came.
    """
    path = os.environ.get("FAULTS_ROWS")
    if not path:
        return
    test = os.environ["PYTEST_CURRENT_TEST"].rsplit(" ", maxsplit=1)[0]
    row = {
        "test": test,
        "load": f"{senders} senders, {recipients} recipients",
        "messages": record.answered,
        "deliveries": sum(len(received) for received in record.received.values()),
        "lost": sum(len(ids) for ids in record.outstanding().values()),
        "doubled": record.doubled(),
        "answer": record.worst_answer_seconds(),
        "delivery": record.worst_delivery_seconds() if timed else None,
        "returns": len(record.absences),
        "away": max(record.absences, default=None),
    }
    with Path(path).open("a") as file:
        file.write(json.dumps(row) + "\n")


def table(rows: list[dict[str, object]]) -> str:
    return HEAD + "".join(
        f"| {words(str(row['test']))} "
        f"| {row['load']} | {row['messages']} | {row['deliveries']} | {row['lost']} "
        f"| {row['doubled']} | {seconds(row['answer'])} | {seconds(row['delivery'])} |\n"
        for row in rows
    )


def seconds(value: object) -> str:
    return "" if value is None else f"{value:.1f} s"


def words(test: str) -> str:
    """How the table names a test."""
    module, _, name = test.rpartition("/")[2].partition(".py::")
    words = name.removeprefix("test_").replace("_", " ").replace("[", ", ").rstrip("]")
    return f"{module.removeprefix('test_').replace('_', ' ')}: {words}"


def main(path: str) -> None:
    lines = Path(path).read_text().splitlines()
    rows = sorted(map(json.loads, lines), key=lambda row: str(row["test"]))
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{table(rows)}\n{END}{after}")


if __name__ == "__main__":
    main(sys.argv[1])
