"""Presence as the store decides it: one transition a change, whatever comes twice or late."""

import asyncio
import secrets
from dataclasses import dataclass, field

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from redis.asyncio import Redis

from gateways.store.batcher import USERS_A_CALL, Batcher
from gateways.store.connection import connect
from gateways.store.keys import Keys
from gateways.store.place import Place
from gateways.store.records import Opened, SessionRecord, Transition, UserState, node_of
from gateways.store.sessions import SessionStore
from tests.valkey import Valkey

AWKWARD = ["{", "}", "a:b", "*", " ", "😀", "مرحبا", "x" * 128]


@pytest.fixture
def sessions(batcher: Batcher, keys: Keys) -> SessionStore:
    return SessionStore(batcher, keys, inbox_ttl_seconds=3600, inbox_max_messages=10)


async def open_(
    sessions: SessionStore, user_id: str, session_id: str, *, email: str | None = None
) -> Opened:
    return await sessions.open(
        user_id,
        session_id,
        SessionRecord("phone", {"os": "x"}, 1000),
        email=email,
        new_epoch="e",
        resume=None,
    )


async def state(sessions: SessionStore, user_id: str) -> UserState:
    return (await sessions.states([user_id]))[0]


async def test_a_stranger_has_no_state(sessions: SessionStore) -> None:
    assert await state(sessions, "stranger") == UserState()
    assert await sessions.of_user("stranger") == []
    assert await sessions.vacated_by("stranger") is None


async def test_the_first_session_in_and_the_last_one_out_are_the_changes(
    sessions: SessionStore,
) -> None:
    first = await open_(sessions, "bob", "n.1", email="bob@example.org")
    second = await open_(sessions, "bob", "n.2")
    assert first.untold is not None
    assert second.untold is not None
    assert second.untold.generation == first.untold.generation
    assert (first.untold.online, first.untold.email) == (True, "bob@example.org")
    await sessions.mark_announced({"bob": first.untold.generation})
    closed = await sessions.close("bob", "n.1", goodbye=True)
    assert (closed.existed, closed.vacancy, closed.untold) == (True, 0, None)
    closed = await sessions.close("bob", "n.2", goodbye=True)
    assert closed.untold is not None
    assert (closed.untold.online, closed.untold.email) == (False, "bob@example.org")
    assert closed.untold.generation > first.untold.generation
    assert not (await state(sessions, "bob")).online


@pytest.mark.parametrize("user_id", AWKWARD)
async def test_any_id_has_sessions_of_its_own(sessions: SessionStore, user_id: str) -> None:
    await open_(sessions, user_id, "n.1")
    (stored,) = await sessions.of_user(user_id)
    assert (stored.session_id, stored.node_id) == ("n.1", "n")
    assert stored.record == SessionRecord("phone", {"os": "x"}, 1000)
    assert await sessions.ids_of_users([user_id, "nobody"]) == [["n.1"], []]
    assert await sessions.counts([user_id, "nobody"]) == [1, 0]


async def test_a_session_that_comes_back_within_the_grace_was_never_away(
    sessions: SessionStore,
) -> None:
    await open_(sessions, "bob", "n.1")
    closed = await sessions.close("bob", "n.1", goodbye=False)
    assert closed.vacancy
    assert await sessions.vacated_by("bob") == "n"
    back = await open_(sessions, "bob", "m.1")
    assert back.untold is not None
    await sessions.mark_announced({"bob": back.untold.generation})
    assert await sessions.bury_vacant("bob", closed.vacancy) is None
    assert (await state(sessions, "bob")).online


async def test_an_earlier_grace_does_not_end_a_later_one(sessions: SessionStore) -> None:
    await open_(sessions, "bob", "n.1")
    first = await sessions.close("bob", "n.1", goodbye=False)
    await open_(sessions, "bob", "n.2")
    second = await sessions.close("bob", "n.2", goodbye=False)
    standing = await sessions.bury_vacant("bob", first.vacancy)
    assert standing is not None
    assert standing.online
    gone = await sessions.bury_vacant("bob", second.vacancy)
    assert gone is not None
    assert not gone.online
    assert gone.generation > standing.generation


