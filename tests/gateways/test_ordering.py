"""Each message once, in order, without a hole: whatever the nudges do, however the reads fall."""

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from gateways.ordering import MAX_HELD, Hole, Numbered, Order


def body(seq: int) -> bytes:
    return b"%d" % seq


def numbered(*seqs: int) -> list[Numbered]:
    return [(seq, body(seq)) for seq in seqs]


def placed(position: int, newest: int | None = None) -> Order:
    order = Order()
    order.place(position, position if newest is None else newest)
    return order


def take(order: Order, seq: int) -> list[Numbered]:
    """As the hub does."""
    return [(seq, body(seq))] if order.take_next(seq) else order.offer(seq, body(seq))


def offer(order: Order, *seqs: int) -> list[int]:
    return [seq for offered in seqs for seq, _ in take(order, offered)]


def test_the_next_one_is_taken_by_either_way() -> None:
    one, other = placed(5), placed(5)
    assert one.take_next(6)
    assert other.offer(6, body(6)) == numbered(6)
    assert (one.position, one.newest) == (other.position, other.newest) == (6, 6)


def test_only_the_very_next_one_needs_no_offer() -> None:
    assert not Order().take_next(1)  # unplaced
    assert not placed(5).take_next(5)
    assert not placed(5).take_next(7)
    assert not placed(5, newest=6).take_next(6)  # a reader is to bring it
    order = placed(5)
    order.reading = True
    assert not order.take_next(6)
    order = placed(5)
    order.offer(7, b"held")
    assert not order.take_next(6)


def test_what_comes_in_order_is_handed_over_at_once() -> None:
    order = placed(5)
    assert order.offer(6, b"six") == [(6, b"six")]
    assert order.offer(7, b"seven") == [(7, b"seven")]
    assert not order.behind


def test_what_overtook_others_waits_for_them() -> None:
    order = placed(0)
    assert offer(order, 3, 2) == []
    assert order.behind
    assert offer(order, 1) == [1, 2, 3]
    assert not order.behind


def test_what_was_seen_is_dropped() -> None:
    assert offer(placed(0), 1, 1, 2, 1, 2, 3) == [1, 2, 3]
    assert offer(placed(5), 5, 4) == []


def test_before_it_is_placed_a_session_only_notes() -> None:
    order = Order()
    assert offer(order, 7, 8) == []
    assert not order.behind
    order.place(6, 7)
    assert order.behind
    assert order.newest == 8


def test_while_a_reader_reads_nudges_are_only_noted() -> None:
    order = placed(0, 3)
    order.reading = True
    assert offer(order, 4) == []
    assert order.read(numbered(1, 2, 3)) == numbered(1, 2, 3)
    assert order.behind
    assert order.read(numbered(4)) == numbered(4)


def test_a_read_frees_what_was_held() -> None:
    order = placed(0)
    offer(order, 3, 4)
    assert order.read(numbered(1, 2)) == numbered(1, 2, 3, 4)
    assert not order.behind


def test_a_page_that_goes_further_than_what_is_known_is_taken() -> None:
    order = placed(0, 1)
    assert order.read(numbered(1, 2, 3)) == numbered(1, 2, 3)
    assert order.newest == 3


def test_a_page_that_overlaps_is_taken_from_where_it_is_new() -> None:
    order = placed(2, 4)
    assert order.read(numbered(1, 2, 3, 4)) == numbered(3, 4)


def test_a_hole_in_the_inbox_is_never_passed_over() -> None:
    order = placed(3, 9)
    with pytest.raises(Hole):
        order.read(numbered(6, 7, 8, 9))
    assert order.position == 3


def test_what_is_held_is_bounded() -> None:
    order = placed(0)
    offer(order, *range(2, 3 * MAX_HELD))
    assert len(order._held) == MAX_HELD
    assert offer(order, 1) == list(range(1, MAX_HELD + 2))
    assert order.behind  # what was not held is read


