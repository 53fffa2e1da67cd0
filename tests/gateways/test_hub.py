"""The hub on a real inbox: each session gets every message once, in order, whatever is lost."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings, strategies as st

from gateways import hub as hubs
from gateways.store.batcher import Batcher
from gateways.store.connection import connect
from gateways.store.errors import StoreUnavailable
from gateways.store.inbox import TRIM_SLACK, Entry
from gateways.store.place import Place
from gateways.trail import Trail, message_id
from tests.gateways.consumers.client import until
from tests.gateways.readers import Reader, World, publish_to_nobody
from tests.valkey import Valkey


def everything(reader: Reader, world: World, after: int = 0) -> Callable[[], bool]:
    return lambda: reader.seqs == list(range(after + 1, len(world.stored) + 1))


# --- messages -------------------------------------------------------------------------------------


async def test_history_comes_first_and_then_what_is_new(world: World) -> None:
    await world.store(120)
    reader = world.attach()
    await world.store(2)
    world.nudge(121, 122)
    await until(everything(reader, world))
    assert reader.messages == [str(seq) for seq in range(1, 123)]


async def test_a_lost_nudge_is_read_from_the_inbox_with_the_next_one(world: World) -> None:
    reader = world.attach()
    await world.store(3)
    world.nudge(1, 3)
    await until(everything(reader, world))


async def test_nudges_that_only_overtook_each_other_cost_no_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def after(*_: Any, **__: Any) -> list[Entry]:
        raise AssertionError

    monkeypatch.setattr(world.inbox, "after", after)
    reader = world.attach()
    await world.store(3)
    world.nudge(3, 2, 1)
    await until(everything(reader, world))
    await until(lambda: not world.hub._readers)


async def test_the_last_nudge_of_a_burst_is_made_up_for_by_the_reconcile(world: World) -> None:
    reader = world.attach()
    await world.store(5)
    world.reconcile()
    await until(everything(reader, world))


async def test_all_sessions_of_a_user_get_every_message(world: World) -> None:
    await world.store(3)
    readers = [world.attach(position) for position in (0, 2, 3)]
    (seq,) = await world.store()
    world.nudge(seq)
    for reader, position in zip(readers, (0, 2, 3), strict=True):
        await until(everything(reader, world, after=position))


async def test_a_reconcile_of_another_epoch_touches_nothing(world: World) -> None:
    reader = world.attach()
    world.hub.reconcile("bob", epoch="another", seq=7)
    world.hub.reconcile("stranger", epoch="e", seq=7)
    assert not reader.session.order.behind


async def test_a_trimmed_inbox_ends_the_session_instead_of_leaving_a_hole(
    batcher: Batcher,
) -> None:
    world = World(batcher, max_messages=5)
    reader = world.attach()
    await world.store(5 + TRIM_SLACK + 100)
    world.reconcile()
    await until(lambda: reader.close_code is not None)
    assert (reader.close_code, reader.seqs) == (4508, [])


async def test_an_inbox_that_is_gone_ends_the_session(world: World) -> None:
    reader = world.attach()
    world.hub.reconcile("bob", epoch="e", seq=3)
    await until(lambda: reader.close_code == 4508)


async def test_a_reader_waits_for_the_store_to_come_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "RETRY_SECONDS", 0.01)
    real, failures = world.inbox.after, iter(range(3))

    async def after(*args: Any, **options: Any) -> list[Entry]:
        if next(failures, None) is not None:
            raise StoreUnavailable
        return await real(*args, **options)

    monkeypatch.setattr(world.inbox, "after", after)
    await world.store(2)
    reader = world.attach()
    await until(everything(reader, world))


async def test_a_defect_in_a_reader_closes_its_socket(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def after(*_: Any, **__: Any) -> list[Entry]:
        raise ZeroDivisionError

    monkeypatch.setattr(world.inbox, "after", after)
    await world.store()
    reader = world.attach()
    await until(lambda: reader.close_code == 1011)


async def test_history_is_read_at_the_pace_of_the_socket(world: World) -> None:
    await world.store(3 * hubs.PAGE)
    reader = world.attach()
    reader.reading.clear()
    other = world.attach()
    await until(everything(other, world))  # a slow one slows nobody else
    assert reader.session.order.position == hubs.PAGE
    reader.reading.set()
    await until(everything(reader, world))


async def test_a_session_that_left_gets_nothing_more(world: World) -> None:
    await world.store(1)
    reader = world.attach()
    assert world.hub.detach(reader.session)
    assert world.hub.detach(reader.session)
    await world.store(1)
    world.nudge(2)
    assert reader.seqs == []
    assert (len(world.hub), list(world.hub), world.hub.user_ids) == (0, [], [])
    assert not world.hub._readers


async def test_a_user_stays_while_another_session_does(world: World) -> None:
    one, other = world.attach(), world.attach()
    assert not world.hub.detach(one.session)
    assert world.hub.of_user("bob") == [other.session]
    assert len(world.hub) == 1


async def test_a_reader_is_no_part_of_the_request_that_showed_the_gap(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts: list[dict[str, Any]] = []
    real = world.inbox.after

    async def after(user_id: str, seq: int, *, count: int) -> list[Entry]:
        contexts.append(structlog.contextvars.get_contextvars())
        return await real(user_id, seq, count=count)

    monkeypatch.setattr(world.inbox, "after", after)
    reader = world.attach()
    await world.store(2)
    with structlog.contextvars.bound_contextvars(request="somebody's"):
        world.nudge(2)
    await until(everything(reader, world))
    assert contexts == [{}]


async def test_a_trace_does_not_keep_what_has_no_id_from_its_reader(world: World) -> None:
    world.hub._trail = Trail("node", publish_to_nobody)
    world.hub._trail.on = True
    world.hub._trail._followed["bob"] = float("inf")
    noted: list[tuple[Any, ...]] = []
    world.hub._trail._gather = lambda *step: noted.append(step)  # type: ignore[method-assign]
    await world.store()
    reader = world.attach()
    await until(lambda: len(reader.seqs) == 1)
    world.nudge(1)
    await world.store()
    world.nudge(2)
    await until(lambda: len(reader.seqs) == 2)
    assert [(step, details["seq"]) for _, step, details in noted] == [
        ("handed", 1),
        ("repeated", 1),
        ("handed", 2),
    ]
    assert message_id(b"no JSON") == message_id(world.stored[1]) == ""
    assert message_id(b'{"id":"mine","message":"x"}') == "mine"


# --- what was handed over -------------------------------------------------------------------------


async def test_the_newest_seq_that_any_session_was_handed_is_told_once(world: World) -> None:
    await world.store(3)
    ahead, behind = world.attach(2), world.attach(0)
    await until(lambda: everything(ahead, world, 2)() and everything(behind, world)())
    assert world.hub.take_handed() == {("bob", "e"): 3}
    assert world.hub.take_handed() == {}


async def test_what_sessions_of_two_epochs_were_handed(world: World) -> None:
    """The store counts what is of its own epoch, and drops the other's."""
    await world.store(2)
    new, old = world.attach(), world.attach(1)
    old.session.epoch = "before"
    await until(lambda: everything(new, world)() and everything(old, world, 1)())
    assert world.hub.take_handed() == {("bob", "e"): 2, ("bob", "before"): 2}