async def test_a_close_that_is_repeated_finds_the_vacancy_that_it_made(
    sessions: SessionStore,
) -> None:
    """The first answer may have been lost on its way."""
    await open_(sessions, "bob", "n.1")
    first = await sessions.close("bob", "n.1", goodbye=False)
    again = await sessions.close("bob", "n.1", goodbye=False)
    assert first.vacancy == again.vacancy > 0


async def test_what_was_handed_over_is_told_with_the_close(sessions: SessionStore) -> None:
    opened = await open_(sessions, "bob", "n.1")
    await sessions.mark_handed({("bob", "e"): 0})
    await sessions.close("bob", "n.1", goodbye=True, handed_seq=7, epoch="another")
    await sessions.close("bob", "n.1", goodbye=True, handed_seq=5, epoch=opened.epoch)
    await sessions.close("bob", "n.1", goodbye=True, handed_seq=4, epoch=opened.epoch)
    assert (await open_(sessions, "bob", "n.2")).position == max(5, opened.seq) or opened.seq == 0


async def test_what_was_handed_over_is_told_of_many_at_once(
    sessions: SessionStore, redis: "Redis", keys: Keys
) -> None:
    users = [f"user-{number}" for number in range(2 * USERS_A_CALL + 1)]
    for user_id in users:
        await redis.hset(keys.state(user_id), mapping={"epoch": "e", "handed": 1})
    await redis.set(keys.state("broken"), "no hash")
    broken = {("broken", "e"): 7}
    await sessions.mark_handed(
        broken | dict.fromkeys([(user_id, "e") for user_id in users], 7) | broken
    )
    assert {await redis.hget(keys.state(user_id), "handed") for user_id in users} == {b"7"}


async def test_the_nodes_of_many_are_told_at_once(
    sessions: SessionStore, redis: "Redis", keys: Keys
) -> None:
    users = [f"user-{number}" for number in range(USERS_A_CALL)]
    for user_id in users:
        await open_(sessions, user_id, "one.1")
    for session_id in ("one.2", "two.1", "two.2", "three.1"):
        await open_(sessions, "everywhere", session_id)
    await redis.set(keys.sessions("broken"), "no hash")
    asked = [*users, "nobody", "everywhere", "broken"]
    *ones, nobody, everywhere, broken = await sessions.nodes_of(asked)
    assert ones == [("one",)] * USERS_A_CALL
    assert (nobody, broken) == ((), ())
    assert sorted(everywhere) == ["one", "three", "two"]


async def test_activity_is_recorded_for_sessions_that_stand_only(sessions: SessionStore) -> None:
    await open_(sessions, "bob", "n.1")
    later = (await sessions.of_user("bob"))[0].last_activity_ms + 5000
    await sessions.touch({"bob": {"n.1": later, "n.gone": later}})
    (stored,) = await sessions.of_user("bob")
    assert stored.last_activity_ms == later
    assert stored.record == SessionRecord("phone", {"os": "x"}, 1000)
    assert (await state(sessions, "bob")).last_seen_ms == later
    await sessions.touch({"bob": {"n.1": later - 1}})
    assert (await state(sessions, "bob")).last_seen_ms == later
    await sessions.touch({})


async def test_reaping_counts_what_it_took_and_who_went(sessions: SessionStore) -> None:
    await open_(sessions, "bob", "dead.1")
    await open_(sessions, "bob", "dead.2")
    await open_(sessions, "carol", "dead.3")
    await open_(sessions, "carol", "alive.1")
    await sessions.mark_announced({"bob": (await state(sessions, "bob")).generation})
    removed, untold = await sessions.reap(["bob", "carol", "stranger"], "dead")
    assert removed == 3
    # The dead node may have been about to say that carol came.
    assert [(each.user_id, each.online) for each in untold] == [("bob", False), ("carol", True)]
    assert await sessions.untold(["bob", "carol", "stranger"]) == untold
    for each in untold:
        await sessions.mark_announced({each.user_id: each.generation})
    assert await sessions.reap(["bob", "carol"], "dead") == (0, [])
    assert await sessions.untold(["bob", "carol"]) == []


