"""One thing for many sessions: broadcasts, and changes of presence."""

import asyncio
import itertools

import pytest
from hypothesis import given, settings, strategies as st

from gateways import fanout
from gateways.hub import Hub
from gateways.nudges import BroadcastNudge, StatusNudge
from tests.gateways.consumers.client import until
from tests.gateways.readers import NOBODY_LOOKS, Reader, World

# --- broadcasts -----------------------------------------------------------------------------------


def broadcast(world: World, *texts: str) -> None:
    for text in texts:
        world.hub.on_broadcast(BroadcastNudge(b'{"message":"%b"}' % text.encode()))


async def test_a_broadcast_reaches_every_session_of_everybody_once(world: World) -> None:
    readers = [world.attach(), world.attach(), Reader("carol")]
    world.hub.attach(readers[2].session)
    world.hub.place(readers[2].session, position=0, newest=0, epoch="e", opened_ms=1)
    broadcast(world, "news")
    await until(lambda: all(reader.frames for reader in readers))
    for reader in readers:
        await reader.session.outbound.drained()
        assert reader.frames == [
            {
                "event": "message",
                "data": {"recipientId": reader.session.user_id, "message": "news"},
            }
        ]


async def test_a_broadcast_is_no_part_of_what_is_counted(world: World) -> None:
    reader = world.attach()
    broadcast(world, "news")
    (seq,) = await world.store()
    world.nudge(seq)
    await until(lambda: len(reader.frames) == 2)
    assert sorted(reader.messages) == ["1", "news"]
    assert reader.session.order.position == 1
    assert world.hub.take_handed() == {("bob", "e"): 1}


async def test_nobody_hears_a_broadcast_before_it_is_told_that_it_is_connected(
    world: World,
) -> None:
    unplaced, placed = Reader(), world.attach()
    world.hub.attach(unplaced.session)
    broadcast(world, "early")
    await until(lambda: placed.messages == ["early"])
    world.hub.place(unplaced.session, position=0, newest=0, epoch="e", opened_ms=1)
    broadcast(world, "late")
    await until(lambda: placed.messages == ["early", "late"])
    await until(lambda: unplaced.messages == ["late"])


async def test_broadcasts_keep_their_order_and_let_others_run_in_between(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout, "BROADCAST_STRETCH", 2)
    readers = [world.attach() for _ in range(9)]
    broadcast(world, "one", "two")
    turns = 0
    at_work = world.hub._fanout
    while at_work._broadcaster is not None and not at_work._broadcaster.done():
        turns += 1
        if turns == 2:
            assert not any(reader.messages for reader in readers[6:])
            broadcast(world, "three")  # while the first is under way
            world.hub.detach(readers.pop().session)
        await asyncio.sleep(0)
    assert turns > 2 * len(readers) // 2
    await until(lambda: all(reader.messages == ["one", "two", "three"] for reader in readers))


async def test_a_broadcast_passes_over_who_is_closed_or_slow(world: World) -> None:
    closed, slow, other = world.attach(), world.attach(max_bytes=100), world.attach()
    closed.session.end(4403, "Revoked.")
    slow.reading.clear()
    broadcast(world, *(str(number) for number in range(10)))
    await until(lambda: other.messages == [str(number) for number in range(10)])
    assert closed.frames == []
    slow.reading.set()
    await until(lambda: slow.close_code == 4508)


async def test_more_broadcasts_than_anybody_reads_are_dropped(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout, "MAX_BROADCASTS", 3)
    reader = world.attach()
    broadcast(world, *"abcde")
    await until(lambda: reader.messages == ["a", "b", "c"])


# --- status ---------------------------------------------------------------------------------------


def status(generation: int, *, watchers: tuple[str, ...] = ("bob",)) -> StatusNudge:
    """Odd generations are online."""
    return StatusNudge("alice", generation % 2 == 1, generation, "a@x", 1000, list(watchers))


def hears(hub: Hub, user_id: str = "bob", *, opened_ms: int = 1) -> Reader:
    """A session that was opened at this time of the store's."""
    reader = Reader(user_id)
    hub.attach(reader.session)
    hub.place(reader.session, position=0, newest=0, epoch="e", opened_ms=opened_ms)
    return reader


async def heard(reader: Reader) -> list[str]:
    await asyncio.sleep(0)
    await reader.session.outbound.drained()
    return [frame["data"]["status"] for frame in reader.frames]


@pytest.fixture
def hub() -> Hub:
    return Hub(None, NOBODY_LOOKS, on_other_epoch=lambda: None)  # type: ignore[arg-type]  # no inbox


@given(order=st.permutations(list(range(2, 9))), seed=st.integers(0, 3))
@settings(deadline=None)
async def test_a_late_change_never_undoes_a_newer_one_and_none_is_heard_twice(
    order: list[int], seed: int
) -> None:
    hub = Hub(None, NOBODY_LOOKS, on_other_epoch=lambda: None)  # type: ignore[arg-type]
    reader = hears(hub)
    for generation in order + order[:seed]:
        hub.on_status(status(generation))
        await heard(reader)
    statuses = await heard(reader)
    assert statuses[-1] == "offline"  # the newest, 8
    assert all(one != next_ for one, next_ in itertools.pairwise(statuses))


async def test_only_watchers_hear_of_a_change(hub: Hub) -> None:
    watcher, other = hears(hub, "bob"), hears(hub, "carol")
    hub.on_status(status(3, watchers=("bob", "absent")))
    assert await heard(watcher) == ["online"]
    assert watcher.frames[0] == {
        "event": "user_status_update",
        "data": {
            "userId": "alice",
            "status": "online",
            "email": "a@x",
            "lastSeen": "1970-01-01T00:00:01.000Z",
        },
    }
    assert await heard(other) == []


async def test_a_session_hears_of_changes_since_it_was_opened(hub: Hub) -> None:
    early, late = hears(hub, opened_ms=2), hears(hub, opened_ms=4)
    unplaced = Reader()
    hub.attach(unplaced.session)
    hub.on_status(status(3))
    assert (await heard(early), await heard(late), await heard(unplaced)) == (["online"], [], [])


async def test_who_came_between_two_changes_of_the_same_kind_hears_the_second(hub: Hub) -> None:
    """Generation 4, offline, was lost, and the late one's own question said so."""
    early = hears(hub, opened_ms=2)
    hub.on_status(status(3))
    late = hears(hub, opened_ms=4)
    hub.on_status(status(5))
    assert (await heard(early), await heard(late)) == (["online"], ["online"])


async def test_the_changes_that_are_remembered_are_bounded(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout, "MAX_TOLD", 3)
    for number in range(10):
        hub.on_status(StatusNudge(f"user{number}", True, 1, None, 0, []))
    assert list(hub._fanout._told) == ["user7", "user8", "user9"]
