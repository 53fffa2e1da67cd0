"""The curves as pictures, the verdicts as a table, the samples as they were."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gateways.management.loadtest import chart
from tests.soak.figures import FIGURES, Figure, Points, Verdict

#: Figure → subject → its curve.
Curves = Mapping[str, Mapping[str, Points]]


def write(
    folder: Path,
    *,
    heading: Mapping[str, Any],
    curves: Curves,
    rates: Mapping[str, Points],
    verdicts: Sequence[Verdict],
    faults: Sequence[str],
) -> None:
    """`rates`: what was done, a second."""
    folder.mkdir(parents=True, exist_ok=True)
    shown = [figure for figure in FIGURES if curves.get(figure.name)]
    for figure in shown:
        title, unit = figure.title[0].upper() + figure.title[1:], figure.unit or "number"
        (folder / f"{figure.name}.svg").write_text(_lines(title, unit, curves[figure.name]))
    (folder / "load.svg").write_text(_lines("What was done", "a second", rates))
    raw = {"run": heading, "faults": faults, "rates": rates, "curves": curves}
    (folder / "soak.json").write_text(json.dumps(raw) + "\n")
    page = "\n".join(_page(heading, shown, verdicts, faults)) + "\n"
    (folder / "README.md").write_text(page)


def _lines(title: str, unit: str, series: Mapping[str, Points]) -> str:
    in_minutes = {
        name: [(round(at / 60, 3), value) for at, value in points]
        for name, points in series.items()
    }
    return chart.lines(title, "minutes", unit, in_minutes)


def _page(
    heading: Mapping[str, Any],
    shown: Sequence[Figure],
    verdicts: Sequence[Verdict],
    faults: Sequence[str],
) -> Iterator[str]:
    counts = heading["counts"]
    yield "# Soak\n"
    yield (
        f"`script/soak --minutes {heading['minutes']:g}` at commit {heading['commit']}, on"
        f" {heading['date']}: two user gateway processes, an internal one and Valkey, under a mixed"
        " load that stays the same.\n"
    )
    yield "What was done: " + ", ".join(f"{counts[name]:,} {name}" for name in sorted(counts)) + "."
    yield f"Found: {'nothing' if not faults else f'{len(faults)} faults'}.\n"
    yield from (f"- {fault}" for fault in faults)
    yield (
        "A curve is judged after its first third, and may rise by its bound in all the rest. What"
        " is below 0 fell.\n"
    )
    yield "| figure | of | typical | rise | an hour | bound | |"
    yield "|---|---|---|---|---|---|---|"
    for each in verdicts:
        unit = f" {each.figure.unit}" if each.figure.unit else ""
        yield (
            f"| {each.figure.title} | {each.subject} | {each.typical:,.1f}{unit} | {each.rise:.2f}"
            f" | {each.rise_an_hour:.2f} | {each.figure.bound:g} |"
            f" {'flat' if each.flat else '**rises**'} |"
        )
    yield ""
    yield from (f"![{figure.title}]({figure.name}.svg)\n" for figure in shown)
    yield "![what was done](load.svg)"


def by_figure(samples: Sequence[tuple[float, str, str, float]]) -> Curves:
    """From (seconds, figure, subject, value)."""
    curves: defaultdict[str, defaultdict[str, list[tuple[float, float]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for at, figure, subject, value in samples:
        curves[figure][subject].append((round(at, 1), round(value, 3)))
    return curves