async def test_what_was_changed_is_untold_until_it_is_announced(sessions: SessionStore) -> None:
    """An answer of the store may be lost, or a node die before it tells anybody."""
    await open_(sessions, "bob", "n.1")
    went = (await sessions.close("bob", "n.1", goodbye=True)).untold
    assert went is not None
    assert (await sessions.close("bob", "n.1", goodbye=True)).untold == went
    await sessions.mark_announced({"bob": went.generation})
    assert (await sessions.close("bob", "n.1", goodbye=True)).untold is None


async def test_another_epoch_begins_where_the_store_went_back(sessions: SessionStore) -> None:
    epoch = (await open_(sessions, "bob", "n.1")).epoch
    await sessions.renew_epoch("bob", epoch, 0, new_epoch="late")
    assert (await state(sessions, "bob")).epoch == epoch  # it knows as much
    await sessions.renew_epoch("bob", "another", 7, new_epoch="late")
    assert (await state(sessions, "bob")).epoch == epoch
    for new_epoch in ("renewed", "by another node"):
        await sessions.renew_epoch("bob", epoch, 7, new_epoch=new_epoch)
    assert (await state(sessions, "bob")).epoch == "renewed"


async def test_a_generation_is_newer_than_what_a_store_said_before_it_lost_its_data(
    sessions: SessionStore, redis: "Redis", keys: Keys
) -> None:
    before = (await open_(sessions, "bob", "n.1")).untold
    await redis.delete(keys.state("bob"), keys.sessions("bob"))
    await asyncio.sleep(0.002)  # the clock must have moved on by a millisecond
    after = (await open_(sessions, "bob", "n.1")).untold
    assert before is not None
    assert after is not None
    assert after.generation > before.generation


# --- any interleaving -----------------------------------------------------------------------------

NODES = ["a", "b", "c"]


@dataclass
class User:
    """What should be so."""

    sessions: set[str] = field(default_factory=set)
    online: bool = False
    vacancy: int = 0
    vacated_by: str = ""
    generation: int = 0
    untold: bool = False

    @property
    def vacant(self) -> bool:
        return self.online and not self.sessions


