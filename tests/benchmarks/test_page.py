"""The page of the benchmarks says what was measured, and its figures are sound."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as bench, machine, page
from benchmarks.__main__ import KEPT, QUICK_CASES
from benchmarks.cases import CASES, MAIN, Figures, Unsound, _figures
from benchmarks.contenders import GATEWAY, REDIS_ADAPTER
from benchmarks.results import Results
from gateways.management.commands.loadtest import Command


def results_of_one_round() -> Results:
    results = Results(
        machine={
            "packages": {"django": "5"},
            "processor": "some",
            "cores": 2,
            "system": "Linux",
            "node": "v20",
            "python": "3.11",
        },
        date="2026-01-01",
        commit="abc",
    )
    for case in CASES:
        for number, contender in enumerate(case.competing()):
            figures: Figures = dict.fromkeys(case.figures, 10.0 + number)
            results.add(case, contender, figures)
    return results


def test_the_page_shows_every_case_and_whether_its_goals_were_reached(tmp_path: Path) -> None:
    results = results_of_one_round()
    results.unsound = {"to-1": {"channels": "lost: 7"}}
    page.write(results, tmp_path)
    text = (tmp_path / "README.md").read_text()
    for case in CASES:
        assert f"`--only {case.name}`" in text
    assert "not sound: lost: 7" in text
    assert "| reached |" in text
    assert "| **not reached** |" in text
    for name in page.PLOTTED:
        assert f"({name}.svg)" in text
        assert ET.parse(tmp_path / f"{name}.svg").getroot().tag.endswith("svg")


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    results = results_of_one_round()
    results.write(tmp_path / "results.json")
    assert Results.read(tmp_path / "results.json") == results


def test_the_page_is_made_from_the_results_beside_it(tmp_path: Path) -> None:
    page.write(Results.read(page.RAW), tmp_path)
    made = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert "README.md" in made
    for name, text in made.items():
        assert (page.FOLDER / name).read_text() == text, f"script/bench --page writes {name} anew"


def test_everybody_was_measured_in_every_case() -> None:
    results = Results.read(page.RAW)
    for case in CASES:
        for contender in case.competing():
            measured = results.rounds.get(case.name, {}).get(contender.name, [])
            unsound = results.unsound.get(case.name, {})
            assert len(measured) == (case.rounds if contender in MAIN else 1) or (
                contender.name in unsound
            ), f"{case.name}: {contender.name}"
    assert GATEWAY.name not in {name for each in results.unsound.values() for name in each}
    assert set(results.frames) == {"in, with its answer", "out, a message"}


def test_the_commands_that_it_shows_are_commands() -> None:
    lines = (Path(page.__file__).parent / "page.md").read_text().splitlines()
    shown = [line.split()[3:] for line in lines if "manage.py loadtest --" in line]
    assert len(shown) == 3
    parser = Command().create_parser("manage.py", "loadtest")
    for arguments in shown:
        parser.parse_args(arguments)


def test_a_goal_is_a_ratio_of_medians() -> None:
    case = next(case for case in CASES if case.name == "to-1")
    goal = next(goal for goal in case.goals if goal.peer is REDIS_ADAPTER)
    results = Results(machine={}, date="", commit="")
    assert results.reached(case, goal) is None
    for own, other in ((10.0, 20.0), (15.0, 10.0), (30.0, 21.0)):
        results.add(case, GATEWAY, {"cpu_us": own})
        results.add(case, REDIS_ADAPTER, {"cpu_us": other})
    assert results.reached(case, goal) == (0.75, True)


@pytest.mark.parametrize("fault", ["lost", "unanswered", "doubled", "lost_connections"])
def test_what_lost_or_doubled_anything_is_no_figure(fault: str) -> None:
    report: dict[str, Any] = {
        **dict.fromkeys(("lost", "unanswered", "doubled", "lost_connections"), 0),
        "refused": {},
        fault: 3,
    }
    with pytest.raises(Unsound, match=f"{fault}: 3"):
        _figures(report)


def test_the_yardstick_measures_work() -> None:
    assert 0.01 < machine.yardstick() < 10


def test_what_is_kept_is_of_the_quick_cases() -> None:

    assert set(json.loads(KEPT.read_text())) == set(QUICK_CASES)


@pytest.mark.parametrize(
    ("again", "cheap", "measured"),
    [([], True, 1), ([3.0, 1.0], True, 3), ([3.0, 3.0, 3.0], False, 4)],
)
def test_what_is_too_dear_is_measured_again_before_it_fails(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    again: list[float],
    cheap: bool,
    measured: int,
) -> None:
    """`again`: what the later tries cost, of what was kept. With any, the first is dear."""
    case = next(case for case in CASES if case.name == "to-1")
    kept = json.loads(KEPT.read_text())["to-1"]
    results = Results({"yardstick_seconds": 1.0}, "", "")
    results.add(case, GATEWAY, {"cpu_us": (3.0 if again else 1.0) * kept})
    later = iter(again)
    monkeypatch.setattr(bench, "_yardsticks_again", lambda *_: next(later) * kept)
    assert bench._still_as_cheap(results, [case], None) == cheap
    assert capsys.readouterr().out.partition(" yardsticks")[0].count(",") + 1 == measured