async def test_what_could_not_be_told_is_kept_unless_it_is_superseded(world: World) -> None:
    world.hub.give_back_handed({("bob", "e"): 3, ("carol", "e"): 1})
    await world.store(5)
    reader = world.attach(4)
    await until(everything(reader, world, 4))
    assert world.hub.take_handed() == {("bob", "e"): 5, ("carol", "e"): 1}


async def test_what_a_lagging_reader_was_handed_does_not_count_yet(world: World) -> None:
    lagging, reading = world.attach(), world.attach()
    lagging.reading.clear()
    await world.store(2)
    world.nudge(1)
    lagging.session.outbound.flush()
    await until(lambda: reading.seqs == [1])
    assert world.hub.take_handed() == {("bob", "e"): 1}  # the other one has it
    world.hub.detach(reading.session)
    world.nudge(2)
    lagging.session.outbound.flush()
    assert world.hub.take_handed() == {}
    lagging.reading.set()
    await lagging.session.outbound.drained()
    assert world.hub.take_handed() == {("bob", "e"): 2}


async def test_what_was_handed_to_one_who_left_is_said_with_its_end(world: World) -> None:
    reader = world.attach()
    await world.store(1)
    world.nudge(1)
    world.hub.detach(reader.session)
    assert world.hub.take_handed() == {}


