"""Who gets the next connection, among the processes that share a port."""

import tempfile
from collections.abc import Iterator

import pytest

from gateways.server.balance import Balance, Counted


@pytest.fixture
def seen() -> Iterator[list[Balance]]:
    """The same memory, as three processes see it."""
    with tempfile.TemporaryFile() as file:
        first = Balance.make(file.fileno(), 3)
        yield [first, *(Balance(file.fileno(), 3) for _ in range(2))]


def test_whoever_is_not_there_gets_none(seen: list[Balance]) -> None:
    seen[0].count(0, 100)
    seen[1].count(1, 50)
    seen[2].leave(2)
    assert seen[0].better(0) == 1
    seen[0].leave(1)
    assert seen[0].better(0) is None
    seen[1].count(1, 0)
    assert seen[0].better(0) == 1


def test_connections_go_to_the_one_with_the_fewest(seen: list[Balance]) -> None:
    here = 0
    for _ in range(30):
        here += 1  # as the kernel has it: all of them come to the first
        seen[0].count(0, here)
        if (other := seen[0].better(0)) is not None:
            seen[0].expect(other)
            here -= 1
            seen[0].count(0, here)
    assert here == 10
    assert [seen[0].better(process) for process in range(3)] == [None] * 3


def test_one_that_is_leaving_keeps_what_comes_to_it(seen: list[Balance]) -> None:
    seen[0].leave(0)
    assert seen[0].better(0) is None


def test_nobody_is_expected_by_one_that_left(seen: list[Balance]) -> None:
    seen[1].leave(1)
    seen[0].expect(1)
    seen[0].count(0, 100)
    seen[2].count(2, 90)
    assert seen[0].better(0) == 2


def test_connections_are_counted_as_they_come_and_go() -> None:
    counts: list[int] = []
    connections = Counted(counts.append)
    connections.add("a")
    connections.add("b")
    connections.remove("a")
    connections.discard("b")
    connections.discard("b")
    assert counts == [1, 2, 1, 0, 0]
