"""docs/benchmarks/ says what was measured."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import machine, page
from benchmarks.__main__ import KEPT, QUICK_CASES
from benchmarks.cases import CASES, Unsound, _figures
from benchmarks.contenders import CONTENDERS, GATEWAY, REDIS_ADAPTER
from benchmarks.results import Results
from gateways.management.commands.loadtest import Command


def test_the_page_is_made_from_the_results_beside_it(tmp_path: Path) -> None:
    page.write(Results.read(page.RAW), tmp_path)
    for made in tmp_path.iterdir():
        assert (page.FOLDER / made.name).read_text() == made.read_text(), made.name
    assert (tmp_path / "README.md").exists()


def test_every_case_was_measured_and_every_peer() -> None:
    results = Results.read(page.RAW)
    assert set(results.rounds) == {case.name for case in CASES}
    measured = {name for case in results.rounds.values() for name in case}
    assert measured == {contender.name for contender in CONTENDERS}


def test_the_commands_that_it_shows_are_commands() -> None:
    lines = (page.FOLDER / "README.md").read_text().splitlines()
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