class PresenceMachine(RuleBasedStateMachine):
    """Connects, drops, goodbyes, graces and node deaths of one user, in any order, some repeated.

    The scripts are the real ones; calls are made one after the other, as Redis carries them out.
    """

    valkey: Valkey

    sessions = Bundle("sessions")
    ended = Bundle("ended")
    vacancies = Bundle("vacancies")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.user = User()
        self.user_id = "}us:er{*"
        self.counter = 0

    @initialize()
    def begin(self) -> None:
        async def build() -> Batcher:
            return Batcher(connect(Place.of(self.valkey.url), timeout_seconds=5), timeout_seconds=5)

        self.batcher = self.runner.run(build())
        self.keys = Keys(f"test-{secrets.token_hex(6)}:")
        self.store = SessionStore(
            self.batcher, self.keys, inbox_ttl_seconds=60, inbox_max_messages=10
        )

    def teardown(self) -> None:
        if hasattr(self, "batcher"):
            self.runner.run(self.batcher.close())
        self.runner.close()

    # --- what happens ---

    @rule(target=sessions, node=st.sampled_from(NODES), device=st.sampled_from(["phone", "tv"]))
    def connect(self, node: str, device: str) -> str:
        self.counter += 1
        session_id = f"{node}.{device}{self.counter}"
        self._open(session_id)
        return session_id

    @rule(session_id=sessions)
    def open_again(self, session_id: str) -> None:
        if session_id in self.user.sessions:
            self._open(session_id)

    @rule(target=ended, session_id=consumes(sessions))
    def goodbye(self, session_id: str) -> str:
        self._close(session_id, goodbye=True)
        return session_id

    @rule(target=vacancies, session_id=consumes(sessions))
    def drop(self, session_id: str) -> object:
        vacancy = self._close(session_id, goodbye=False)
        return (vacancy, session_id) if vacancy else multiple()

    @rule(target=ended, vacancy=vacancies)
    def note_who_dropped(self, vacancy: tuple[int, str]) -> str:
        return vacancy[1]

    @rule(session_id=ended, goodbye=st.booleans())
    def close_again(self, session_id: str, goodbye: bool) -> None:
        self._close(session_id, goodbye=goodbye)

    @rule(vacancy=vacancies)
    def grace_is_over(self, vacancy: tuple[int, str]) -> None:
        number, _ = vacancy
        user = self.user
        untold = self.runner.run(self.store.bury_vacant(self.user_id, number))
        self._told(untold, goes=user.vacant and user.vacancy == number)

    @rule(node=st.sampled_from(NODES))
    def node_dies(self, node: str) -> None:
        user = self.user
        lost = {session_id for session_id in user.sessions if node_of(session_id) == node}
        removed, untold = self.runner.run(self.store.reap([self.user_id], node))
        assert removed == len(lost)
        user.sessions -= lost
        goes = user.vacant and bool(lost or user.vacated_by == node)
        self._told(untold[0] if untold else None, goes=goes)

    @rule()
    def announce(self) -> None:
        self.runner.run(self.store.mark_announced({self.user_id: self.user.generation}))
        self.user.untold = False

    # --- what must hold ---

    @invariant()
    def the_store_says_what_should_be_so(self) -> None:
        if not hasattr(self, "store"):
            return
        user = self.user
        (state,) = self.runner.run(self.store.states([self.user_id]))
        (ids,) = self.runner.run(self.store.ids_of_users([self.user_id]))
        assert set(ids) == user.sessions
        assert state.online == user.online
        assert state.generation == user.generation
        assert user.online or not user.sessions
        heir = self.runner.run(self.store.vacated_by(self.user_id)) if user.vacant else ""
        assert heir == (user.vacated_by if user.vacant else "")

    # --- how ---

    def _open(self, session_id: str) -> None:
        user = self.user
        opened = self.runner.run(open_(self.store, self.user_id, session_id))
        user.sessions.add(session_id)
        self._told(opened.untold, comes=not user.online)

    def _close(self, session_id: str, *, goodbye: bool) -> int:
        user = self.user
        existed = session_id in user.sessions
        user.sessions.discard(session_id)
        closed = self.runner.run(self.store.close(self.user_id, session_id, goodbye=goodbye))
        assert closed.existed == existed
        last = existed and user.vacant
        if last and not goodbye:
            assert closed.vacancy > user.vacancy
            user.vacancy, user.vacated_by = closed.vacancy, node_of(session_id)
        elif not existed and user.vacant and node_of(session_id) == user.vacated_by:
            assert closed.vacancy == user.vacancy  # its first answer may have been lost
        else:
            assert closed.vacancy == 0
        self._told(closed.untold, goes=last and goodbye)
        return closed.vacancy

    def _told(self, untold: Transition | None, *, comes: bool = False, goes: bool = False) -> None:
        """What a script says of the user's presence, after the change that it should have made."""
        user = self.user
        if comes or goes:
            (state,) = self.runner.run(self.store.states([self.user_id]))
            assert state.generation > user.generation
            user.online, user.generation, user.untold = comes, state.generation, True
        assert (untold is not None) == user.untold
        if untold is not None:
            assert (untold.online, untold.generation) == (user.online, user.generation)


def test_any_interleaving_gives_one_transition_a_change(valkey: Valkey) -> None:
    class Machine(PresenceMachine):
        pass

    Machine.valkey = valkey
    run_state_machine_as_test(
        Machine, settings=settings(max_examples=60, stateful_step_count=40, deadline=None)
    )