def test_without_an_inbox_a_hole_is_passed_over_and_order_kept() -> None:
    order = Order(stored=False)
    assert offer(order, 3) == []
    assert [seq for seq, _ in order.place(2, 2)] == [3]
    assert offer(order, 6, 5, 6, 7) == []
    assert order.behind
    assert [seq for seq, _ in order.pass_over()] == [5, 6, 7]
    assert not order.behind
    assert offer(order, 4, 8) == [8]


def test_without_an_inbox_the_store_tells_of_nothing_that_could_be_read() -> None:
    order = Order(stored=False)
    order.place(2, 2)
    order.note(9)
    assert not order.behind
    assert offer(order, 3) == [3]


class OrderMachine(RuleBasedStateMachine):
    """A user's log, a session that comes and goes, nudges that do what they like."""

    def __init__(self) -> None:
        super().__init__()
        self.log = 0
        self.order = Order()
        self.received: list[int] = []
        self.page: list[Numbered] | None = None

    @initialize(before=st.integers(0, 80), offered=st.lists(st.integers(1, 80), max_size=3))
    def come(self, before: int, offered: list[int]) -> None:
        self.log = before
        for seq in offered:
            if seq <= self.log:
                assert self.order.offer(seq, body(seq)) == []
        self.order.place(0, self.log)

    # --- the log and its nudges ---

    @rule(count=st.integers(1, 80))
    def append_and_lose_the_nudges(self, count: int) -> None:
        self.log += count

    @rule()
    def append_and_nudge(self) -> None:
        self.log += 1
        self._take(take(self.order, self.log))

    @precondition(lambda self: self.log > 0)
    @rule(data=st.data())
    def nudge_late_or_twice(self, data: st.DataObject) -> None:
        # Around the position is where it matters.
        near = st.integers(max(1, self.order.position - 2), self.order.position + 4)
        seq = data.draw(near | st.integers(1, self.log))
        if seq <= self.log:
            self._take(take(self.order, seq))

    @rule(data=st.data())
    def reconcile(self, data: st.DataObject) -> None:
        """The store's answer may be older than what is known."""
        self.order.note(data.draw(st.integers(0, self.log)))

    # --- the reader: what it got may be old when it hands it on ---

    @precondition(lambda self: self.page is None and self.order.behind)
    @rule(count=st.integers(1, 60))
    def begin_to_read(self, count: int) -> None:
        self.order.reading = True
        self.page = self._page(count)

    @precondition(lambda self: self.page is not None)
    @rule()
    def end_to_read(self) -> None:
        assert self.page is not None
        self._take(self.order.read(self.page))
        self.page = None
        self.order.reading = False

    @precondition(lambda self: self.page is not None)
    @rule()
    def the_reader_dies(self) -> None:
        self.page = None
        self.order.reading = False

    # --- the session ---

    @rule()
    def resume(self) -> None:
        """The client comes back with what it has."""
        self.page = None
        self.order = Order()
        self.order.place(len(self.received), self.log)

    # --- what must hold ---

    @invariant()
    def everything_was_handed_over_once_in_order_without_a_hole(self) -> None:
        assert self.received == list(range(1, len(self.received) + 1))
        assert self.order.position == len(self.received)

    @invariant()
    def it_knows_when_it_is_behind(self) -> None:
        assert self.order.newest <= self.log
        assert self.order.behind == (self.order.newest > self.order.position)
        assert len(self.order._held) <= MAX_HELD

    def teardown(self) -> None:
        """After a reconcile and reads nothing is left."""
        self.order.reading = False
        self.order.note(self.log)
        while self.order.behind:
            self._take(self.order.read(self._page(50)))
        assert self.received == list(range(1, self.log + 1))

    def _page(self, count: int) -> list[Numbered]:
        begin = self.order.position + 1
        return numbered(*range(begin, min(begin + count, self.log + 1)))

    def _take(self, ready: list[Numbered]) -> None:
        for seq, content in ready:
            assert content == body(seq)
            self.received.append(seq)


TestAnyInterleaving = OrderMachine.TestCase
TestAnyInterleaving.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
