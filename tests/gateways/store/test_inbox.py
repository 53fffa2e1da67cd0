"""The inbox: a seq without holes, bounds in number and age, repeats stored once."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from gateways.protocol.events import now_ms
from gateways.store.batcher import USERS_A_CALL, Batcher
from gateways.store.connection import connect
from gateways.store.errors import StoreUnavailable
from gateways.store.inbox import TRIM_SLACK, Entry, InboxStore, Stored
from gateways.store.keys import Keys
from gateways.store.place import Place
from gateways.store.records import Opened, SessionRecord
from gateways.store.sessions import SessionStore
from tests.gateways.consumers.client import until
from tests.valkey import Valkey

AWKWARD = ["{", "}", "}{a}", "a:b", "*", " ", "😀", "مرحبا بالعالم", "x" * 128, "%7B", "é\u0301"]

MakeInbox = Callable[..., "Inbox"]


class Inbox:
    """An InboxStore and the SessionStore beside it, with what these tests do again and again."""

    def __init__(
        self, batcher: Batcher, keys: Keys, *, ttl_seconds: float = 3600, max_messages: int = 1000
    ) -> None:
        self.store = InboxStore(batcher, keys, ttl_seconds=ttl_seconds, max_messages=max_messages)
        self.sessions = SessionStore(
            batcher, keys, inbox_ttl_seconds=ttl_seconds, inbox_max_messages=max_messages
        )
        self.keys = keys

    async def deliver(
        self,
        *user_ids: str,
        body: bytes = b"body",
        message_id: str | None = None,
        epoch: str | None = None,
    ) -> list[Stored]:
        return await self.store.deliver(
            user_ids,
            body,
            repeat_key=self.keys.repeat_key("sender", message_id) if message_id else None,
            new_epoch=epoch or secrets.token_hex(4),
        )

    async def put(self, redis: "Redis", user_id: str, *ages_ms: int) -> None:
        """What was delivered so long ago."""
        for seq, age_ms in enumerate(ages_ms, start=1):
            entry: dict[Any, Any] = {"b": b"body", "t": now_ms() - age_ms}
            await redis.xadd(self.keys.inbox(user_id), entry, id=f"{seq}-0")
            position: dict[Any, Any] = {"epoch": "e", "seq": seq}
            await redis.hset(self.keys.state(user_id), mapping=position)

    async def open(self, user_id: str, resume: tuple[str, int] | None = None) -> Opened:
        """A session that comes; each has an id of its own."""
        return await self.sessions.open(
            user_id,
            f"node.{secrets.token_hex(4)}",
            SessionRecord(None, None, now_ms()),
            email=None,
            new_epoch=secrets.token_hex(4),
            resume=resume,
        )

    async def epoch(self, user_id: str) -> str | None:
        (state,) = await self.sessions.states([user_id])
        return state.epoch

    async def seqs(self, user_id: str, after: int = 0) -> list[int]:
        return [entry.seq for entry in await self.store.after(user_id, after, count=10_000)]


@pytest.fixture
def make_inbox(batcher: Batcher, keys: Keys) -> MakeInbox:
    def make(**options: Any) -> Inbox:
        return Inbox(batcher, keys, **options)

    return make


@pytest.fixture
def inbox(make_inbox: MakeInbox) -> Inbox:
    return make_inbox()


# --- the count ------------------------------------------------------------------------------------


async def test_seqs_count_up_by_one_whoever_sends_and_however_many_at_once(inbox: Inbox) -> None:
    outcomes = await asyncio.gather(*[inbox.deliver("bob", body=b"%d" % n) for n in range(300)])
    seqs = sorted(outcome.seq for (outcome,) in outcomes)
    assert seqs == list(range(1, 301))
    entries = await inbox.store.after("bob", 0, count=1000)
    assert [entry.seq for entry in entries] == seqs
    by_seq = {outcome.seq: b"%d" % n for n, (outcome,) in enumerate(outcomes)}
    assert all(by_seq[entry.seq] == entry.body for entry in entries)


@pytest.mark.parametrize("user_id", AWKWARD)
async def test_any_id_has_an_inbox_of_its_own(inbox: Inbox, user_id: str) -> None:
    (outcome,) = await inbox.deliver(user_id, body="مرحبا".encode(), message_id="}id{:*")
    assert outcome == Stored(user_id, 1, outcome.epoch, live=False, nodes=())
    assert await inbox.store.after(user_id, 0, count=10) == [Entry(1, "مرحبا".encode())]
    (repeat,) = await inbox.deliver(user_id, message_id="}id{:*")
    assert repeat == Stored(user_id, 1, "", live=False, nodes=())
    opened = await inbox.open(user_id)
    assert (opened.seq, opened.missed) == (1, 1)


async def test_awkward_ids_do_not_share_anything(inbox: Inbox) -> None:
    outcomes = await inbox.deliver(*AWKWARD)
    assert [outcome.seq for outcome in outcomes] == [1] * len(AWKWARD)


async def test_a_message_to_many_is_stored_at_each(inbox: Inbox) -> None:
    users = [f"user{n}" for n in range(2 * USERS_A_CALL + 1)]
    outcomes = await inbox.deliver(*users)
    assert [outcome.user_id for outcome in outcomes] == users
    assert all(outcome.seq == 1 for outcome in outcomes)
    assert await inbox.seqs(users[-1]) == [1]


async def test_reading_begins_after_the_position_and_is_bounded(inbox: Inbox) -> None:
    for _ in range(12):
        await inbox.deliver("bob")
    assert [e.seq for e in await inbox.store.after("bob", 9, count=2)] == [10, 11]
    assert await inbox.store.after("bob", 12, count=2) == []
    assert await inbox.store.after("nobody", 0, count=2) == []


async def test_the_nodes_of_a_recipients_sessions_are_told_once_each(inbox: Inbox) -> None:
    for session_id in ("one.a", "one.b", "two.c"):
        await inbox.sessions.open(
            "bob",
            session_id,
            SessionRecord(None, None, 0),
            email=None,
            new_epoch="e",
            resume=None,
        )
    (outcome,) = await inbox.deliver("bob")
    assert outcome.live
    assert sorted(outcome.nodes) == ["one", "two"]


# --- bounds ---------------------------------------------------------------------------------------


async def test_the_number_of_messages_is_bounded(make_inbox: MakeInbox) -> None:
    inbox = make_inbox(max_messages=7)
    for count in range(1, 500):
        (outcome,) = await inbox.deliver("bob")
        assert outcome.seq == count
        if count % 50 == 0:
            # A session is given exactly so many; a little more is there, for those that read on.
            opened = await inbox.open("bob")
            assert (opened.missed, opened.position) == (7, count - 7)
            kept = await inbox.seqs("bob")
            assert kept == list(range(count - len(kept) + 1, count + 1))
            # Redis trims whole nodes of a stream, of a hundred entries each.
            assert min(count, 7 + TRIM_SLACK) <= len(kept) < 7 + TRIM_SLACK + 100


async def test_the_oldest_message_of_a_full_inbox_outlasts_the_next_ones(
    make_inbox: MakeInbox,
) -> None:
    """A session that begins there reads while new ones come."""
    inbox = make_inbox(max_messages=7)
    for _ in range(300):
        await inbox.deliver("bob")
    opened = await inbox.open("bob")
    for _ in range(TRIM_SLACK):
        await inbox.deliver("bob")
    assert opened.position + 1 in await inbox.seqs("bob")


async def test_an_inbox_goes_with_its_newest_message(
    make_inbox: MakeInbox, redis: "Redis", keys: Keys
) -> None:
    inbox = make_inbox(ttl_seconds=0.05)
    await inbox.open("bob")
    await inbox.deliver("bob")

    async def gone() -> bool:
        return not await redis.exists(keys.inbox("bob"))

    await until(gone)
    (outcome,) = await inbox.deliver("bob")
    assert outcome.seq == 2  # the count goes on


async def test_nothing_stays_of_one_who_never_comes(
    make_inbox: MakeInbox, redis: "Redis", keys: Keys
) -> None:
    inbox = make_inbox(ttl_seconds=0.05)
    await inbox.deliver("nobody", message_id="m")
    await redis.delete(keys.got("nobody", keys.repeat_key("sender", "m")))  # that takes 10 minutes

    async def gone() -> bool:
        return not await redis.keys(f"{keys.prefix}*")

    await until(gone)
    (outcome,) = await inbox.deliver("nobody")
    assert outcome.seq == 1


async def test_what_is_known_of_one_who_may_come_outlasts_the_inbox(
    make_inbox: MakeInbox, redis: "Redis", keys: Keys
) -> None:
    inbox = make_inbox(ttl_seconds=60)

    async def outlasts() -> bool:
        return 0 < await redis.pttl(keys.inbox("bob")) <= await redis.pttl(keys.state("bob"))

    await inbox.deliver("bob")
    assert await outlasts()
    await redis.hset(keys.state("bob"), "expires", "0")  # as if nothing had come for long
    await redis.pexpire(keys.inbox("bob"), 1_000)
    await redis.pexpire(keys.state("bob"), 1_000)
    await inbox.deliver("bob")
    assert await outlasts()
    assert await redis.pttl(keys.inbox("bob")) > 1_000
    await inbox.open("bob")
    assert await redis.pttl(keys.state("bob")) == -1
    await redis.hset(keys.state("bob"), "expires", "0")
    await inbox.deliver("bob")
    assert await redis.pttl(keys.state("bob")) == -1


async def test_what_is_known_of_one_who_was_here_stays_without_an_epoch(
    inbox: Inbox, redis: "Redis", keys: Keys
) -> None:
    await inbox.open("bob")
    await redis.hdel(keys.state("bob"), "epoch")
    await inbox.deliver("bob")
    assert await redis.pttl(keys.state("bob")) == -1


async def test_messages_that_are_too_old_are_not_handed_over(
    make_inbox: MakeInbox, redis: "Redis"
) -> None:
    inbox = make_inbox(ttl_seconds=60)
    await inbox.put(redis, "bob", 120_000, 90_000, 61_000, 30_000, 0)
    opened = await inbox.open("bob")
    assert (opened.seq, opened.position, opened.missed, opened.reason) == (5, 3, 2, None)
    assert await inbox.seqs("bob") == [4, 5]


async def test_without_inboxes_only_the_live_get_a_seq(
    make_inbox: MakeInbox, redis: "Redis"
) -> None:
    inbox = make_inbox(ttl_seconds=0)
    assert not inbox.store.keeps
    (absent,) = await inbox.deliver("bob")
    assert absent == Stored("bob", 0, "", live=False, nodes=())
    await inbox.open("bob")
    (live,) = await inbox.deliver("bob")
    assert live == Stored("bob", 1, live.epoch, live=True, nodes=("node",))
    assert await inbox.seqs("bob") == []
    assert not await redis.exists(inbox.keys.inbox("bob"))


# --- repeats --------------------------------------------------------------------------------------


async def test_a_repeated_message_id_is_stored_once_with_the_first_answer(inbox: Inbox) -> None:
    (first,) = await inbox.deliver("bob", body=b"first", message_id="m")
    await inbox.open("bob")  # live now, but the first answer was "queued"
    (repeat,) = await inbox.deliver("bob", body=b"second", message_id="m")
    assert (first.seq, first.live) == (repeat.seq, repeat.live) == (1, False)
    assert repeat.nodes == ()
    assert await inbox.store.after("bob", 0, count=10) == [Entry(1, b"first")]


async def test_concurrent_repeats_are_stored_once(inbox: Inbox) -> None:
    await inbox.open("bob")
    outcomes = await asyncio.gather(*[inbox.deliver("bob", message_id="m") for _ in range(50)])
    assert {(outcome.seq, outcome.live) for (outcome,) in outcomes} == {(1, True)}
    assert sum(bool(outcome.nodes) for (outcome,) in outcomes) == 1
    assert await inbox.seqs("bob") == [1]


async def test_the_same_message_id_of_another_sender_is_another_message(
    inbox: Inbox, keys: Keys
) -> None:
    for sender in ("alice", "carol", "ali", "ce"):
        await inbox.store.deliver(
            ["bob"],
            b"",
            repeat_key=keys.repeat_key(sender, "m"),
            new_epoch="e",
        )
    assert await inbox.seqs("bob") == [1, 2, 3, 4]


async def test_a_repeat_reaches_those_whom_the_first_attempt_missed(inbox: Inbox) -> None:
    await inbox.deliver("bob", message_id="m")
    outcomes = await inbox.deliver("bob", "carol", message_id="m")
    assert [outcome.seq for outcome in outcomes] == [1, 1]
    assert await inbox.seqs("bob") == await inbox.seqs("carol") == [1]


async def test_a_message_id_is_forgotten_after_ten_minutes(inbox: Inbox, redis: "Redis") -> None:
    await inbox.deliver("bob", message_id="m")
    got = inbox.keys.got("bob", inbox.keys.repeat_key("sender", "m"))
    assert 590_000 < await redis.pttl(got) <= 600_000


async def test_the_first_receipt_stands(inbox: Inbox, redis: "Redis") -> None:
    assert await inbox.store.first_receipt("alice", "m") is None
    kept = await asyncio.gather(
        *[inbox.store.keep_receipt("alice", "m", b"%d" % n) for n in range(10)]
    )
    assert len(set(kept)) == 1
    assert await inbox.store.first_receipt("alice", "m") == kept[0]
    assert 590_000 < await redis.pttl(inbox.keys.sent("alice", "m")) <= 600_000


# --- broken keys ----------------------------------------------------------------------------------


@pytest.mark.parametrize("which", [0, 1, 2, 3])
@pytest.mark.parametrize("new", [True, False])
async def test_a_recipient_with_a_broken_key_fails_alone_and_leaves_no_hole(
    inbox: Inbox, redis: "Redis", which: int, new: bool
) -> None:
    if not new:
        await inbox.deliver("broken")
    got = inbox.keys.got("broken", inbox.keys.repeat_key("sender", "m"))
    key = (*inbox.keys.delivery("broken"), got)[which]
    before = await redis.dump(key)
    await redis.delete(key)
    await redis.sadd(key, "of the wrong type")
    outcomes = await inbox.deliver("alice", "broken", "carol", message_id="m")
    if new and which == 0:
        assert outcomes[1].seq == 1  # there is no count yet, so its inbox begins anew
        return
    assert [outcome.seq for outcome in outcomes] == [1, 0, 1]
    await redis.delete(key)
    if before is not None:
        await redis.restore(key, 0, before)
    (mended,) = await inbox.deliver("broken", message_id="m")
    assert mended.seq == (1 if new else 2)
    assert await inbox.seqs("broken") == list(range(1, mended.seq + 1))


@pytest.mark.parametrize(
    ("refuse", "accept", "kind"),
    [
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"), "READONLY"),
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0"), "OOM"),
        (
            ("CONFIG", "SET", "min-replicas-to-write", "1"),
            ("CONFIG", "SET", "min-replicas-to-write", "0"),
            "NOREPLICAS",
        ),
    ],
)
async def test_a_server_that_takes_no_writes_fails_nobody(
    own_valkey: Valkey,
    keys: Keys,
    refuse: tuple[str, ...],
    accept: tuple[str, ...],
    kind: str,
) -> None:
    """It is unavailable, which is another thing: all may be sent again."""
    redis = connect(Place.of(own_valkey.url), timeout_seconds=5)
    batcher = Batcher(redis, timeout_seconds=5)
    inbox = Inbox(batcher, keys)
    await inbox.deliver("bob")
    with own_valkey.client() as server:
        server.execute_command(*refuse)
        with pytest.raises(StoreUnavailable, match=kind):
            await inbox.deliver("bob", "carol")
        server.execute_command(*accept)
    assert [outcome.seq for outcome in await inbox.deliver("bob", "carol")] == [2, 1]
    await batcher.close()


# --- epochs ---------------------------------------------------------------------------------------


async def test_the_epoch_stays_while_the_state_does(inbox: Inbox, redis: "Redis") -> None:
    await inbox.deliver("bob", epoch="first")
    for _ in range(3):
        await inbox.deliver("bob", epoch="other")
        await inbox.open("bob")
    await redis.delete(inbox.keys.inbox("bob"))
    await inbox.deliver("bob", epoch="other")
    assert await inbox.epoch("bob") == "first"
    assert (await inbox.open("bob")).epoch == "first"


async def test_a_lost_state_begins_a_new_epoch_and_an_empty_inbox(
    inbox: Inbox, redis: "Redis"
) -> None:
    for _ in range(5):
        await inbox.deliver("bob", "carol", epoch="first")
    await redis.delete(inbox.keys.state("bob"), inbox.keys.state("carol"))
    (outcome,) = await inbox.deliver("bob", epoch="second")
    assert outcome.seq == 1
    assert await inbox.epoch("bob") == "second"
    assert await inbox.seqs("bob") == [1]
    opened = await inbox.open("carol")
    assert (opened.seq, opened.missed) == (0, 0)
    assert opened.epoch != "first"
    assert await inbox.seqs("carol") == []


# --- where a session comes in ---------------------------------------------------------------------


async def test_a_first_session_of_a_new_user_has_missed_nothing(inbox: Inbox) -> None:
    opened = await inbox.open("bob")
    assert (opened.seq, opened.position, opened.missed, opened.reason) == (0, 0, 0, None)


@pytest.mark.parametrize("position", range(6))
async def test_a_resume_gets_exactly_what_came_after_its_seq(inbox: Inbox, position: int) -> None:
    for _ in range(5):
        await inbox.deliver("bob")
    epoch = await inbox.epoch("bob")
    assert epoch
    await inbox.sessions.mark_handed({("bob", epoch): 5})  # what others were handed is no matter
    opened = await inbox.open("bob", resume=(epoch, position))
    assert (opened.position, opened.missed, opened.reason) == (position, 5 - position, None)


async def test_without_a_resume_comes_what_no_session_was_handed_yet(inbox: Inbox) -> None:
    for _ in range(5):
        await inbox.deliver("bob")
    epoch = await inbox.epoch("bob")
    assert epoch
    await inbox.sessions.mark_handed({("bob", epoch): 3})
    await inbox.sessions.mark_handed({("bob", epoch): 2})  # late
    await inbox.sessions.mark_handed({("bob", "another epoch"): 5})
    opened = await inbox.open("bob")
    assert (opened.position, opened.missed, opened.reason) == (3, 2, None)


async def test_what_was_trimmed_is_said_to_be(make_inbox: MakeInbox) -> None:
    inbox = make_inbox(max_messages=3)
    for _ in range(10):
        await inbox.deliver("bob")
    epoch = await inbox.epoch("bob")
    assert epoch
    for position in range(11):
        opened = await inbox.open("bob", resume=(epoch, position))
        trimmed = position < 7
        assert opened.reason == ("trimmed" if trimmed else None)
        assert opened.missed == (3 if trimmed else 10 - position)
        assert opened.position == 10 - opened.missed


async def test_what_expired_is_said_to_be(make_inbox: MakeInbox, redis: "Redis") -> None:
    inbox = make_inbox(ttl_seconds=60)
    await inbox.put(redis, "bob", 120_000, 90_000, 0, 0)
    epoch = await inbox.epoch("bob")
    assert epoch
    reasons = [(await inbox.open("bob", resume=(epoch, seq))).reason for seq in range(5)]
    assert reasons == ["expired", "expired", None, None, None]


async def test_what_expired_with_its_whole_inbox_is_said_to_be(
    inbox: Inbox, redis: "Redis"
) -> None:
    for _ in range(3):
        await inbox.deliver("bob")
    epoch = await inbox.epoch("bob")
    assert epoch
    await redis.pexpire(inbox.keys.inbox("bob"), 0)
    reasons = [await inbox.open("bob", resume=(epoch, seq)) for seq in range(4)]
    assert [opened.reason for opened in reasons] == ["expired", "expired", "expired", None]
    assert [opened.missed for opened in reasons] == [0, 0, 0, 0]
    # A message that comes after does not make it look as if the others had been trimmed.
    await inbox.deliver("bob")
    reasons = [await inbox.open("bob", resume=(epoch, seq)) for seq in range(5)]
    assert [opened.reason for opened in reasons] == ["expired", "expired", "expired", None, None]
    assert [opened.missed for opened in reasons] == [1, 1, 1, 1, 0]


async def test_what_was_trimmed_after_an_expiry_is_told_apart_from_what_expired(
    make_inbox: MakeInbox, redis: "Redis"
) -> None:
    inbox = make_inbox(max_messages=2)
    for _ in range(3):
        await inbox.deliver("bob")
    await redis.pexpire(inbox.keys.inbox("bob"), 0)
    for _ in range(4):
        await inbox.deliver("bob")  # 4 and 5 are trimmed
    epoch = await inbox.epoch("bob")
    assert epoch
    reasons = [(await inbox.open("bob", resume=(epoch, seq))).reason for seq in range(8)]
    assert reasons == [*["expired"] * 3, *["trimmed"] * 2, None, None, None]


async def test_a_resume_of_another_epoch_or_ahead_gets_what_there_is(
    make_inbox: MakeInbox,
) -> None:
    inbox = make_inbox(max_messages=3)
    for _ in range(5):
        await inbox.deliver("bob")
    epoch = await inbox.epoch("bob")
    assert epoch
    await inbox.sessions.mark_handed({("bob", epoch): 5})
    other = await inbox.open("bob", resume=("another", 4))
    assert (other.reason, other.position, other.missed) == ("epoch", 2, 3)
    ahead = await inbox.open("bob", resume=(epoch, 6))
    assert (ahead.reason, ahead.position, ahead.missed) == ("ahead", 2, 3)
    far_ahead = await inbox.open("bob", resume=(epoch, 2**53 - 1))
    assert far_ahead.reason == "ahead"


async def test_a_resume_of_a_user_whom_the_store_lost_is_of_another_epoch(inbox: Inbox) -> None:
    opened = await inbox.open("bob", resume=("lost", 0))
    assert (opened.reason, opened.seq, opened.missed) == ("epoch", 0, 0)
