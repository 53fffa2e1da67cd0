"""Refusals become one record a streak, and no number of names makes more than so many streaks."""

import asyncio

import pytest

from gateways.domain import refusals as module
from gateways.domain.refusals import OTHERS, Refusals
from tests.gateways.consumers.client import until


class Records:
    def __init__(self) -> None:
        self.made: list[tuple[str, str, int]] = []
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def __call__(self, name: str, address: str, count: int) -> None:
        await self.may_end.wait()
        self.made.append((name, address, count))


@pytest.fixture
def records() -> Records:
    return Records()


@pytest.fixture
def refusals(records: Records) -> Refusals:
    return Refusals(records)


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STREAK_SECONDS", 0.02)


async def test_each_name_and_address_has_a_streak_of_its_own(
    refusals: Refusals, records: Records
) -> None:
    for name, address in ("ab", "ab", "ac", "db", "ab"):
        refusals.note(name, address)
    assert records.made == []
    await refusals.close()
    assert sorted(records.made) == [("a", "b", 3), ("a", "c", 1), ("d", "b", 1)]


@pytest.mark.usefixtures("brief")
async def test_a_streak_ends_by_itself_and_the_next_refusal_begins_another(
    refusals: Refusals, records: Records
) -> None:
    for _ in range(3):
        refusals.note("a", "b")
    await until(lambda: records.made == [("a", "b", 3)])
    refusals.note("a", "b")
    await until(lambda: records.made == [("a", "b", 3), ("a", "b", 1)])
    assert not refusals._timers


@pytest.mark.usefixtures("brief")
async def test_a_streak_does_not_grow_longer_by_what_comes_in_it(
    refusals: Refusals, records: Records
) -> None:
    """Else one who never stops would never be on record."""
    async with asyncio.timeout(10):
        while not records.made:
            refusals.note("a", "b")
            await asyncio.sleep(0)
    assert records.made[0][2] > 1


async def test_beyond_so_many_streaks_all_others_are_one(
    refusals: Refusals, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_STREAKS", 3)
    for number in range(10):
        refusals.note(f"name{number}", "b")
    refusals.note("name0", "b")  # has its own already, and keeps it
    await refusals.close()
    assert {(name, address): count for name, address, count in records.made} == {
        ("name0", "b"): 2,
        ("name1", "b"): 1,
        ("name2", "b"): 1,
        OTHERS: 7,
    }


@pytest.mark.usefixtures("brief")
async def test_closing_waits_for_what_is_being_recorded(
    refusals: Refusals, records: Records
) -> None:
    records.may_end.clear()
    refusals.note("a", "b")
    await until(lambda: not refusals._counts)  # the streak is over, its record under way
    refusals.note("c", "d")
    closing = asyncio.create_task(refusals.close())
    await until(lambda: len(refusals._recording) == 2)
    assert not closing.done()
    records.may_end.set()
    await closing
    assert sorted(records.made) == [("a", "b", 1), ("c", "d", 1)]
    await refusals.close()
    assert len(records.made) == 2
