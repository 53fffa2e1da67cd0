"""What was measured, kept as JSON, and what it says."""

import json
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.cases import Case, Goal
from benchmarks.contenders import GATEWAY, Contender


@dataclass
class Results:
    """Of each case, of each contender: the figures of every round."""

    machine: dict[str, Any]
    date: str
    commit: str
    rounds: dict[str, dict[str, list[dict[str, float | None]]]] = field(default_factory=dict)
    #: µs a frame, by direction and format (socketio_frames.py).
    frames: dict[str, dict[str, float]] = field(default_factory=dict)
    #: What could not be measured, and why.
    unsound: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, case: Case, contender: Contender, figures: dict[str, float | None]) -> None:
        self.rounds.setdefault(case.name, {}).setdefault(contender.name, []).append(figures)

    def median(self, case: Case, contender: Contender, figure: str) -> float | None:
        rounds = self.rounds.get(case.name, {}).get(contender.name, [])
        values = [value for each in rounds if (value := each.get(figure)) is not None]
        return statistics.median(values) if values else None

    def reached(self, case: Case, goal: Goal) -> tuple[float, bool] | None:
        """The figure, or its ratio to the peer's, and whether it is good enough. None where it was
        not measured.
        """
        own = self.median(case, GATEWAY, goal.figure)
        other = 1.0 if goal.peer is None else self.median(case, goal.peer, goal.figure)
        if own is None or not other:
            return None
        return own / other, own / other <= goal.at_most

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(self.__dict__, indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Results":
        return cls(**json.loads(path.read_text()))