async def test_a_closed_socket_is_handed_nothing_more(world: World) -> None:
    """What it can't be sent must come with the user's next session."""
    reader = world.attach()
    reader.session.end(4508, "Too slow.")
    await world.store(2)
    world.nudge(1, 2)
    world.reconcile()
    await until(lambda: not world.hub._readers)
    assert world.hub.take_handed() == {}
    assert reader.session.order.position == 0


# --- any interleaving -----------------------------------------------------------------------------

Step = tuple[str, int]
steps = st.lists(
    st.tuples(
        st.sampled_from(["store", "nudge", "nudge", "reconcile", "resume", "let others run"]),
        st.integers(1, 12),
    ),
    max_size=25,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=steps)
async def test_any_interleaving_hands_each_message_over_once_in_order(
    valkey: Valkey, steps: list[Step]
) -> None:
    batcher = Batcher(connect(Place.of(valkey.url), timeout_seconds=5), timeout_seconds=5)
    world = World(batcher)
    reader, received = world.attach(), 0
    nudged: set[int] = set()
    for step, number in steps:
        if step == "store":
            await world.store(number)
        elif step == "nudge" and world.stored:
            # Late ones, and each once at most; those that no step picks are lost.
            seq = max(1, len(world.stored) - number % 4)
            if seq not in nudged:
                nudged.add(seq)
                world.nudge(seq)
        elif step == "reconcile":
            world.reconcile()
        elif step == "resume":
            world.hub.detach(reader.session)
            await reader.session.outbound.drained()
            assert reader.seqs == list(range(received + 1, received + len(reader.seqs) + 1))
            received += len(reader.seqs)
            reader = world.attach(received)
        else:
            await asyncio.sleep(number / 1000)
    world.reconcile()
    await until(lambda: reader.session.order.position == len(world.stored))
    await reader.session.outbound.drained()
    assert reader.seqs == list(range(received + 1, len(world.stored) + 1))
    world.hub.detach(reader.session)
    await batcher.close()


# --- another epoch --------------------------------------------------------------------------------


async def test_a_message_of_another_epoch_is_not_handed_over_and_said(world: World) -> None:
    reader = world.attach()
    await world.store(2)
    world.nudge(1, epoch="another")
    world.nudge(1)
    world.nudge(2, epoch="another")
    assert (reader.session.order.position, world.other_epochs) == (1, 2)


async def test_a_seq_that_is_given_twice_ends_its_epoch(world: World) -> None:
    """The store went back: what comes under a seq that was handed over is another message."""
    reader = world.attach()
    await world.store(3)
    world.nudge(1, 2, 3)
    world.nudge(3)
    assert reader.session.went_back
    assert world.other_epochs == 1
    await world.store()
    world.nudge(4)
    await reader.session.outbound.drained()
    assert reader.seqs == [1, 2, 3], "nothing more is handed over before the new epoch"
    world.hub.place(reader.session, position=0, newest=4, epoch="f", opened_ms=1)
    assert not reader.session.went_back
    await until(lambda: reader.seqs[3:] == [1, 2, 3, 4])


async def test_a_nudge_of_what_was_read_is_only_late(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.store(3)
    reader = world.attach()
    await until(everything(reader, world))
    world.nudge(2, 3)
    assert not reader.session.went_back
    # Not as late as this.
    monkeypatch.setattr(hubs, "LATE_SECONDS", 0.0)
    world.nudge(3)
    assert reader.session.went_back
