"""Deadlines: each is called once when it is due, unless it was moved or cleared."""

import asyncio
import time

from gateways.consumers.deadlines import Deadlines
from tests.gateways.consumers.client import until


def soon(ms: float = 10) -> float:
    return time.monotonic() + ms / 1000


async def test_each_is_called_once_when_it_is_due_in_order() -> None:
    deadlines, called = Deadlines(), list[tuple[str, float]]()
    times = {"c": soon(30), "a": soon(10), "b": soon(20)}
    for name, at in times.items():
        deadlines.set(name, at, lambda name=name: called.append((name, time.monotonic())))  # type: ignore[misc]
    await until(lambda: len(called) == 3)
    await asyncio.sleep(0.02)
    assert [name for name, _ in called] == ["a", "b", "c"]
    assert all(moment >= times[name] for name, moment in called)


async def test_one_that_is_past_is_called_at_once_but_not_inside_the_setting() -> None:
    deadlines, called = Deadlines(), list[int]()
    deadlines.set("x", time.monotonic() - 10, lambda: called.append(1))
    assert called == []
    await until(lambda: called == [1])


async def test_one_that_is_moved_later_is_called_then() -> None:
    deadlines, called = Deadlines(), list[float]()
    deadlines.set("x", soon(5), lambda: called.append(0))
    later = soon(40)
    deadlines.set("x", later, lambda: called.append(time.monotonic()))
    await until(lambda: bool(called))
    assert len(called) == 1
    assert called[0] >= later


async def test_one_that_is_moved_earlier_is_called_then() -> None:
    deadlines, called = Deadlines(), list[int]()
    deadlines.set("x", soon(60_000), lambda: called.append(0))
    deadlines.set("x", soon(5), lambda: called.append(1))
    await until(lambda: called == [1])


async def test_one_that_is_cleared_is_not_called() -> None:
    deadlines, called = Deadlines(), list[str]()
    deadlines.set("x", soon(5), lambda: called.append("x"))
    deadlines.set("y", soon(10), lambda: called.append("y"))
    deadlines.clear("x")
    deadlines.clear("nothing")
    await until(lambda: bool(called))
    assert called == ["y"]


async def test_a_call_may_set_and_clear_others() -> None:
    deadlines, called = Deadlines(), list[str]()
    due = soon(5)

    def first() -> None:
        called.append("first")
        deadlines.clear("second")
        deadlines.set("again", soon(5), lambda: called.append("again"))

    deadlines.set("first", due, first)
    deadlines.set("second", due, lambda: called.append("second"))
    await until(lambda: called == ["first", "again"])


async def test_once_stopped_none_is_called() -> None:
    deadlines, called = Deadlines(), list[int]()
    Deadlines().stop()
    deadlines.set("x", soon(5), lambda: called.append(1))
    deadlines.stop()
    await asyncio.sleep(0.02)
    assert called == []
