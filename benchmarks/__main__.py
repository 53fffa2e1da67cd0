"""The command line of script/bench."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks import machine, page, socketio_frames
from benchmarks.build import build
from benchmarks.cases import CASES, FIGURES, MAIN, Case, Unsound
from benchmarks.contenders import (
    CONTENDERS,
    GATEWAY,
    REDIS_ADAPTER,
    STREAMS_ADAPTER,
    Contender,
    running,
)
from benchmarks.results import Results

QUICK_CASES: Final = ("to-1", "to-10", "across-10")
QUICK_CONTENDERS: Final = (GATEWAY, REDIS_ADAPTER, STREAMS_ADAPTER)
QUICK_SECONDS: Final = 3.0
#: Our own cost in yardsticks (machine.py), as it was when it was last kept.
KEPT: Final = Path(__file__).parent / "kept.json"
#: So much more than was kept is a defect.
GROWTH: Final = 1.5
TRIES: Final = 4


def main() -> int:
    options = _options()
    cases = [case for case in CASES if case.name in options.only]
    contenders = [each for each in CONTENDERS if each.name in options.peer]
    if options.page:
        page.write(Results.read(page.RAW))
        return 0
    results = Results(
        machine=machine.described(),
        date=datetime.now(UTC).date().isoformat(),
        commit=machine.commit(),
    )
    if cases:
        build(contenders)
        _measure(results, cases, contenders, options.rounds, options.seconds)
        _show(results, cases, contenders)
    if "frames" in options.only:
        results.frames = asyncio.run(socketio_frames.frames())
    whole = not options.quick and len(cases) == len(CASES) and len(contenders) == len(CONTENDERS)
    if whole or options.write:
        page.FOLDER.mkdir(exist_ok=True)
        results.write(page.RAW)
        page.write(results)
    failed = bool(results.unsound.get(GATEWAY.name))
    for direction, costs in results.frames.items():
        ratio = socketio_frames.ratio(costs)
        failed |= ratio > socketio_frames.LIMIT
        print(f"a Socket.IO frame {direction}: {ratio:.2f} times a plain one's CPU time")
    if options.keep:
        _keep(results, cases)
    elif options.check:
        failed |= not _still_as_cheap(results, cases, options.seconds)
    return int(failed)


def _options() -> argparse.Namespace:
    names = [*(case.name for case in CASES), "frames"]
    parser = argparse.ArgumentParser(prog="script/bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the main cases, in 3 minutes")
    parser.add_argument("--only", action="append", choices=names, metavar="CASE", help=str(names))
    parser.add_argument(
        "--peer",
        action="append",
        choices=[each.name for each in CONTENDERS],
        metavar="NAME",
        help=f"beside this gateway: {[each.name for each in CONTENDERS]}",
    )
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="that each measurement takes")
    parser.add_argument("--write", action="store_true", help="docs/benchmarks/, though not whole")
    parser.add_argument("--page", action="store_true", help="docs/benchmarks/ from results.json")
    parser.add_argument(
        "--check", action="store_true", help="fail where our own cost has grown by half"
    )
    parser.add_argument("--keep", action="store_true", help="our cost, for --check to compare with")
    options = parser.parse_args()
    options.only = options.only or (QUICK_CASES if options.quick else names)
    options.rounds = options.rounds or (1 if options.quick else None)
    options.seconds = options.seconds or (QUICK_SECONDS if options.quick else None)
    asked = options.peer or [e.name for e in (QUICK_CONTENDERS if options.quick else CONTENDERS)]
    options.peer = [GATEWAY.name, *asked]
    return options


def _measure(
    results: Results,
    cases: Sequence[Case],
    contenders: Sequence[Contender],
    rounds: int | None,
    seconds: float | None,
) -> None:
    """One contender after the other, and round again: what else the machine does falls on all."""
    steps = [
        (case, contender)
        for case in cases
        for round_ in range(rounds or case.rounds)
        for contender in case.competing()
        if contender in contenders and (rounds or round_ == 0 or contender in MAIN)
    ]
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[now]}"), console=Console(stderr=True)) as bar:
        task = bar.add_task("script/bench", total=len(steps), now="")
        for case, contender in steps:
            bar.update(task, now=f"{case.name}: {contender.title}")
            try:
                with running(contender, processes=case.processes) as server:
                    figures = case.measure(server, seconds or case.seconds)
            except Unsound as error:
                results.unsound.setdefault(case.name, {})[contender.name] = str(error)
            else:
                results.add(case, contender, figures)
            bar.advance(task)


def _show(results: Results, cases: Sequence[Case], contenders: Sequence[Contender]) -> None:
    console = Console(width=200 if not sys.stdout.isatty() else None)
    for case in cases:
        table = Table(*("", *(FIGURES[name] for name in case.figures)), title=case.title)
        for contender in case.competing():
            if contender in contenders:
                why = results.unsound.get(case.name, {}).get(contender.name)
                cells = [_cell(results, case, contender, figure) for figure in case.figures]
                table.add_row(contender.title, *([why] if why else cells))
        console.print(table)


def _cell(results: Results, case: Case, contender: Contender, figure: str) -> str:
    """The figure, and ours as a multiple of it."""
    value = results.median(case, contender, figure)
    own = results.median(case, GATEWAY, figure)
    if value is None:
        return "-"
    ratio = f"  ×{own / value:.2f}" if own and value and contender is not GATEWAY else ""
    return f"{value:,.2f}{ratio}"


def _yardsticks(results: Results, cases: Sequence[Case]) -> list[tuple[Case, float]]:
    """Our cost of a million deliveries, as a multiple of the yardstick's."""
    unit = results.machine["yardstick_seconds"]
    costs = [(case, results.median(case, GATEWAY, "cpu_us")) for case in cases]
    return [(case, cost / unit) for case, cost in costs if cost is not None]


def _yardsticks_again(case: Case, seconds: float | None) -> float:
    unit = machine.yardstick()
    with running(GATEWAY, processes=case.processes) as server:
        cost = case.measure(server, seconds or case.seconds)["cpu_us"]
    assert cost is not None  # it was measured before
    return cost / unit


def _keep(results: Results, cases: Sequence[Case]) -> None:
    costs = {case.name: round(cost, 2) for case, cost in _yardsticks(results, cases)}
    KEPT.write_text(json.dumps(costs, indent=1) + "\n")


def _still_as_cheap(results: Results, cases: Sequence[Case], seconds: float | None) -> bool:
    """What else runs on the machine makes a case dearer, never cheaper: one that is too dear is
    measured again before it counts as a defect.
    """
    kept, cheap = json.loads(KEPT.read_text()), True
    for case, cost in _yardsticks(results, cases):
        costs = [cost]
        while min(costs) > GROWTH * kept[case.name] and len(costs) < TRIES:
            costs.append(_yardsticks_again(case, seconds))
        growth = min(costs) / kept[case.name]
        measured = ", ".join(f"{each:.0f}" for each in costs)
        print(f"{case.name}: {measured} yardsticks, {growth:.2f} of what was kept")
        cheap &= growth <= GROWTH
    return cheap


if __name__ == "__main__":
    sys.exit(main())
