"""docs/benchmarks/README.md and its pictures, from the results."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks import socketio_frames
from benchmarks.cases import CASES, FIGURES, Case, Goal
from benchmarks.contenders import GATEWAY, ROOT, Contender
from benchmarks.results import Results
from gateways.management.loadtest import chart

FOLDER: Final = ROOT / "docs" / "benchmarks"
RAW: Final = FOLDER / "results.json"
PLOTTED: Final = ("to-1", "to-10", "across-10")


def write(results: Results, folder: Path = FOLDER) -> None:
    measured = [case for case in CASES if case.name in results.rounds]
    for case in measured:
        if case.name in PLOTTED:
            (folder / f"{case.name}.svg").write_text(_plot(case, results))
    introduction = (Path(__file__).parent / "page.md").read_text()
    parts = [introduction, *_machine(results), *_goals(measured, results)]
    for case in measured:
        parts += _case(case, results)
    parts += _frames(results)
    (folder / "README.md").write_text("\n".join(parts) + "\n")


def _machine(results: Results) -> Iterator[str]:
    machine = results.machine
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    yield (
        f"Measured on {results.date}, at commit {results.commit}: {machine['processor']},"
        f" {machine['cores']} cores, {machine['system']}, Node.js {machine['node']},"
        f" Python {machine['python']}, {packages}.\n"
    )


def _goals(measured: list[Case], results: Results) -> Iterator[str]:
    yield "## What was to be reached\n"
    yield "| case | figure | at most | is | |"
    yield "|---|---|---|---|---|"
    for case in measured:
        for goal in case.goals:
            reached = results.reached(case, goal)
            value, mark = ("not measured", "") if reached is None else _verdict(*reached)
            yield f"| {case.title} | {FIGURES[goal.figure]} | {_limit(goal)} | {value} | {mark} |"
    yield ""


def _limit(goal: Goal) -> str:
    return f"{goal.at_most:g}" + (f" × {goal.peer.title}" if goal.peer else "")


def _verdict(value: float, good: bool) -> tuple[str, str]:
    return _number(value), "reached" if good else "**not reached**"


def _case(case: Case, results: Results) -> Iterator[str]:
    yield f"## {case.title[0].upper()}{case.title[1:]}\n"
    if case.name in PLOTTED:
        yield f"![{FIGURES['cpu_us']}]({case.name}.svg)\n"
    heads = [FIGURES[name] for name in case.figures]
    compared = heads[0].partition(",")[0]
    yield f"| `--only {case.name}` | {' | '.join(heads)} | {compared}: ours to it |"
    yield "|---|" + "---|" * (len(heads) + 1)
    for contender in case.competing():
        if (why := results.unsound.get(case.name, {}).get(contender.name)) is not None:
            yield f"| {contender.title} | not sound: {why} |" + " |" * len(heads)
        elif contender.name in results.rounds[case.name]:
            yield _row(case, contender, results)
    yield ""


def _frames(results: Results) -> Iterator[str]:
    if results.frames:
        formats = list(next(iter(results.frames.values())))
        yield "## A Socket.IO frame beside a plain one\n"
        yield f"| `--only frames` | {', µs | '.join(formats)}, µs | ratio | at most | |"
        yield "|---|" + "---|" * (len(formats) + 3)
        for direction, costs in results.frames.items():
            ratio = socketio_frames.ratio(costs)
            value, mark = _verdict(ratio, ratio <= socketio_frames.LIMIT)
            cells = [_number(costs[name]) for name in formats]
            limit = f"{socketio_frames.LIMIT:g}"
            yield f"| a frame {direction} | {' | '.join(cells)} | {value} | {limit} | {mark} |"
        yield ""


def _row(case: Case, contender: Contender, results: Results) -> str:
    values = [results.median(case, contender, figure) for figure in case.figures]
    own = results.median(case, GATEWAY, case.figures[0])
    ratio = f"{own / values[0]:.2f}" if own and values[0] else "-"
    cells = ["-" if value is None else _number(value) for value in values]
    return f"| {contender.title} | {' | '.join(cells)} | {ratio} |"


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _plot(case: Case, results: Results) -> str:
    bars = {
        contender.title: value
        for contender in case.competing()
        if (value := results.median(case, contender, "cpu_us")) is not None
    }
    return chart.bars(case.title, FIGURES["cpu_us"], bars)
