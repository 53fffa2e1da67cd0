"""What counts as flat."""

import random

import pytest

from tests.soak.figures import Figure, Points, rise, verdict

SECONDS = 180
FIGURE = Figure("resident", "resident memory", "MiB", 4)


def curve(rises_by: float, *, noise: float = 0.0, warmup: float = 0.0) -> Points:
    """`warmup`: what it rises by in its first third; `rises_by`: in the other two."""
    randomness = random.Random(7)
    return [
        (
            at,
            100
            + warmup * min(at / (SECONDS / 3), 1)
            + rises_by * max(at - SECONDS / 3, 0) / (SECONDS * 2 / 3)
            + randomness.gauss(0, noise),
        )
        for at in range(0, SECONDS + 1, 2)
    ]


def test_a_line_rises_by_what_it_rises() -> None:
    assert rise(curve(6)) == pytest.approx(6, rel=0.01)
    assert rise(curve(-6)) == pytest.approx(-6, rel=0.01)


def test_the_first_third_is_not_looked_at() -> None:
    assert rise(curve(0, warmup=500)) == 0


def test_noise_is_no_rise_and_hides_none() -> None:
    assert abs(rise(curve(0, noise=3))) < 2
    assert rise(curve(12, noise=3)) == pytest.approx(12, abs=2)


def test_a_few_samples_far_off_are_no_rise() -> None:
    points = [(at, value + 500 * (at in (150, 160, 170))) for at, value in curve(0)]
    assert rise(points) == 0


def test_a_step_is_a_rise() -> None:
    points = [(at, value + 10 * (at > 120)) for at, value in curve(0)]
    assert rise(points) > 4


def test_too_short_to_be_judged() -> None:
    assert rise([]) == 0
    assert rise([(0, 1), (1, 100)]) == 0


@pytest.mark.parametrize(("rises_by", "flat"), [(0, True), (3.5, True), (5, False), (-50, True)])
def test_the_bound_is_for_all_the_time_that_is_judged(rises_by: float, flat: bool) -> None:
    found = verdict(FIGURE, "user-1", curve(rises_by))
    assert found.flat is flat
    assert found.rise_an_hour == pytest.approx(30 * rises_by, rel=0.01)
    assert found.curve == "user-1: resident memory"
